//! Valid and invalid headers, whole and split.

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

#[test]
fn version_1_gives_its_addresses() {
    for (line, expected) in [
        (
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
            pair("192.0.2.1:56324", "198.51.100.2:443"),
        ),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            pair("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        (
            "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n",
            pair("0.0.0.0:0", "0.0.0.0:0"),
        ),
        (
            "PROXY TCP6 2001:DB8::1 fe80::2 1 2\r\n",
            pair("[2001:db8::1]:1", "[fe80::2]:2"),
        ),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
             65535 65535\r\n",
            pair(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            ),
        ),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN \r\n", None),
        ("PROXY UNKNOWN what\rever\n stands here\r\n", None),
        (
            "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
             65535 65535\r\n",
            None,
        ),
    ] {
        assert_eq!(flow(line.as_bytes()), expected, "{line}");
    }
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
fn version_1_is_read_strictly() {
    use Defect as D;
    for (line, defect) in [
        ("PROXY\r\n", D::Fields),
        ("PROXYTCP4 192.0.2.1 192.0.2.2 1 2\r\n", D::Fields),
        ("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", D::Fields),
        ("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", D::Fields),
        ("PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n", D::Fields),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", D::Fields),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", D::Fields),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", D::Fields),
        ("PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n", D::Fields),
        ("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", D::Fields),
        ("PROXY UNKNOWNS\r\n", D::Fields),
        ("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", D::Address),
        ("PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n", D::Address),
        ("PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", D::Address),
        ("PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n", D::Address),
        ("PROXY TCP6 192.0.2.1 2001:db8::1 1 2\r\n", D::Address),
        ("PROXY TCP6 fe80::1%eth0 2001:db8::1 1 2\r\n", D::Address),
        ("PROXY TCP6 [2001:db8::1] 2001:db8::1 1 2\r\n", D::Address),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", D::Port),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", D::Port),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", D::Port),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n", D::Port),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n\r\n", D::Port),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n", D::Port),
    ] {
        assert_eq!(
            decode(line.as_bytes()),
            Decoded::Invalid(defect),
            "{line:?}"
        );
    }
    // A line does not end with one of the two alone.
    for line in [
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWN\r",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
    ] {
        assert_eq!(decode(line.as_bytes()), Decoded::NeedMore, "{line:?}");
    }
}

/// P03: 107 bytes at most.
#[test]
fn a_line_of_version_1_ends_within_107_bytes() {
    let line = |len: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(len - 16)).into_bytes();
    assert_eq!(done(&line(107)).1, 107);
    assert_eq!(decode(&line(108)), Decoded::Invalid(Defect::Endless));
    assert_eq!(decode(&line(108)[..106]), Decoded::NeedMore);
    assert_eq!(decode(&line(108)[..107]), Decoded::Invalid(Defect::Endless));
}

#[test]
fn version_2_gives_its_addresses() {
    let ipv4 = pair("192.0.2.1:1234", "198.51.100.2:443");
    assert_eq!(flow(&v2(0x21, 0x11, IPV4)), ipv4);
    assert_eq!(flow(&v2(0x21, 0x12, IPV4)), ipv4, "a datagram");
    let ipv6 = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]; 2].concat();
    let ipv6 = [&ipv6[..], &[0, 1, 0xff, 0xff]].concat();
    let expected = pair("[2001:db8::1]:1", "[2001:db8::1]:65535");
    assert_eq!(flow(&v2(0x21, 0x21, &ipv6)), expected);
    assert_eq!(flow(&v2(0x21, 0x22, &ipv6)), expected, "a datagram");
}

/// P04: a header without the client's address leaves the socket's own in force.
#[test]
fn local_and_unspecified_headers_give_no_addresses() {
    for (header, what) in [
        (v2(0x20, 0x00, &[]), "LOCAL"),
        (v2(0x20, 0x11, IPV4), "LOCAL with a block"),
        (v2(0x20, 0xff, &[1, 2, 3]), "LOCAL with an unknown family"),
        (v2(0x21, 0x00, &[]), "UNSPEC"),
        (v2(0x21, 0x00, &[9; 77]), "UNSPEC with a block"),
        (v2(0x21, 0x10, IPV4), "an unspecified transport"),
        (v2(0x21, 0x01, &[]), "an unspecified family"),
        (v2(0x21, 0x31, &[b'/'; 216]), "unix"),
        (v2(0x21, 0x32, &[0; 216]), "unix datagrams"),
    ] {
        assert_eq!(flow(&header), None, "{what}");
        assert_eq!(done(&header).0.tlvs, Tlvs::default(), "{what}");
    }
}

