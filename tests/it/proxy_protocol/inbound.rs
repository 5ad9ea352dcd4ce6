//! Received PROXY headers: who must send one, who must not, and their effects.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::proxy_header::{header, proxied, tlv};
use crate::harness::{
    Client, End, ForgedHello, Origin, Proxy, Record, Stream, at_once, pki, recorded_hello,
};

/// Makes this machine a peer that must send a header.
const FROM_HERE: &str = "accept_proxy_protocol: { from: [127.0.0.0/8], timeout: 2s }";

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.9 7777 443\r\n";

fn v2() -> Vec<u8> {
    proxied("192.0.2.7:7777", "198.51.100.9:443", &[])
}

/// A proxy with a terminating, a passthrough and a plain endpoint, and an echo origin.
fn proxy() -> (Proxy, Origin) {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .passthrough("b.test", &origin)
        .on_endpoint(FROM_HERE)
        .forward(&origin)
        .on_endpoint(FROM_HERE)
        .start();
    (proxy, origin)
}

/// The TLS stream of a client for `a.test` over this connection, on which a header was sent.
#[track_caller]
fn handshake(stream: Stream, proxy: &Proxy) -> Stream {
    let client = Client::new(proxy.listen_addr("edge"), "a.test");
    let name = "a.test".to_owned().try_into().unwrap();
    let conn = rustls::ClientConnection::new(client.config(), name).unwrap();
    stream.handshake(conn.into()).unwrap()
}

#[track_caller]
fn must_be_of_the_header(record: &Record, peer: SocketAddr) {
    record
        .must_have("client", "192.0.2.7:7777")
        .must_have("peer", &peer.to_string())
        .must_have("local", "198.51.100.9:443");
    assert!(record["ms"]["proxy_header"].is_number(), "{record:?}");
}

#[test]
fn the_header_names_the_client() {
    let (proxy, _origin) = proxy();
    for header in [V1, &v2()] {
        let stream = proxy.dial("edge");
        let peer = stream.local();
        stream.write_raw(header).unwrap();
        let client = handshake(stream, &proxy);
        client.must_echo(b"hello");
        client.end();
        client.receive_to_end();
        must_be_of_the_header(proxy.outcome().must_be("ok"), peer);
    }
}

#[test]
fn exactly_the_header_is_consumed() {
    let (proxy, _origin) = proxy();
    let hello = recorded_hello("b.test");
    for header in [V1, &v2()] {
        // All in one segment: the passthrough route sends the hello on, without a byte of the header.
        let client = proxy.dial("edge");
        let peer = client.local();
        client.send([header, &hello].concat());
        assert_eq!(client.receive(hello.len()), hello);
        client.end();
        client.receive_to_end();
        must_be_of_the_header(proxy.outcome().must_be("ok"), peer);

        let client = proxy.dial("forward");
        let peer = client.local();
        client.send([header, b"data"].concat());
        assert_eq!(client.receive(4), b"data");
        client.must_echo(b"more");
        client.end();
        assert_eq!(client.receive_to_end(), (vec![], End::Clean));
        must_be_of_the_header(proxy.outcome().must_be("ok"), peer);
    }
}

/// P03: the decision does not depend on the segments.
#[test]
fn segmentation_does_not_matter() {
    let (proxy, _origin) = proxy();
    let hello = ForgedHello::new(b"b.test").bytes();
    for header in [V1, &v2()] {
        let whole = [header, &hello].concat();
        let cuts = (1..header.len() + 7).map(|at| {
            let (first, second) = whole.split_at(at);
            vec![first, second]
        });
        for segments in cuts.chain([whole.chunks(1).collect()]) {
            let client = proxy.dial("edge");
            let peer = client.local();
            for segment in &segments {
                client.write_raw(segment).unwrap();
            }
            assert_eq!(client.receive(hello.len()), hello, "{segments:?}");
            client.end();
            client.receive_to_end();
            must_be_of_the_header(proxy.outcome().must_be("ok"), peer);
        }
    }
}

#[test]
fn routes_match_the_source_of_the_header() {
    let (inside, outside) = (Origin::echo(), Origin::echo());
    let proxy = Proxy::builder()
        .terminate("a.test", &inside)
        .named("inside")
        .matching("source: [192.0.2.0/24, \"2001:db8::/32\"]")
        .route("terminate", "a.test", &outside)
        .named("outside")
        .on_endpoint(FROM_HERE)
        .start();
    for (source, route) in [
        ("192.0.2.7:1", "inside"),
        ("192.0.3.7:1", "outside"),
        ("127.0.0.1:1", "outside"),
        ("[2001:db8::1]:1", "inside"),
        ("[2001:db9::1]:1", "outside"),
        // P05: it becomes 192.0.2.7.
        ("[::ffff:192.0.2.7]:1", "inside"),
        ("[::ffff:192.0.3.7]:1", "outside"),
    ] {
        let destination = if source.starts_with('[') {
            "[::1]:1"
        } else {
            "127.0.0.1:1"
        };
        let stream = proxy.dial("edge");
        stream
            .write_raw(&proxied(source, destination, &[]))
            .unwrap();
        let client = handshake(stream, &proxy);
        client.must_echo(b"x");
        client.end();
        client.receive_to_end();
        let record = proxy.outcome();
        let logged = source.replace("[::ffff:", "").replace("7]", "7");
        let logged = if logged.contains("db") {
            source.to_owned()
        } else {
            logged
        };
        record
            .must_have("route", route)
            .must_have("client", &logged);
    }
}

