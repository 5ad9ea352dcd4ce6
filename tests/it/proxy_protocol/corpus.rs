//! The fuzzing corpus of PROXY headers, as a test.

use std::path::Path;

use reseal::internals::{Decoded, decode_proxy_header as decode};

/// For any bytes, split anywhere, the result is the same, and it is final.
fn check(bytes: &[u8]) -> Decoded<'_> {
    let whole = decode(bytes);
    let mut answered = false;
    for at in 0..bytes.len() {
        let answer = decode(&bytes[..at]);
        match answer {
            Decoded::NeedMore => assert!(!answered, "{at} of {}", bytes.escape_ascii()),
            _ => {
                answered = true;
                assert_eq!(answer, whole, "{at} of {}", bytes.escape_ascii());
            }
        }
    }
    if let Decoded::Done { header, consumed } = whole {
        assert!(consumed <= bytes.len());
        assert_eq!(decode(&bytes[..consumed]), whole);
        let read: usize = header.tlvs.map(|tlv| 3 + tlv.value.len()).sum();
        assert!(read <= consumed);
    }
    whole
}

#[test]
fn the_corpus_decodes_alike_whole_and_split() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/proxy_protocol");
    let (mut good, mut bad, mut short) = (0, 0, 0);
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // The name of a file states its expected result.
        let meant = match check(&bytes) {
            Decoded::Done { .. } => {
                good += 1;
                "good-"
            }
            Decoded::Invalid(_) => {
                bad += 1;
                "bad-"
            }
            Decoded::NeedMore => {
                short += 1;
                "short-"
            }
        };
        assert!(name.starts_with(meant), "{name} is {meant}");
    }
    assert!(
        good >= 10 && bad >= 10 && short >= 3,
        "{good} {bad} {short}"
    );
}
