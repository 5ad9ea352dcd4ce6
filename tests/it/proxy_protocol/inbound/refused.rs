//! Peers that are refused: an invalid, late or missing header, or one that is not expected.

use std::time::{Duration, Instant};

use super::{V1, handshake, proxy, v2};
use crate::harness::proxy_header::{header, proxied, tlv};
use crate::harness::{Origin, Proxy, Stream, at_once, recorded_hello};

/// Sends these bytes first to a port that requires a header.
#[track_caller]
fn must_be_refused(proxy: &Proxy, endpoint: &str, bytes: &[u8], reason: &str) {
    let client = proxy.dial(endpoint);
    let _ = client.write_raw(bytes);
    let (data, _) = client.receive_to_end();
    assert_eq!(data, b"", "an unknown peer gets no data");
    proxy
        .outcome_of(&client)
        .must_be(reason)
        .must_have("stage", "proxy_header")
        .must_have("fault", "client");
}

/// P02 and P03.
#[test]
fn an_invalid_header_is_refused_before_the_origin_is_dialled() {
    let (proxy, origin) = proxy();
    let good = v2();
    let with = |more: &[u8]| {
        let block = [&good[16..], more].concat();
        header(0x21, 0x11, &block)
    };
    let cases: [(Vec<u8>, &str); 15] = [
        (recorded_hello("a.test"), "proxy_header_missing"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "proxy_header_missing"),
        (b"PROX\r\n".to_vec(), "proxy_header_missing"),
        (b"\r\n\r\n\0\r\nQUIP\n".to_vec(), "proxy_header_missing"),
        (
            b"PROXY TCP4 192.0.2.7 7777\r\n".to_vec(),
            "proxy_header_invalid",
        ),
        (
            b"PROXY TCP4 192.0.2.07 192.0.2.8 1 2\r\n".to_vec(),
            "proxy_header_invalid",
        ),
        (
            [&b"PROXY TCP4 "[..], &[b'1'; 97]].concat(),
            "proxy_header_invalid",
        ),
        (header(0x11, 0x11, &good[16..]), "proxy_header_invalid"),
        (header(0x22, 0x11, &good[16..]), "proxy_header_invalid"),
        (header(0x21, 0x51, &good[16..]), "proxy_header_invalid"),
        (header(0x21, 0x21, &good[16..]), "proxy_header_invalid"),
        (with(&[4, 0, 9, 1]), "proxy_header_invalid"),
        (with(&[0]), "proxy_header_invalid"),
        // The checksum of another header.
        (with(&tlv(3, &[1, 2, 3, 4])), "proxy_header_invalid"),
        // Only the fixed part is sent; its length field says 64 KiB.
        (
            header(0x21, 0x11, &[0; 0xffff])[..16].to_vec(),
            "proxy_header_invalid",
        ),
    ];
    for (bytes, reason) in &cases {
        for endpoint in ["edge", "forward"] {
            must_be_refused(&proxy, endpoint, bytes, reason);
        }
    }
    assert_eq!(origin.accepts(), 0);
}

/// P02, D01: a header has an absolute deadline, which bytes do not extend.
#[test]
fn a_header_has_a_deadline() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("accept_proxy_protocol: { from: [127.0.0.1], timeout: 1s }")
        .endpoint("early", "tls")
        .on_endpoint("accept_proxy_protocol: { from: [127.0.0.1] }")
        .on_endpoint("timeouts: { hello: 1s }")
        .terminate("a.test", &origin)
        .start();
    let v2 = v2();
    let begun = [&b""[..], b"PROXY TCP4 1", &v2[..27]];
    let cases = ["edge", "early"]
        .into_iter()
        .flat_map(|endpoint| begun.map(|begun| (endpoint, begun, None)));
    // The deadline of the hello began with the connection, not with the end of the header.
    let named = Some("192.0.2.7:7777".parse().unwrap());
    let whole = ("early", &v2[..], named);
    at_once(cases.chain([whole]), |(endpoint, begun, named)| {
        let start = Instant::now();
        let client = proxy.dial(endpoint);
        client.write_raw(begun).unwrap();
        client.receive_to_end();
        let lasted = start.elapsed();
        assert!(lasted > Duration::from_millis(800), "{lasted:?}");
        assert!(lasted < Duration::from_secs(5), "{lasted:?}");
        let record = proxy.outcome_from(named.unwrap_or_else(|| client.local()));
        match named {
            None => record
                .must_be("proxy_header_timeout")
                .must_have("stage", "proxy_header"),
            Some(_) => record.must_be("hello_timeout"),
        };
    });
}

