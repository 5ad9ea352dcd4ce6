//! CRLs: none that a CA did not sign admits a certificate that its own CRL revokes. `cargo +nightly fuzz
//! run revocation`; the corpus is also a test of the program (`trust_corpora`).
#![no_main]

#[path = "../revocation.rs"]
mod revocation;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    revocation::must_refuse_the_revoked(bytes);
});
