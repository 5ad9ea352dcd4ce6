//! Clients that use their freedom in RFC 8446: early data for a ticket of another server, and second
//! hellos.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, version};

use crate::harness::{
    End, ForgedHello, Identity, ListenAddr, NamelessSessions, Origin, Proxy, Stream, extension,
    output, pki,
};

const UNEXPECTED_MESSAGE: u8 = 10;
const ILLEGAL_PARAMETER: u8 = 47;
/// The most early data that any client may send, in bytes.
const ALLOWED: usize = 16 * 1024;

/// A configuration that offers a ticket of another server, one that permits early data, to any server.
fn foreign_ticket(identity: &Identity, certificate: Option<&Identity>) -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_no_client_auth();
    let mut server = builder
        .with_single_cert(identity.chain(), identity.private_key())
        .unwrap();
    server.max_early_data_size = u32::MAX;
    let client =
        crate::harness::Client::new(&ListenAddr::Unix("/nowhere".into()), "a.test").tls13();
    let client = match certificate {
        Some(identity) => client.certificate(identity),
        None => client,
    };
    let mut config = (*client.sessions(NamelessSessions::new()).config()).clone();
    config.enable_early_data = true;
    let config = Arc::new(config);
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let mut client = connection(&config);
    for _ in 0..4 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut &*wire).unwrap();
        server.process_new_packets().unwrap();
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut &*wire).unwrap();
        client.process_new_packets().unwrap();
    }
    config
}

fn connection(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), ServerName::try_from("a.test").unwrap()).unwrap()
}

/// Connects with this many bytes of early data, in records of at most `record` bytes and writes of at most
/// `segment` bytes.
fn with_early_data(
    place: &ListenAddr,
    config: &Arc<ClientConfig>,
    len: usize,
    record: usize,
    segment: usize,
) -> (std::net::SocketAddr, Result<Stream, End>) {
    let mut config = (**config).clone();
    config.max_fragment_size = Some(record + 5);
    let mut conn = connection(&Arc::new(config));
    let mut wire = Vec::new();
    while conn.wants_write() {
        conn.write_tls(&mut wire).unwrap();
    }
    let mut early = conn.early_data().expect("the ticket allows it");
    std::io::Write::write_all(&mut early, &vec![b'e'; len]).unwrap();
    while conn.wants_write() {
        conn.write_tls(&mut wire).unwrap();
    }
    let stream = Stream::dial(place).unwrap();
    let address = stream.local();
    for piece in wire.chunks(segment) {
        if stream.write_raw(piece).is_err() {
            break;
        }
    }
    (address, stream.handshake(conn.into()))
}

/// Bytes of early data, of a record, and of a segment.
const SKIPPED: [(usize, usize, usize); 9] = [
    (1, 1000, 4096),
    (5461, 16_000, 65_536),
    (5462, 16_000, 65_536),
    (ALLOWED, ALLOWED, 65_536),
    (ALLOWED, ALLOWED, 1),
    (ALLOWED, 1000, 1500),
    (ALLOWED, 60, 65_536),
    (ALLOWED, 27, 100),
    (ALLOWED, 5461, 5461),
];

#[test]
fn early_data_for_a_ticket_of_another_server_is_skipped_in_any_fragmentation() {
    let origin = Origin::echo();
    let identity = pki().edge(&["a.test"]);
    for policy in ["{ mode: off }", "{ mode: required, ca: client-ca.pem }"] {
        for groups in ["", "groups: [secp384r1]"] {
            let proxy = Proxy::builder()
                .endpoint("edge", "tls")
                .identity(&identity)
                .route("terminate", "a.test", &origin)
                .on_tls(groups)
                .on_route(&format!("client_auth: {policy}"))
                .start();
            for (len, record, segment) in SKIPPED {
                let config = foreign_ticket(&identity, Some(&pki().client("alice")));
                let what = format!("{policy} {groups} {len} {record} {segment}");
                let place = proxy.listen_addr("edge");
                let (address, done) = with_early_data(place, &config, len, record, segment);
                let client = done.unwrap_or_else(|end| panic!("{what}: {end:?}"));
                client.must_echo(b"late");
                client.end();
                assert_eq!(client.receive_to_end(), (vec![], End::Clean), "{what}");
                let record = proxy.outcome_from(address);
                record.must_be("ok");
                assert_eq!(record.number("bytes_up"), 4, "{what}");
            }
        }
    }
}

#[test]
fn more_early_data_than_is_skipped_ends_the_handshake() {
    let origin = Origin::echo();
    let identity = pki().edge(&["a.test"]);
    for groups in ["", "groups: [secp384r1]"] {
        let proxy = Proxy::builder()
            .endpoint("edge", "tls")
            .identity(&identity)
            .route("terminate", "a.test", &origin)
            .on_tls(groups)
            .start();
        for (len, record, segment) in [
            (ALLOWED + 1, ALLOWED, 65_536),
            (ALLOWED + 1, 100, 700),
            (4 * ALLOWED, 1000, 1000),
        ] {
            let config = foreign_ticket(&identity, None);
            let (address, done) =
                with_early_data(proxy.listen_addr("edge"), &config, len, record, segment);
            let end = match done {
                Ok(stream) => stream.receive_to_end().1,
                Err(end) => end,
            };
            assert!(
                matches!(end, End::Alert(UNEXPECTED_MESSAGE) | End::Reset),
                "{end:?}"
            );
            let record = proxy.outcome_from(address);
            record
                .must_be("client_tls_error")
                .must_have("stage", "client_tls");
            let detail = record.text("detail");
            assert!(detail.contains("16384 bytes of early data"), "{detail}");
        }
    }
    assert_eq!(origin.accepts(), 0);
}

