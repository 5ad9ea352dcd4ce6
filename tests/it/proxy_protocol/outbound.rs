//! PROXY headers that go out: what an origin is told of a connection, and what it is not.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use rcgen::CustomExtension;
use rustls::ServerConnection;

use crate::harness::proxy_header::Announced;
use crate::harness::{
    Client, Directory, ForgedHello, Leaf, NamelessSessions, Origin, OriginDraft, Place, Proxy,
    Stream, echo, pki, proxy_header,
};

const ALL: &str = "send_proxy_protocol: { version: v2, tlvs: [alpn, authority, ssl, unique_id, crc32c, client_cert] }";

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

/// An origin that reads a version 2 header, tells the test what it says, and sends back what follows.
fn told(draft: OriginDraft) -> (Origin, Receiver<Announced>) {
    let (tell, announced) = channel();
    let tell = Mutex::new(tell);
    let origin = draft.serve(move |stream| {
        let said = Announced::receive(&stream);
        let _ = tell.lock().unwrap().send(said);
        echo(&stream);
    });
    (origin, announced)
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

/// The line of a version 1 header, from an origin that reports what it reads.
fn line(data: &[u8]) -> String {
    let end = data.windows(2).position(|w| w == b"\r\n").unwrap();
    String::from_utf8(data[..end].to_vec()).unwrap()
}

#[test]
fn version_1_says_who_the_client_is() {
    let (origin, reports) = Origin::plain().reporting();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_upstream("send_proxy_protocol: v1")
        .start();
    let client = proxy.client("a.test").connect();
    client.send(b"data");
    client.end();
    let report = reports.recv().unwrap();
    let (from, to) = (client.local(), proxy.place("edge").tcp());
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
    // What is not the client's does not count.
    assert_eq!(proxy.outcome().number("bytes_up"), 4);
}

#[test]
fn version_2_tells_nothing_but_addresses_unless_asked() {
    let (origin, announced) = told(Origin::plain());
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_upstream("send_proxy_protocol: v2")
        .start();
    let client = exchange(&proxy.client("a.test"));
    let said = announced.recv().unwrap();
    assert_eq!((said.version_command, said.family), (0x21, 0x11));
    assert_eq!(said.source(), client.local());
    assert_eq!(said.destination(), proxy.place("edge").tcp());
    assert!(said.kinds().is_empty());
}

#[test]
fn an_upstream_without_it_gets_none() {
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

/// A resumed session names its certificate, but none was shown in the connection.
#[test]
fn all_is_told_of_tls_and_of_resumption() {
    let (origin, announced) = told(Origin::plain());
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
            let said = announced.recv().unwrap();
            assert_eq!(said.kinds(), [ALPN, AUTHORITY, UNIQUE_ID, SSL, CRC32C]);
            assert_eq!(said.text(ALPN).unwrap(), "http/1.1");
            assert_eq!(said.text(AUTHORITY).unwrap(), "a.test");
            assert_eq!(said.text(UNIQUE_ID).unwrap(), proxy.outcome().text("id"));
            let ssl = said.ssl().unwrap();
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
fn an_rsa_certificate_is_told_as_one() {
    let (origin, announced) = told(Origin::plain());
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
        let ssl = announced.recv().unwrap().ssl().unwrap();
        assert_eq!(ssl.text(CIPHER).unwrap(), cipher);
        assert_eq!(ssl.text(KEY_ALG).unwrap(), "RSA2048");
        // The authority has an ECDSA key.
        assert_eq!(ssl.text(SIG_ALG).unwrap(), "ecdsa-with-SHA256");
        assert!(
            ssl.text(SIG_SCHEME)
                .unwrap()
                .starts_with("rsa_pss_rsae_sha")
        );
    }
}

/// Who the client is is told on request only, and never made up.
#[test]
fn ssl_alone_tells_nothing_of_the_client() {
    let (origin, announced) = told(Origin::plain());
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
        let said = announced.recv().unwrap();
        assert_eq!(said.kinds(), [SSL]);
        let ssl = said.ssl().unwrap();
        assert_eq!(ssl.flags, SSL_USED);
        assert_ne!(ssl.verify, 0, "zero says that a good certificate was shown");
        assert_eq!(
            ssl.kinds(),
            [VERSION, CIPHER, SIG_ALG, KEY_ALG, GROUP, SIG_SCHEME]
        );
    }
    exchange(&with.client("a.test").certificate(&alice));
    assert_eq!(
        announced.recv().unwrap().ssl().unwrap().text(CN).unwrap(),
        "alice"
    );
}

/// The header is the first that an origin gets, its TLS comes behind it.
#[test]
fn the_header_comes_before_the_origins_tls() {
    let (tell, announced) = channel();
    let tell = Mutex::new(tell);
    let sealed = Origin::plain().serve(move |stream| {
        let said = Announced::receive(&stream);
        tell.lock().unwrap().send(said).unwrap();
        let config = Arc::new(pki().server_config(&pki().origin(&["origin.test"])));
        let conn = ServerConnection::new(config).unwrap();
        echo(&stream.handshake(conn.into()).unwrap());
    });
    let proxy = Proxy::builder()
        .reencrypt("a.test", &sealed)
        .on_upstream(ALL)
        .originate(&sealed)
        .on_upstream(ALL)
        .start();
    let client = exchange(&proxy.client("a.test"));
    let said = announced.recv().unwrap();
    assert_eq!(said.source(), client.local());
    assert_eq!(said.kinds(), [AUTHORITY, UNIQUE_ID, SSL, CRC32C]);
    proxy
        .outcome()
        .must_be("ok")
        .must_have("origin_tls_version", "TLSv1.3");

    let client = proxy.dial("originate");
    client.must_echo(b"hello");
    client.end();
    client.receive_to_end();
    let said = announced.recv().unwrap();
    assert_eq!(said.source(), client.local());
    assert_eq!(said.kinds(), [UNIQUE_ID, CRC32C]);
}

/// Of a stream that is not opened, only the hello is known: the name, and what the client offers.
#[test]
fn a_passthrough_tells_the_hello_and_no_more() {
    let (origin, announced) = told(Origin::plain());
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
        let said = announced.recv().unwrap();
        assert_eq!(said.text(AUTHORITY).unwrap(), "a.test");
        assert_eq!(said.tlv(ALPN).as_deref(), alpn);
        assert_eq!(said.ssl().map(|ssl| ssl.flags), None);
        assert_eq!(said.source(), client.local());
    }
}