#[test]
fn version_2_is_read_strictly() {
    use Defect as D;
    for (header, defect) in [
        (v2(0x11, 0x11, IPV4), D::Version),
        (v2(0x31, 0x11, IPV4), D::Version),
        (v2(0x22, 0x11, IPV4), D::Command),
        (v2(0x2f, 0x11, IPV4), D::Command),
        (v2(0x21, 0x41, IPV4), D::Family),
        (v2(0x21, 0x13, IPV4), D::Family),
        (v2(0x21, 0xff, IPV4), D::Family),
        (v2(0x21, 0x11, &IPV4[..11]), D::TooShort),
        (v2(0x21, 0x11, &[]), D::TooShort),
        (v2(0x21, 0x21, &[0; 35]), D::TooShort),
        (v2(0x21, 0x31, &[0; 215]), D::TooShort),
        (with_tlvs(&[4]), D::Tlv),
        (with_tlvs(&[4, 0]), D::Tlv),
        (with_tlvs(&[4, 0, 1]), D::Tlv),
        (with_tlvs(&[4, 0, 0, 4]), D::Tlv),
        (with_tlvs(&[4, 0xff, 0xff, 0]), D::Tlv),
        (with_tlvs(&[1, 0, 2, b'h', b'2', 2, 0, 1]), D::Tlv),
        (with_tlvs(&[3, 0, 3, 0, 0, 0]), D::TlvLength),
        (with_tlvs(&[3, 0, 5, 0, 0, 0, 0, 0]), D::TlvLength),
        (with_tlvs(&[3, 0, 4, 0, 0, 0, 0]), D::Checksum),
        (
            with_tlvs(&[&[5, 0, 129][..], &[0; 129]].concat()),
            D::TlvLength,
        ),
    ] {
        assert_eq!(decode(&header), Decoded::Invalid(defect), "{header:?}");
    }
}

/// P03: the length is bounded, and a longer one is refused at once.
#[test]
fn a_long_header_is_refused_before_it_is_complete() {
    let fixed = |len: u16| [SIGNATURE, &[0x21, 0x11], &len.to_be_bytes()].concat();
    assert_eq!(decode(&fixed(4096)), Decoded::NeedMore);
    for len in [4097, u16::MAX] {
        assert_eq!(decode(&fixed(len)), Decoded::Invalid(Defect::TooLong));
    }
    let padding = 4096 - 12 - 3;
    let tlvs = [
        vec![4],
        u16::try_from(padding).unwrap().to_be_bytes().to_vec(),
        vec![7; padding],
    ];
    assert_eq!(done(&with_tlvs(&tlvs.concat())).1, 16 + 4096);
}

#[test]
fn tlvs_are_read_in_their_order() {
    let tlvs = [
        1, 0, 2, b'h', b'2', 0xe0, 0, 0, 2, 0, 1, b'a', 2, 0, 1, b'b',
    ];
    let header = with_tlvs(&tlvs);
    let read: Vec<_> = done(&header)
        .0
        .tlvs
        .map(|tlv| (tlv.kind, tlv.value))
        .collect();
    assert_eq!(read, [(1, &b"h2"[..]), (0xe0, b""), (2, b"a"), (2, b"b")]);
    assert_eq!(done(&header).0.tlvs.get(kind::AUTHORITY), Some(&b"a"[..]));
    assert_eq!(done(&header).0.tlvs.get(kind::SSL), None);
}

/// P04: a checksum is verified if present, and there is at most one.
#[test]
fn a_wrong_checksum_is_refused() {
    let facts = Facts {
        alpn: Some(b"h2"),
        checksum: true,
        ..Facts::default()
    };
    let flow = Flow::new(
        "192.0.2.1:1".parse().unwrap(),
        "192.0.2.2:2".parse().unwrap(),
    );
    let good = encode_v2(&Parties::Ip(flow), &facts).unwrap();
    assert_eq!(done(&good).0.proxied, Some(flow));
    // Every byte counts: addresses, ports, the other TLV and the checksum; except for the byte that
    // announces the checksum.
    let kind = good.len() - 7;
    for at in (16..good.len()).filter(|at| *at != kind) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert!(matches!(decode(&bad), Decoded::Invalid(_)), "byte {at}");
    }
    let sum = &good[kind..];
    let twice = with_tlvs(&[sum, sum].concat());
    assert_eq!(decode(&twice), Decoded::Invalid(Defect::TlvLength));
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