/// OpenSSL omits a session from its second hello if its hash differs from that of the suite in the
/// HelloRetryRequest (RFC 8446 section 4.1.4).
#[test]
fn a_client_that_drops_its_session_on_a_retry_gets_a_full_handshake() {
    let origin = Origin::plain().serve(|stream| {
        let _ = stream.read();
        let _ = stream.try_send(b"served");
        stream.end();
    });
    let start = |suites: &str, policy: &str| {
        Proxy::builder()
            .terminate("a.test", &origin)
            .on_tls("min_version: 1.3")
            .on_tls("groups: [secp384r1]")
            .on_tls(&format!("cipher_suites: [{suites}]"))
            .on_route(&format!("client_auth: {policy}"))
            .start()
    };
    let (small, large) = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384");
    for policy in ["{ mode: off }", "{ mode: optional, ca: client-ca.pem }"] {
        for (first, then) in [(large, small), (small, large)] {
            let before = start(first, policy);
            let after = start(then, policy);
            let file = before.directory().join("session.pem").display().to_string();
            let run = |proxy: &Proxy, option: &str| {
                let place = proxy.listen_addr("edge").to_string();
                let words = [
                    "s_client",
                    "-quiet",
                    "-connect",
                    &place,
                    "-servername",
                    "a.test",
                ];
                let finished = output("openssl", &[&words[..], &[option, &file]].concat(), "run\n");
                finished.must_print("served");
                proxy.outcome()
            };
            run(&before, "-sess_out").must_be("ok");
            for _ in 0..2 {
                let record = run(&after, "-sess_in");
                record.must_be("ok");
                assert_eq!(record["tls_resumed"], false);
            }
        }
    }
}

/// A hello that the server retries with another group.
fn retried(sni: &str, alpn: &[&str]) -> ForgedHello {
    let hello = ForgedHello::new(sni.as_bytes())
        .without(extension::GROUPS)
        .with(extension::GROUPS, vec![0, 4, 0, 29, 0, 24]);
    match alpn {
        [] => hello,
        alpn => hello.alpn(alpn),
    }
}

#[test]
fn a_second_hello_with_other_contents_is_refused() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("groups: [secp384r1]")
        .on_tls("alpn: [h2, http/1.1]")
        .certificate_for(&["b.test"])
        .start();
    let first = retried("a.test", &["h2"]);
    let others = [
        retried("a.test", &["http/1.1"]),
        retried("a.test", &["h2", "http/1.1"]),
        retried("a.test", &[]),
        retried("b.test", &["h2"]),
        retried("a.testt", &["h2"]),
    ];
    for second in others {
        for (record, segment) in [(16_384, 65_536), (1, 65_536), (40, 1)] {
            for together in [false, true] {
                let stream = proxy.dial("edge");
                let mut wire = first.bytes();
                if !together {
                    stream.write_raw(&wire).unwrap();
                    let header = stream.receive(5);
                    stream.receive(usize::from(header[4]));
                    wire.clear();
                }
                wire.extend(second.in_records_of(record));
                for piece in wire.chunks(segment) {
                    stream.write_raw(piece).unwrap();
                }
                let (said, _) = stream.receive_to_end();
                assert!(
                    said.ends_with(&[21, 3, 3, 0, 2, 2, ILLEGAL_PARAMETER]),
                    "{said:?}"
                );
                let record = proxy.outcome_of(&stream);
                record
                    .must_be("client_tls_error")
                    .must_have("stage", "client_tls");
            }
        }
    }
    assert_eq!(origin.accepts(), 0);
    // A second hello with the same contents is served.
    let client = proxy.client("a.test").alpn(&["h2"]).connect();
    assert_eq!(client.alpn().as_deref(), Some("h2"));
    client.must_echo(b"x");
}

#[test]
fn a_second_hello_is_compared_with_the_first_whatever_precedes_it() {
    const WARNING: &[u8] = &[21, 3, 3, 0, 2, 1, 90];
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("groups: [secp384r1]")
        .on_tls("alpn: [h2, http/1.1]")
        .start();
    let first = retried("a.test", &["h2"]);
    let other = retried("a.test", &["http/1.1"]);
    let warned = [WARNING, &other.bytes()].concat();
    let long = other.padded_to(12_000).in_records_of(1);
    for second in [warned, long] {
        let stream = proxy.dial("edge");
        stream.write_raw(&first.bytes()).unwrap();
        let header = stream.receive(5);
        stream.receive(usize::from(header[4]));
        // It may be refused before all of it was sent.
        let _ = stream.write_raw(&second);
        stream.receive_to_end();
        let record = proxy.outcome_of(&stream);
        record
            .must_be("client_tls_error")
            .must_have("stage", "client_tls");
        let detail = record.text("detail");
        assert!(detail.contains("the second client hello"), "{detail}");
    }
    assert_eq!(origin.accepts(), 0);
}
