//! First bytes that are not a valid ClientHello: each case has its reason, and an alert that arrives.

use std::time::{Duration, Instant};

use crate::harness::{
    End, ForgedHello, Origin, Proxy, Record, at_once, extension, record, recorded_hello,
};

/// The longest hello on the wire, in bytes.
const HELLO_MAX: usize = 65_535;

const UNEXPECTED_MESSAGE: u8 = 10;
const ILLEGAL_PARAMETER: u8 = 47;
const DECODE_ERROR: u8 = 50;
const PROTOCOL_VERSION: u8 = 70;

/// A proxy with a passthrough and a terminating route, and an origin that must get no connection.
fn proxy() -> (Proxy, Origin) {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .passthrough("b.test", &origin)
        .on_endpoint("timeouts: { hello: 2s }")
        .start();
    (proxy, origin)
}

/// Sends these bytes first. The proxy must answer with this alert, in a plain record, and a clean end.
#[track_caller]
fn must_get_alert(proxy: &Proxy, bytes: &[u8], alert: u8) -> Record {
    let client = proxy.dial("edge");
    // A rejection may come before all of it was sent.
    let _ = client.write_raw(bytes);
    let (data, end) = client.receive_to_end();
    assert_eq!(data, [21, 3, 3, 0, 2, 2, alert]);
    assert_eq!(
        end,
        End::Clean,
        "the alert must not be overtaken by a reset"
    );
    let record = proxy.outcome_of(&client);
    record
        .must_have("stage", "hello")
        .must_have("fault", "client");
    record
}

#[test]
fn bytes_that_are_not_tls_get_an_alert() {
    let (proxy, origin) = proxy();
    let openings: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
        b"\x00",
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
        b"\xff\xff\xff\xff\xff\xff",
    ];
    for opening in openings {
        must_get_alert(&proxy, opening, UNEXPECTED_MESSAGE).must_be("not_tls");
    }
    assert_eq!(origin.accepts(), 0);
}

