//! Valid and invalid headers, whole and split.

mod encoding;
mod pieces;
mod version_1;
mod version_2;

use super::tlv::{Tlvs, kind};
use super::*;

const SIGNATURE: &[u8] = V2_SIGNATURE;

/// A version 2 header of these parts.
fn v2(version_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let len = u16::try_from(block.len()).unwrap();
    [
        SIGNATURE,
        &[version_command, family],
        &len.to_be_bytes(),
        block,
    ]
    .concat()
}

/// `192.0.2.1:1234` to `198.51.100.2:443`.
const IPV4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0x04, 0xd2, 0x01, 0xbb];

fn with_tlvs(tlvs: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[IPV4, tlvs].concat())
}

fn done(bytes: &[u8]) -> (Header<'_>, usize) {
    match decode(bytes) {
        Decoded::Done { header, consumed } => (header, consumed),
        other => panic!("{other:?} of {}", bytes.escape_ascii()),
    }
}

fn flow(bytes: &[u8]) -> Option<(String, String)> {
    let (header, consumed) = done(bytes);
    assert_eq!(consumed, bytes.len());
    let flow = header.proxied?;
    Some((flow.source.to_string(), flow.destination.to_string()))
}

fn pair(source: &str, destination: &str) -> Option<(String, String)> {
    Some((source.to_owned(), destination.to_owned()))
}

/// P05: an IPv4-mapped address becomes IPv4.
#[test]
fn mapped_addresses_are_made_canonical() {
    let expected = pair("192.0.2.1:1", "198.51.100.2:2");
    for line in [
        "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 1 2\r\n",
        "PROXY TCP6 ::ffff:c000:201 0:0:0:0:0:FFFF:c633:6402 1 2\r\n",
    ] {
        assert_eq!(flow(line.as_bytes()), expected, "{line}");
    }
    let mapped = |ip: [u8; 4]| [vec![0; 10], vec![0xff; 2], ip.to_vec()].concat();
    let block = [
        mapped([192, 0, 2, 1]),
        mapped([198, 51, 100, 2]),
        vec![0, 1, 0, 2],
    ]
    .concat();
    assert_eq!(flow(&v2(0x21, 0x21, &block)), expected);
}

#[test]
fn foreign_bytes_are_refused_at_the_first_difference() {
    for bytes in [
        &b"\x16\x03\x01"[..],
        b"GET / HTTP/1.1\r\n",
        b"PROXX",
        b"\r\n\r\nQ",
        b"p",
    ] {
        assert_eq!(
            decode(bytes),
            Decoded::Invalid(Defect::Foreign),
            "{bytes:?}"
        );
        assert_eq!(opening(bytes), Opening::Foreign);
    }
    for bytes in [&b""[..], b"P", b"PROX", b"\r\n\r\n\0", &SIGNATURE[..11]] {
        assert_eq!(decode(bytes), Decoded::NeedMore, "{bytes:?}");
        assert_eq!(opening(bytes), Opening::Undecided);
    }
    assert_eq!(opening(b"PROXY"), Opening::V1);
    assert_eq!(opening(SIGNATURE), Opening::V2);
}

/// P03: exactly the header is consumed.
#[test]
fn the_bytes_behind_a_header_are_not_consumed() {
    for header in [
        &b"PROXY UNKNOWN\r\n"[..],
        &v2(0x21, 0x11, IPV4),
        &v2(0x20, 0, &[]),
    ] {
        for rest in [
            &b"\x16\x03\x01\x02\x00"[..],
            b"\r\n",
            b"PROXY UNKNOWN\r\n",
            &[0; 5000],
        ] {
            assert_eq!(done(&[header, rest].concat()), done(header));
        }
    }
}
