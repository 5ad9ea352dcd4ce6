//! Sent PROXY headers: what they contain, and what they leave out.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use rcgen::CustomExtension;
use rustls::ServerConnection;

use crate::harness::proxy_header::ReceivedHeader;
use crate::harness::{
    Client, Directory, ForgedHello, Leaf, ListenAddr, NamelessSessions, Origin, OriginBuilder,
    Proxy, Stream, echo, pki, proxy_header,
};

const ALL: &str = "send_proxy_protocol: { version: v2, tlvs: [alpn, authority, ssl, unique_id, crc32c, \
                   client_cert] }";

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;
const VERSION: u8 = 0x21;
const CN: u8 = 0x22;
const CIPHER: u8 = 0x23;
const SIG_ALG: u8 = 0x24;
const KEY_ALG: u8 = 0x25;
const GROUP: u8 = 0x26;
const SIG_SCHEME: u8 = 0x27;
const CLIENT_CERT: u8 = 0x28;

const SSL_USED: u8 = 1;
const CERT_CONN: u8 = 2;
const CERT_SESS: u8 = 4;

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

/// A resumed session names its certificate, but none was sent in the connection.
#[test]
fn the_header_describes_tls_and_resumption() {
    let (origin, headers) = reporting_headers(Origin::plain());
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("alpn: [h2, http/1.1]")
        .on_tls("client_auth: { mode: required, ca: client-ca.pem }")
        .on_upstream(ALL)
        .start();
    let alice = pki().client("alice");
    for (tls13, version, cipher) in [
        (true, "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
        (false, "TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ] {
        let client = proxy
            .client("a.test")
            .certificate(&alice)
            .alpn(&["http/1.1"])
            .sessions(NamelessSessions::new());
        let client = if tls13 {
            client.tls13()
        } else {
            client.tls12()
        };
        let config = client.config();
        for resumed in [false, true] {
            let stream = client.connect_with(&config, "a.test").unwrap();
            finish(&stream);
            assert_eq!(stream.is_resumed(), resumed, "{version}");
            let header = headers.recv().unwrap();
            assert_eq!(header.kinds(), [ALPN, AUTHORITY, UNIQUE_ID, SSL, CRC32C]);
            assert_eq!(header.text(ALPN).unwrap(), "http/1.1");
            assert_eq!(header.text(AUTHORITY).unwrap(), "a.test");
            assert_eq!(header.text(UNIQUE_ID).unwrap(), proxy.outcome().text("id"));
            let ssl = header.ssl().unwrap();
            let flags = if resumed { 0 } else { CERT_CONN };
            assert_eq!(ssl.flags, SSL_USED | CERT_SESS | flags, "{version}");
            assert_eq!(ssl.verify, 0);
            assert_eq!(ssl.text(VERSION).unwrap(), version);
            assert_eq!(ssl.text(CIPHER).unwrap(), cipher);
            assert_eq!(ssl.text(CN).unwrap(), "alice");
            assert_eq!(ssl.tlv(CLIENT_CERT).unwrap(), alice.chain()[0].to_vec());
            assert_eq!(ssl.text(SIG_ALG).unwrap(), "ecdsa-with-SHA256");
            assert_eq!(ssl.text(KEY_ALG).unwrap(), "EC256");
            let scheme = (!resumed).then(|| "ecdsa_secp256r1_sha256".to_owned());
            assert_eq!(ssl.text(SIG_SCHEME), scheme);
            let group = (tls13 || !resumed).then(|| "X25519MLKEM768".to_owned());
            let group = group.map(|group| if tls13 { group } else { "x25519".to_owned() });
            assert_eq!(ssl.text(GROUP), group, "{version}");
        }
    }
}

#[test]
fn an_rsa_certificate_is_described_as_rsa() {
    let (origin, headers) = reporting_headers(Origin::plain());
    let identity = pki().edge.issue(&Leaf::server(&["a.test"]).rsa());
    let proxy = Proxy::builder()
        .route("terminate", "a.test", &origin)
        .identity(&identity)
        .on_upstream("send_proxy_protocol: { version: v2, tlvs: ssl }")
        .start();
    for (client, cipher) in [
        (proxy.client("a.test").tls13(), "TLS_AES_128_GCM_SHA256"),
        (
            proxy.client("a.test").tls12(),
            "ECDHE-RSA-AES128-GCM-SHA256",
        ),
    ] {
        exchange(&client);
        let ssl = headers.recv().unwrap().ssl().unwrap();
        assert_eq!(ssl.text(CIPHER).unwrap(), cipher);
        assert_eq!(ssl.text(KEY_ALG).unwrap(), "RSA2048");
        // The CA has an ECDSA key.
        assert_eq!(ssl.text(SIG_ALG).unwrap(), "ecdsa-with-SHA256");
        assert!(
            ssl.text(SIG_SCHEME)
                .unwrap()
                .starts_with("rsa_pss_rsae_sha")
        );
    }
}

/// The client's identity is sent only if configured, and never invented.
#[test]
fn the_ssl_tlv_alone_does_not_identify_the_client() {
    let (origin, headers) = reporting_headers(Origin::plain());
    let build = |tlvs: &str| {
        Proxy::builder()
            .terminate("a.test", &origin)
            .on_tls("client_auth: { mode: optional, ca: client-ca.pem }")
            .on_upstream(&format!(
                "send_proxy_protocol: {{ version: v2, tlvs: [{tlvs}] }}"
            ))
            .start()
    };
    let (without, with) = (build("ssl"), build("ssl, client_cert"));
    let alice = pki().client("alice");
    for client in [
        without.client("a.test").certificate(&alice),
        with.client("a.test"),
    ] {
        exchange(&client.tls13());
        let header = headers.recv().unwrap();
        assert_eq!(header.kinds(), [SSL]);
        let ssl = header.ssl().unwrap();
        assert_eq!(ssl.flags, SSL_USED);
        assert_ne!(
            ssl.verify, 0,
            "zero means that a valid certificate was sent"
        );
        assert_eq!(
            ssl.kinds(),
            [VERSION, CIPHER, SIG_ALG, KEY_ALG, GROUP, SIG_SCHEME]
        );
    }
    exchange(&with.client("a.test").certificate(&alice));
    assert_eq!(
        headers.recv().unwrap().ssl().unwrap().text(CN).unwrap(),
        "alice"
    );
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

/// In passthrough only the hello is known: the server name and the client's ALPN offer.
#[test]
fn in_passthrough_the_header_describes_only_the_hello() {
    let (origin, headers) = reporting_headers(Origin::plain());
    let proxy = Proxy::builder()
        .passthrough("a.test", &origin)
        .on_upstream(ALL)
        .start();
    for (hello, alpn) in [
        (
            ForgedHello::new(b"A.Test").alpn(&["h2", "http/1.1"]),
            Some(&b"\x00\x0c\x02h2\x08http/1.1"[..]),
        ),
        (ForgedHello::new(b"a.test"), None),
    ] {
        let hello = hello.bytes();
        let client = proxy.dial("edge");
        client.must_echo(&hello);
        client.end();
        client.receive_to_end();
        let header = headers.recv().unwrap();
        assert_eq!(header.text(AUTHORITY).unwrap(), "a.test");
        assert_eq!(header.tlv(ALPN).as_deref(), alpn);
        assert_eq!(header.ssl().map(|ssl| ssl.flags), None);
        assert_eq!(header.source(), client.local());
    }
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