/// RFC 8446 sections 4 and 5.1.
#[test]
fn another_message_before_or_inside_the_hello_gets_unexpected_message() {
    let (proxy, origin) = proxy();
    let hello = ForgedHello::new(b"a.test").message();
    let (first, second) = hello.split_at(40);
    let inside = |between: &[u8]| [&record(first), between, &record(second)].concat();
    let (data, alert) = (b"\x17\x03\x03\x00\x01x", b"\x15\x03\x03\x00\x02\x02\x28");
    let openings = [
        data.to_vec(),
        alert.to_vec(),
        b"\x14\x03\x03\x00\x01\x01".to_vec(),
        // A ServerHello, a Finished and a type that does not exist.
        record(b"\x02\x00\x00\x02\x03\x03"),
        record(b"\x14\x00\x00\x01\x00"),
        record(b"\x63\x00\x00\x00"),
        inside(data),
        inside(alert),
    ];
    for opening in openings {
        must_get_alert(&proxy, &opening, UNEXPECTED_MESSAGE).must_be("hello_malformed");
    }
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn a_tls_12_client_without_a_scheme_for_our_curve_gets_handshake_failure() {
    const HANDSHAKE_FAILURE: u8 = 40;
    const ECDSA_P384: [u8; 4] = [0, 2, 5, 3];
    let (proxy, origin) = proxy();
    let hello = ForgedHello::new(b"a.test")
        .without(extension::VERSIONS)
        .without(extension::KEY_SHARES)
        .without(extension::SIGNATURES)
        .with(extension::SIGNATURES, ECDSA_P384.to_vec());
    let client = proxy.dial("edge");
    client.write_raw(&hello.bytes()).unwrap();
    let (data, end) = client.receive_to_end();
    assert_eq!(data, [21, 3, 3, 0, 2, 2, HANDSHAKE_FAILURE]);
    assert_eq!(end, End::Clean);
    let record = proxy.outcome_of(&client);
    record
        .must_be("no_common_signature")
        .must_have("fault", "client");
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn tls_11_is_refused_by_version_in_every_mode() {
    let (proxy, origin) = proxy();
    for sni in ["a.test", "b.test"] {
        let hello = ForgedHello::tls11(sni.as_bytes()).bytes();
        let record = must_get_alert(&proxy, &hello, PROTOCOL_VERSION);
        record.must_be("no_common_version");
        let detail = record.text("detail");
        let words = ["TLS 1.1 at most", "update the client"];
        assert!(words.iter().all(|word| detail.contains(word)), "{detail}");
    }
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn a_malformed_hello_gets_an_alert() {
    let (proxy, origin) = proxy();
    let twice = ForgedHello::new(b"a.test").with(
        extension::SERVER_NAME,
        b"\x00\x09\x00\x00\x06b.test".to_vec(),
    );
    let unknown_twice = ForgedHello::new(b"a.test")
        .with(extension::GREASE, vec![])
        .with(extension::GREASE, vec![]);
    let empty_alpn = ForgedHello::new(b"a.test").with(extension::ALPN, vec![0, 0]);
    for hello in [twice, unknown_twice, empty_alpn] {
        let client = proxy.dial("edge");
        client.write_raw(&hello.bytes()).unwrap();
        let (data, end) = client.receive_to_end();
        assert_eq!((&data[..6], end), (&[21, 3, 3, 0, 2, 2][..], End::Clean));
        assert!(
            [DECODE_ERROR, ILLEGAL_PARAMETER].contains(&data[6]),
            "alert {}",
            data[6]
        );
        proxy
            .outcome_of(&client)
            .must_be("hello_malformed")
            .must_have("stage", "hello");
    }
    let mut cut_short = ForgedHello::new(b"a.test").message();
    let last = cut_short.len() - 1;
    cut_short.truncate(last);
    let length = u32::try_from(last - 4).unwrap().to_be_bytes();
    cut_short[1..4].copy_from_slice(&length[1..]);
    must_get_alert(&proxy, &record(&cut_short), DECODE_ERROR).must_be("hello_malformed");
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn a_client_that_insists_on_compression_is_not_supported() {
    let (proxy, _origin) = proxy();
    let hello = ForgedHello::new(b"a.test").compression(1).bytes();
    must_get_alert(&proxy, &hello, ILLEGAL_PARAMETER).must_be("hello_unsupported");
}

#[test]
fn another_handshake_message_in_place_of_a_hello_is_refused() {
    let (proxy, _origin) = proxy();
    let mut message = ForgedHello::new(b"a.test").message();
    message[0] = 2;
    let client = proxy.dial("edge");
    client.write_raw(&record(&message)).unwrap();
    let (data, end) = client.receive_to_end();
    assert_eq!((&data[..6], end), (&[21, 3, 3, 0, 2, 2][..], End::Clean));
    assert_eq!(proxy.outcome_of(&client).text("stage"), "hello");
}

#[test]
fn the_largest_hello_that_fits_is_served() {
    let (proxy, _origin) = proxy();
    // Four records hold it, with a header of five bytes each.
    let hello = ForgedHello::new(b"b.test").padded_to(HELLO_MAX - 4 * 5);
    let bytes = hello.bytes();
    assert_eq!(bytes.len(), HELLO_MAX);
    let client = proxy.dial("edge");
    client.must_echo(&bytes);
}

#[test]
fn a_hello_larger_than_the_limit_is_refused_in_any_fragmentation() {
    let (proxy, origin) = proxy();
    let one_too_many = ForgedHello::new(b"b.test").padded_to(HELLO_MAX - 4 * 5 + 1);
    must_get_alert(&proxy, &one_too_many.bytes(), ILLEGAL_PARAMETER).must_be("hello_too_large");
    // 12 000 bytes are few, except in records of one byte.
    let in_crumbs = ForgedHello::new(b"b.test")
        .padded_to(12_000)
        .in_records_of(1);
    must_get_alert(&proxy, &in_crumbs, ILLEGAL_PARAMETER).must_be("hello_too_large");
    // The length in the message's header is too large, which is known before the rest is sent.
    let claim = record(&[1, 0xff, 0xff, 0xff, 3, 3]);
    must_get_alert(&proxy, &claim, ILLEGAL_PARAMETER).must_be("hello_too_large");
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn half_a_hello_and_silence_reaches_the_deadline() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { hello: 400ms }")
        .start();
    let hello = recorded_hello("a.test");
    at_once([0, 1, 5, 700, hello.len() - 1], |part| {
        let client = proxy.dial("edge");
        let start = Instant::now();
        client.write_raw(&hello[..part]).unwrap();
        let (data, _) = client.receive_to_end();
        assert!(data.is_empty());
        let waited = start.elapsed();
        assert!(waited > Duration::from_millis(350), "{waited:?}");
        let record = proxy.outcome_of(&client);
        record
            .must_be("hello_timeout")
            .must_have("stage", "hello")
            .must_have("fault", "client");
    });
}

#[test]
fn promise_2_a_trickle_does_not_extend_the_hello_deadline() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { hello: 400ms }")
        .start();
    let client = proxy.dial("edge");
    let start = Instant::now();
    let hello = recorded_hello("a.test");
    // One byte every 20 ms would take half a minute.
    for byte in hello.chunks(1) {
        if client.write_raw(byte).is_err() || start.elapsed() > Duration::from_secs(5) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    proxy.outcome().must_be("hello_timeout");
}

#[test]
fn promise_2_a_client_that_stops_in_its_handshake_reaches_the_deadline() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { hello: 300ms, client: 600ms }")
        .start();
    let client = proxy.dial("edge");
    let start = Instant::now();
    client.write_raw(&recorded_hello("a.test")).unwrap();
    let (answer, _) = client.receive_to_end();
    assert_eq!(answer[0], 22, "a ServerHello");
    let waited = start.elapsed();
    assert!(
        waited > Duration::from_millis(500) && waited < Duration::from_secs(3),
        "{waited:?}"
    );
    let record = proxy.outcome_of(&client);
    record
        .must_be("client_tls_timeout")
        .must_have("stage", "client_tls");
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn a_port_scan_is_a_probe() {
    let (proxy, _origin) = proxy();
    let client = proxy.dial("edge");
    client.end();
    assert_eq!(client.receive_to_end(), (vec![], End::Clean));
    proxy
        .outcome_of(&client)
        .must_be("probe_eof")
        .must_have("fault", "client");
}

#[test]
fn a_client_that_ends_in_its_hello_or_handshake_is_client_closed() {
    let (proxy, _origin) = proxy();
    let hello = recorded_hello("a.test");
    let client = proxy.dial("edge");
    client.write_raw(&hello[..100]).unwrap();
    client.end();
    client.receive_to_end();
    proxy
        .outcome_of(&client)
        .must_be("client_closed")
        .must_have("stage", "hello");

    let client = proxy.dial("edge");
    client.write_raw(&hello).unwrap();
    client.end();
    client.receive_to_end();
    proxy
        .outcome_of(&client)
        .must_be("client_closed")
        .must_have("stage", "client_tls");
}

#[test]
fn a_client_that_resets_in_its_hello_is_client_reset() {
    let (proxy, _origin) = proxy();
    let client = proxy.dial("edge");
    client.write_raw(&recorded_hello("a.test")[..100]).unwrap();
    let address = client.local();
    client.reset();
    proxy
        .outcome_from(address)
        .must_be("client_reset")
        .must_have("stage", "hello");
}

#[test]
fn a_garbled_handshake_is_a_tls_error_and_gets_an_alert() {
    let (proxy, origin) = proxy();
    let client = proxy.dial("edge");
    client.write_raw(&recorded_hello("a.test")).unwrap();
    // No key decrypts it.
    client
        .write_raw(b"\x17\x03\x03\x00\x20xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")
        .unwrap();
    let (_, end) = client.receive_to_end();
    assert_eq!(
        end,
        End::Clean,
        "the alert must not be overtaken by a reset"
    );
    proxy
        .outcome_of(&client)
        .must_be("client_tls_error")
        .must_have("stage", "client_tls");
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn missing_common_parameters_have_their_own_reasons() {
    const HANDSHAKE_FAILURE: u8 = 40;
    let (proxy, _origin) = proxy();
    let no_cipher = ForgedHello::new(b"a.test").suites(&[0x1304, 0x002f]);
    let no_group = ForgedHello::new(b"a.test")
        .without(extension::GROUPS)
        .without(extension::KEY_SHARES)
        .with(extension::GROUPS, vec![0, 2, 0x01, 0x00])
        .with(extension::KEY_SHARES, vec![0, 0]);
    for (hello, reason) in [
        (no_cipher, "no_common_cipher"),
        (no_group, "no_common_group"),
    ] {
        let client = proxy.dial("edge");
        client.write_raw(&hello.bytes()).unwrap();
        let (data, end) = client.receive_to_end();
        assert_eq!(
            (data, end),
            (vec![21, 3, 3, 0, 2, 2, HANDSHAKE_FAILURE], End::Clean),
            "{reason}"
        );
        proxy
            .outcome_of(&client)
            .must_be(reason)
            .must_have("stage", "client_tls");
    }
}

#[test]
fn a_client_without_tls_is_told_apart_by_its_protocol() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    for (opening, words) in [
        (&b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"[..], "https://"),
        (b"\0\0\0\x08\x04\xd2\x16\x2f", "sslnegotiation=direct"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "`mode: forward`"),
        (b"EHLO mail.test\r\n", "`negotiate: smtp`"),
        (b"a1 CAPABILITY\r\n", "`negotiate: imap`"),
        (b"\x05\x01\0", "SOCKS 5"),
        (b"hello\n", "the first bytes are 68 65 6c 6c 6f 0a"),
    ] {
        let record = must_get_alert(&proxy, opening, UNEXPECTED_MESSAGE);
        record.must_be("not_tls");
        assert!(record.text("detail").contains(words), "{record:?}");
    }
}