/// Through two proxies in a row the first client stays the client.
#[test]
fn the_client_of_a_header_is_announced_to_the_origin() {
    let (origin, announced) = told(Origin::plain());
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_endpoint("accept_proxy_protocol: { from: [127.0.0.1] }")
        .on_upstream("send_proxy_protocol: { version: v2, tlvs: [crc32c] }")
        .start();
    for (source, destination, family) in [
        ("192.0.2.7:7777", "198.51.100.9:443", 0x11),
        ("[2001:db8::7]:7777", "[2001:db8::9]:443", 0x21),
        // Canonical on one side alone: one family has to hold both.
        ("[::ffff:192.0.2.7]:7777", "[2001:db8::9]:443", 0x21),
    ] {
        let client = proxy.dial("forward");
        client
            .write_raw(&proxy_header::proxied(source, destination, &[]))
            .unwrap();
        client.must_echo(b"hello");
        client.end();
        client.receive_to_end();
        let said = announced.recv().unwrap();
        assert_eq!(said.family, family);
        assert_eq!(said.source(), source.parse().unwrap());
        assert_eq!(said.destination(), destination.parse().unwrap());
    }
    // A peer that speaks for itself is the client.
    let client = proxy.dial("forward");
    client.write_raw(b"PROXY UNKNOWN\r\n").unwrap();
    client.must_echo(b"hello");
    assert_eq!(announced.recv().unwrap().source(), client.local());
}

#[test]
fn a_unix_client_is_announced_as_one() {
    let (v2, announced) = told(Origin::plain());
    let (v1, reports) = Origin::plain().reporting();
    let directory = Directory::new();
    let place = |name: &str| Place::Unix(directory.join(name));
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
    let said = announced.recv().unwrap();
    assert_eq!((said.version_command, said.family), (0x21, 0x31));
    let path = directory.join("two").display().to_string();
    assert_eq!(said.paths(), [String::new(), path]);
    let client = proxy.dial("one");
    client.send(b"data");
    client.end();
    assert_eq!(reports.recv().unwrap().data, b"PROXY UNKNOWN\r\ndata");
}

/// Each attempt begins with the header.
#[test]
fn the_next_origin_gets_it_as_well() {
    let (last, announced) = told(Origin::plain());
    let (dead, _port) = crate::harness::dead_address();
    let proxy = Proxy::builder()
        .forward(&dead)
        .origins(&format!("[\"{dead}\", \"{last}\"]"))
        .on_upstream("send_proxy_protocol: v2")
        .start();
    let client = proxy.dial("forward");
    client.must_echo(b"hello");
    assert_eq!(announced.recv().unwrap().source(), client.local());
}

/// P07: a certificate that no header has room for ends the connection; nothing is left out.
#[test]
fn what_cannot_be_told_ends_the_connection() {
    let (origin, announced) = told(Origin::plain());
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
    // A large one is told whole.
    let large = padded(40_000);
    exchange(&proxy.client("a.test").certificate(&large));
    let ssl = announced.recv().unwrap().ssl().unwrap();
    assert_eq!(ssl.tlv(CLIENT_CERT).unwrap(), large.chain()[0].to_vec());
}
