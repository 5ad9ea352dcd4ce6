//! Headers of version 2 and their TLVs.

use super::*;

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