/// P04: a peer that sends LOCAL or UNKNOWN is the client.
#[test]
fn without_an_address_the_peer_is_the_client() {
    let (proxy, _origin) = proxy();
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 192.0.2.7 192.0.2.8 1 2\r\n".to_vec(),
        header(0x20, 0x00, &[]),
        header(0x20, 0x11, &[9; 30]),
        header(0x21, 0x00, &[]),
        header(0x21, 0x31, &[b'a'; 216]),
    ] {
        let client = proxy.dial("forward");
        client.send([&header[..], b"data"].concat());
        assert_eq!(client.receive(4), b"data");
        client.end();
        client.receive_to_end();
        let record = proxy.outcome_of(&client);
        assert!(!record.has("peer"), "{record:?}");
        record.must_have("local", &proxy.listen_addr("forward").to_string());
    }
}

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

/// A connection from another address of this machine.
fn dial_from(source: &str, proxy: &Proxy) -> Stream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let source: SocketAddr = format!("{source}:0").parse().unwrap();
    socket.bind(&source.into()).unwrap();
    socket
        .connect(&proxy.listen_addr("edge").tcp().into())
        .unwrap();
    Stream::tcp(socket.into())
}

/// P01: on one port, listed peers must send a header, and all others connect directly.
#[test]
fn unlisted_peers_connect_directly_and_must_not_send_a_header() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("accept_proxy_protocol: { from: [127.0.0.2] }")
        .start();
    let client = handshake(dial_from("127.0.0.3", &proxy), &proxy);
    client.must_echo(b"directly");
    client.end();
    client.receive_to_end();
    let record = proxy.outcome();
    assert!(record.text("client").starts_with("127.0.0.3:") && !record.has("peer"));
    assert!(record["ms"].get("proxy_header").is_none(), "{record:?}");

    let listed = dial_from("127.0.0.2", &proxy);
    listed.write_raw(V1).unwrap();
    handshake(listed, &proxy).must_echo(b"by header");
    proxy.outcome().must_have("client", "192.0.2.7:7777");
    let reached = origin.accepts();

    for header in [V1, &v2(), &header(0x20, 0, &[])] {
        for segments in [vec![header], header.chunks(1).collect()] {
            let client = dial_from("127.0.0.3", &proxy);
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
    let twice = dial_from("127.0.0.2", &proxy);
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

/// A unix peer has no address, so it is in no list.
#[test]
fn a_unix_peer_connects_directly() {
    let origin = Origin::echo();
    let draft = Proxy::builder();
    let place = format!("unix:{}", draft.path("edge.sock"));
    let proxy = draft
        .endpoint("edge", "tls")
        .listen(&format!("[\"{place}\", 127.0.0.1:0]"))
        .on_endpoint("accept_proxy_protocol: { from: [0.0.0.0/0, \"::/0\"] }")
        .terminate("a.test", &origin)
        .without_waiting()
        .start();
    proxy.log_line(|line| line.contains("listening") && line.contains("unix:"));
    let place = crate::harness::ListenAddr::Unix(proxy.directory().join("edge.sock"));
    let client = Client::new(&place, "a.test").connect();
    client.must_echo(b"x");
    client.end();
    client.receive_to_end();
    assert!(proxy.outcome().text("client").starts_with("unix"));
}

/// P06: a peer's claims about a client's TLS are not sent to the origin.
#[test]
fn tlvs_of_a_peer_are_not_passed_on() {
    let (origin, reports) = Origin::plain().reporting();
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_endpoint(FROM_HERE)
        .on_upstream(
            "send_proxy_protocol: { version: v2, tlvs: [alpn, authority, ssl, unique_id, crc32c, \
             client_cert] }",
        )
        .start();
    let ssl = [&[7, 0, 0, 0, 0][..], &tlv(0x22, b"admin")].concat();
    let forged = proxied(
        "192.0.2.7:7777",
        "198.51.100.9:443",
        &[
            (1, b"forged-alpn"),
            (2, b"forged.test"),
            (5, b"forged-id"),
            (0x20, &ssl),
            (0xe0, b"forged-custom"),
        ],
    );
    let client = proxy.dial("forward");
    client.send([&forged[..], b"data"].concat());
    client.end();
    let report = reports.recv().unwrap();
    let text = String::from_utf8_lossy(&report.data).into_owned();
    assert!(
        !text.contains("forged") && !text.contains("admin"),
        "{text:?}"
    );
    let record = proxy.outcome();
    assert!(text.contains(record.text("id")), "{text:?}");
    assert!(text.ends_with("data"));
    // Only addresses, the identifier and the checksum: nothing more is known of a plain client.
    assert_eq!(report.data.len(), 16 + 12 + 3 + 16 + 3 + 4 + 4);
}

#[test]
fn client_auth_applies_behind_a_header() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("client_auth: { mode: required, ca: client-ca.pem }")
        .on_endpoint(FROM_HERE)
        .start();
    let alice = pki().client("alice");
    let client = Client::new(proxy.listen_addr("edge"), "a.test").certificate(&alice);
    let stream = proxy.dial("edge");
    stream.write_raw(V1).unwrap();
    let name = "a.test".to_owned().try_into().unwrap();
    let conn = rustls::ClientConnection::new(client.config(), name).unwrap();
    stream.handshake(conn.into()).unwrap().must_echo(b"x");
    proxy.outcome().must_have("client", "192.0.2.7:7777");
    let stream = proxy.dial("edge");
    stream.write_raw(V1).unwrap();
    let client = handshake(stream, &proxy);
    client.receive_to_end();
    proxy
        .outcome()
        .must_be("client_cert_missing")
        .must_have("client", "192.0.2.7:7777");
}