#[test]
fn an_encoded_header_decodes_to_the_same_addresses() {
    for (source, destination, line) in [
        (
            "192.0.2.1:1",
            "198.51.100.2:65535",
            "PROXY TCP4 192.0.2.1 198.51.100.2 1 65535\r\n",
        ),
        (
            "[2001:db8::1]:1",
            "[2001:db8::2]:2",
            "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n",
        ),
        (
            "192.0.2.1:1",
            "[2001:db8::2]:2",
            "PROXY TCP6 ::ffff:c000:201 2001:db8::2 1 2\r\n",
        ),
    ] {
        let flow = Flow::new(source.parse().unwrap(), destination.parse().unwrap());
        let parties = Parties::Ip(flow);
        let v1 = encode_v1(&parties);
        assert_eq!(String::from_utf8_lossy(&v1), line);
        assert_eq!(done(&v1).0.proxied, Some(flow));
        let v2 = encode_v2(&parties, &Facts::default()).unwrap();
        assert_eq!(done(&v2).0.proxied, Some(flow));
    }
}

#[test]
fn a_unix_client_is_encoded_without_addresses() {
    let parties = Parties::Unix(b"/run/edge.sock");
    assert_eq!(encode_v1(&parties), b"PROXY UNKNOWN\r\n");
    let header = encode_v2(&parties, &Facts::default()).unwrap();
    assert_eq!(header.len(), 16 + 216);
    assert_eq!(header[12..16], [0x21, 0x31, 0, 216]);
    assert_eq!(header[16 + 108..][..15], *b"/run/edge.sock\0");
    assert_eq!(flow(&header), None);
    let long = Parties::Unix(&[b'a'; 109]);
    assert!(encode_v2(&long, &Facts::default()).is_err());
}

/// P07: a fact that does not fit is an error; it is not truncated.
#[test]
fn an_overlong_fact_is_not_encoded() {
    let parties = Parties::Unix(b"");
    let long = vec![b'a'; 65_536];
    let certificate = VerifiedClient {
        common_name: None,
        der: &long[..65_500],
        resumed: false,
    };
    let ssl = Ssl {
        client: Some(certificate),
        ..Ssl::default()
    };
    for facts in [
        Facts {
            alpn: Some(&long),
            ..Facts::default()
        },
        Facts {
            alpn: Some(&long[..65_500]),
            ..Facts::default()
        },
        Facts {
            ssl: Some(ssl),
            ..Facts::default()
        },
    ] {
        let error = encode_v2(&parties, &facts).unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
    }
}

/// Pseudo-random numbers, the same in every run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }
}

/// Decodes growing prefixes of `bytes`, split at random, as a reader does, and returns the first final
/// result.
fn in_pieces<'a>(bytes: &'a [u8], noise: &mut Noise) -> Decoded<'a> {
    let mut have = 0;
    loop {
        let answer = decode(&bytes[..have]);
        if answer != Decoded::NeedMore || have == bytes.len() {
            return answer;
        }
        have = (have + 1 + noise.below(40)).min(bytes.len());
    }
}

/// The result is the same however the bytes are split: for valid headers, and for valid ones with a few
/// bytes changed, inserted or removed.
#[test]
fn the_result_does_not_depend_on_how_the_bytes_are_split() {
    let facts = Facts {
        alpn: Some(b"h2"),
        authority: Some("a.test"),
        unique_id: Some(b"0123456789abcdef"),
        checksum: true,
        ..Facts::default()
    };
    let flow = Flow::new(
        "[2001:db8::1]:1".parse().unwrap(),
        "192.0.2.2:2".parse().unwrap(),
    );
    let seeds = [
        encode_v2(&Parties::Ip(flow), &facts).unwrap(),
        encode_v2(&Parties::Unix(b"/run/x"), &facts).unwrap(),
        encode_v1(&Parties::Ip(flow)),
        with_tlvs(&[4, 0, 0, 1, 0, 2, b'h', b'2']),
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
    ];
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut kinds = [0; 3];
    for round in 0..20_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..noise.below(3) {
            let at = noise.below(bytes.len());
            let byte = u8::try_from(noise.below(256)).unwrap();
            match noise.below(3) {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes.extend(vec![0x16; noise.below(150)]);
        let whole = decode(&bytes);
        kinds[match whole {
            Decoded::NeedMore => 0,
            Decoded::Done { .. } => 1,
            Decoded::Invalid(_) => 2,
        }] += 1;
        assert_eq!(
            in_pieces(&bytes, &mut noise),
            whole,
            "{}",
            bytes.escape_ascii()
        );
    }
    assert!(kinds.iter().all(|count| *count > 100), "{kinds:?}");
}
