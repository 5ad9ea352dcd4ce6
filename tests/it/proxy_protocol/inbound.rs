//! Received PROXY headers: who must send one, who must not, and their effects.

mod refused;

use std::net::SocketAddr;

use crate::harness::proxy_header::{header, proxied, tlv};
use crate::harness::{
    Client, End, ForgedHello, Origin, Proxy, Record, Stream, pki, recorded_hello,
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
