//! Sent PROXY headers: what they contain, and what they leave out.

mod facts;

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use rcgen::CustomExtension;
use rustls::ServerConnection;

use crate::harness::proxy_header::{self, ReceivedHeader};
use crate::harness::{
    Client, Directory, Leaf, ListenAddr, Origin, OriginBuilder, Proxy, Stream, echo, pki,
};

const ALL: &str = "send_proxy_protocol: { version: v2, tlvs: [alpn, authority, ssl, unique_id, crc32c, \
                   client_cert] }";

const ALPN: u8 = 0x01;

const AUTHORITY: u8 = 0x02;

const CRC32C: u8 = 0x03;

const UNIQUE_ID: u8 = 0x05;

const SSL: u8 = 0x20;

const CLIENT_CERT: u8 = 0x28;

/// An origin that reads and reports a version 2 header, and echoes the data behind it.
fn reporting_headers(draft: OriginBuilder) -> (Origin, Receiver<ReceivedHeader>) {
    let (sender, headers) = channel();
    let sender = Mutex::new(sender);
    let origin = draft.serve(move |stream| {
        let header = ReceivedHeader::receive(&stream);
        let _ = sender.lock().unwrap().send(header);
        echo(&stream);
    });
    (origin, headers)
}

#[track_caller]
fn exchange(client: &Client) -> Stream {
    let stream = client.connect();
    finish(&stream);
    stream
}

#[track_caller]
fn finish(stream: &Stream) {
    stream.must_echo(b"hello");
    stream.end();
    stream.receive_to_end();
}

/// The line of a version 1 header, from an origin that reports its input.
fn line(data: &[u8]) -> String {
    let end = data.windows(2).position(|w| w == b"\r\n").unwrap();
    String::from_utf8(data[..end].to_vec()).unwrap()
}

#[test]
fn version_1_names_the_client() {
    let (origin, reports) = Origin::plain().reporting();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_upstream("send_proxy_protocol: v1")
        .start();
    let client = proxy.client("a.test").connect();
    client.send(b"data");
    client.end();
    let report = reports.recv().unwrap();
    let (from, to) = (client.local(), proxy.listen_addr("edge").tcp());
    let expected = format!(
        "PROXY TCP4 {} {} {} {}",
        from.ip(),
        to.ip(),
        from.port(),
        to.port()
    );
    assert_eq!(line(&report.data), expected);
    assert!(report.data.ends_with(b"\r\ndata"));
    client.receive_to_end();
    // The bytes of a header do not count.
    assert_eq!(proxy.outcome().number("bytes_up"), 4);
}

#[test]
fn version_2_has_only_addresses_by_default() {
    let (origin, headers) = reporting_headers(Origin::plain());
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_upstream("send_proxy_protocol: v2")
        .start();
    let client = exchange(&proxy.client("a.test"));
    let header = headers.recv().unwrap();
    assert_eq!((header.version_command, header.family), (0x21, 0x11));
    assert_eq!(header.source(), client.local());
    assert_eq!(header.destination(), proxy.listen_addr("edge").tcp());
    assert!(header.kinds().is_empty());
}

#[test]
fn an_upstream_without_the_key_gets_no_header() {
    let (origin, reports) = Origin::plain().reporting();
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_upstream("send_proxy_protocol: off")
        .start();
    let client = proxy.dial("forward");
    client.send(b"data");
    client.end();
    assert_eq!(reports.recv().unwrap().data, b"data");
}

/// The header is the first data that an origin gets; TLS follows it.
#[test]
fn the_header_comes_before_the_origins_tls() {
    let (sender, headers) = channel();
    let sender = Mutex::new(sender);
    let tls_origin = Origin::plain().serve(move |stream| {
        let header = ReceivedHeader::receive(&stream);
        sender.lock().unwrap().send(header).unwrap();
        let config = Arc::new(pki().server_config(&pki().origin(&["origin.test"])));
        let conn = ServerConnection::new(config).unwrap();
        echo(&stream.handshake(conn.into()).unwrap());
    });
    let proxy = Proxy::builder()
        .reencrypt("a.test", &tls_origin)
        .on_upstream(ALL)
        .originate(&tls_origin)
        .on_upstream(ALL)
        .start();
    let client = exchange(&proxy.client("a.test"));
    let header = headers.recv().unwrap();
    assert_eq!(header.source(), client.local());
    assert_eq!(header.kinds(), [AUTHORITY, UNIQUE_ID, SSL, CRC32C]);
    proxy
        .outcome()
        .must_be("ok")
        .must_have("origin_tls_version", "TLSv1.3");

    let client = proxy.dial("originate");
    client.must_echo(b"hello");
    client.end();
    client.receive_to_end();
    let header = headers.recv().unwrap();
    assert_eq!(header.source(), client.local());
    assert_eq!(header.kinds(), [UNIQUE_ID, CRC32C]);
}

