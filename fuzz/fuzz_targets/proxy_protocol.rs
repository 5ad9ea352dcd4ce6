//! PROXY headers: the result does not depend on how the bytes are split, and later bytes do not change it.
//! `cargo +nightly fuzz run proxy_protocol`; the corpus is also a test of the program
//! (`proxy_protocol_corpus`).
#![no_main]

use libfuzzer_sys::fuzz_target;
use reseal::internals::{Decoded, decode_proxy_header as decode};

fuzz_target!(|bytes: &[u8]| {
    let whole = decode(bytes);
    let mut answered = false;
    for at in 0..bytes.len() {
        let answer = decode(&bytes[..at]);
        if answer == Decoded::NeedMore {
            assert!(!answered);
        } else {
            answered = true;
            assert_eq!(answer, whole);
        }
    }
    if let Decoded::Done { header, consumed } = whole {
        assert_eq!(decode(&bytes[..consumed]), whole);
        let read: usize = header.tlvs.map(|tlv| 3 + tlv.value.len()).sum();
        assert!(read <= consumed);
    }
});