#[test]
fn a_trickle_does_not_extend_the_deadline() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("accept_proxy_protocol: { from: [127.0.0.1], timeout: 1s }")
        .start();
    let start = Instant::now();
    let client = proxy.dial("edge");
    let trickle = client.clone();
    let writer = std::thread::spawn(move || {
        for byte in proxied("192.0.2.7:1", "192.0.2.8:2", &[(4, &[0; 300])]) {
            if trickle.write_raw(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    client.receive_to_end();
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    proxy.outcome_of(&client).must_be("proxy_header_timeout");
    writer.join().unwrap();
}

#[test]
fn a_peer_that_ends_before_its_header_is_complete_has_its_own_reason() {
    let (proxy, _origin) = proxy();
    for (begun, reason) in [
        (&b""[..], "probe_eof"),
        (b"PROXY TCP4", "client_closed"),
        (&v2()[..20], "client_closed"),
    ] {
        let client = proxy.dial("edge");
        client.write_raw(begun).unwrap();
        client.end();
        client.receive_to_end();
        proxy
            .outcome_of(&client)
            .must_be(reason)
            .must_have("stage", "proxy_header");
    }
    // A health check that identifies itself as one.
    let client = proxy.dial("edge");
    client.write_raw(&header(0x20, 0, &[])).unwrap();
    client.end();
    client.receive_to_end();
    proxy.outcome_of(&client).must_be("probe_eof");
}

/// P01: on one port, listed peers must send a header, and all others connect directly.
#[test]
fn unlisted_peers_connect_directly_and_must_not_send_a_header() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("accept_proxy_protocol: { from: [127.0.0.2] }")
        .start();
    let client = handshake(
        Stream::dial_from("127.0.0.3", proxy.listen_addr("edge")),
        &proxy,
    );
    client.must_echo(b"directly");
    client.end();
    client.receive_to_end();
    let record = proxy.outcome();
    assert!(record.text("client").starts_with("127.0.0.3:") && !record.has("peer"));
    assert!(record["ms"].get("proxy_header").is_none(), "{record:?}");

    let listed = Stream::dial_from("127.0.0.2", proxy.listen_addr("edge"));
    listed.write_raw(V1).unwrap();
    handshake(listed, &proxy).must_echo(b"by header");
    proxy.outcome().must_have("client", "192.0.2.7:7777");
    let reached = origin.accepts();

    for header in [V1, &v2(), &header(0x20, 0, &[])] {
        for segments in [vec![header], header.chunks(1).collect()] {
            let client = Stream::dial_from("127.0.0.3", proxy.listen_addr("edge"));
            for segment in segments {
                let _ = client.write_raw(segment);
            }
            client.receive_to_end();
            let record = proxy.outcome();
            record
                .must_be("proxy_header_unexpected")
                .must_have("stage", "hello");
            let detail = record.text("detail");
            assert!(detail.contains("add 127.0.0.3 if"), "{detail}");
            assert!(
                record.text("client").starts_with("127.0.0.3:"),
                "{record:?}"
            );
        }
    }
    // Peers that may send a header may send only one.
    let twice = Stream::dial_from("127.0.0.2", proxy.listen_addr("edge"));
    twice.write_raw(&[V1, &v2()].concat()).unwrap();
    twice.receive_to_end();
    let record = proxy.outcome();
    record.must_be("proxy_header_unexpected");
    assert!(
        record.text("detail").contains("a second PROXY header"),
        "{record:?}"
    );
    assert_eq!(origin.accepts(), reached);
}

/// Bytes that only begin like a header are treated as any others.
#[test]
fn half_a_signature_is_not_tls() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { hello: 1s }")
        .start();
    for bytes in [&b"PROPFIND / HTTP/1.1\r\n"[..], b"\r\n\r\nhello", b"\r\n"] {
        let client = proxy.dial("edge");
        client.write_raw(bytes).unwrap();
        client.receive_to_end();
        proxy.outcome_of(&client).must_be("not_tls");
    }
    assert_eq!(origin.accepts(), 0);
}
