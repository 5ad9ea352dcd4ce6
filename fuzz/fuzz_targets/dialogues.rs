//! The dialogues before TLS, with clients, origins and HTTP proxies. `cargo +nightly fuzz run dialogues`; the
//! corpus is also a test of the program (`dialogue_corpus`).
#![no_main]

#[path = "../dialogues.rs"]
mod dialogues;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    dialogues::must_stay_within_its_protocol(bytes);
});
