//! Files of certificates, keys and lists: read in full or refused. `cargo +nightly fuzz run pem`; the
//! corpus is also a test of the program (`pem_corpus`).
#![no_main]

#[path = "../trust_files.rs"]
mod trust_files;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    trust_files::must_lose_nothing(bytes);
});
