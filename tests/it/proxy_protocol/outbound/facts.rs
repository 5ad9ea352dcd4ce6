//! The facts about TLS in the header.

use super::{
    ALL, ALPN, AUTHORITY, CLIENT_CERT, CRC32C, SSL, UNIQUE_ID, exchange, finish, reporting_headers,
};
use crate::harness::{ForgedHello, Leaf, NamelessSessions, Origin, Proxy, pki};

const VERSION: u8 = 0x21;

const CN: u8 = 0x22;

const CIPHER: u8 = 0x23;

const SIG_ALG: u8 = 0x24;

const KEY_ALG: u8 = 0x25;

const GROUP: u8 = 0x26;

const SIG_SCHEME: u8 = 0x27;

const SSL_USED: u8 = 1;

const CERT_CONN: u8 = 2;

const CERT_SESS: u8 = 4;

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
