//! Headers that are sent.

use super::*;

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
