//! OCSP responses: valid only for the certificate that they name. `cargo +nightly fuzz run staple`; the
//! corpus is also a test of the program (`trust_corpora`).
#![no_main]

#[path = "../staple.rs"]
mod staple;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    staple::must_be_about_the_certificate(bytes);
});
