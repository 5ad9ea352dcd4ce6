//! ClientHellos: the decision does not depend on how the bytes are delivered. `cargo +nightly fuzz run
//! hello`; the corpus is also a test of the program (`hello_corpus`).
#![no_main]

#[path = "../decision.rs"]
mod decision;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| decision::must_not_depend_on_fragmentation(bytes));