/// Through two proxies in a row the first client remains the client.
#[test]
fn the_client_of_a_received_header_is_sent_to_the_origin() {
    let (origin, headers) = reporting_headers(Origin::plain());
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_endpoint("accept_proxy_protocol: { from: [127.0.0.1] }")
        .on_upstream("send_proxy_protocol: { version: v2, tlvs: [crc32c] }")
        .start();
    for (source, destination, family) in [
        ("192.0.2.7:7777", "198.51.100.9:443", 0x11),
        ("[2001:db8::7]:7777", "[2001:db8::9]:443", 0x21),
        // Only one address is IPv4: both are sent as IPv6.
        ("[::ffff:192.0.2.7]:7777", "[2001:db8::9]:443", 0x21),
    ] {
        let client = proxy.dial("forward");
        client
            .write_raw(&proxy_header::proxied(source, destination, &[]))
            .unwrap();
        client.must_echo(b"hello");
        client.end();
        client.receive_to_end();
        let header = headers.recv().unwrap();
        assert_eq!(header.family, family);
        assert_eq!(header.source(), source.parse().unwrap());
        assert_eq!(header.destination(), destination.parse().unwrap());
    }
    // A peer that sends LOCAL is the client.
    let client = proxy.dial("forward");
    client.write_raw(b"PROXY UNKNOWN\r\n").unwrap();
    client.must_echo(b"hello");
    assert_eq!(headers.recv().unwrap().source(), client.local());
}

#[test]
fn a_unix_client_is_sent_as_unix() {
    let (v2, headers) = reporting_headers(Origin::plain());
    let (v1, reports) = Origin::plain().reporting();
    let directory = Directory::new();
    let place = |name: &str| ListenAddr::Unix(directory.join(name));
    let proxy = Proxy::builder()
        .endpoint("two", "tcp")
        .listen(&place("two").to_string())
        .route("forward", "", &v2)
        .on_upstream("send_proxy_protocol: v2")
        .endpoint("one", "tcp")
        .listen(&place("one").to_string())
        .route("forward", "", &v1)
        .on_upstream("send_proxy_protocol: v1")
        .start();
    let client = proxy.dial("two");
    client.must_echo(b"hello");
    let header = headers.recv().unwrap();
    assert_eq!((header.version_command, header.family), (0x21, 0x31));
    let path = directory.join("two").display().to_string();
    assert_eq!(header.paths(), [String::new(), path]);
    let client = proxy.dial("one");
    client.send(b"data");
    client.end();
    assert_eq!(reports.recv().unwrap().data, b"PROXY UNKNOWN\r\ndata");
}

/// Each attempt begins with the header.
#[test]
fn each_attempt_begins_with_the_header() {
    let (last, headers) = reporting_headers(Origin::plain());
    let (dead, _port) = crate::harness::dead_address();
    let proxy = Proxy::builder()
        .forward(&dead)
        .origins(&format!("[\"{dead}\", \"{last}\"]"))
        .on_upstream("send_proxy_protocol: v2")
        .start();
    let client = proxy.dial("forward");
    client.must_echo(b"hello");
    assert_eq!(headers.recv().unwrap().source(), client.local());
}

/// P07: a certificate too long for a header ends the connection; nothing is left out.
#[test]
fn a_fact_too_long_for_the_header_ends_the_connection() {
    let (origin, headers) = reporting_headers(Origin::plain());
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("client_auth: { mode: required, ca: client-ca.pem }")
        .on_upstream("send_proxy_protocol: { version: v2, tlvs: [ssl, client_cert] }")
        .start();
    let padded = |len: usize| {
        let padding =
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![4; len]);
        pki()
            .clients
            .issue(&Leaf::client("huge").extension(padding))
    };
    let huge = padded(65_050);
    let size = huge.chain()[0].len();
    assert!((65_380..65_500).contains(&size), "{size}");
    let client = proxy.client("a.test").certificate(&huge);
    client.refusal();
    proxy
        .outcome()
        .must_be("proxy_header_out")
        .must_have("stage", "connect")
        .must_have("fault", "proxy");
    assert_eq!(origin.accepts(), 0);
    // A large one that fits is sent whole.
    let large = padded(40_000);
    exchange(&proxy.client("a.test").certificate(&large));
    let ssl = headers.recv().unwrap().ssl().unwrap();
    assert_eq!(ssl.tlv(CLIENT_CERT).unwrap(), large.chain()[0].to_vec());
}
