//! The five modes relay data, together in one process and over every kind of socket.

use crate::harness::{Client, End, Origin, Proxy, Stream, noise, pki};

#[track_caller]
fn carries(stream: &Stream) {
    stream.must_echo(b"a short word");
    stream.must_echo(noise(300_000, 1));
    stream.end();
    assert_eq!(stream.receive_to_end(), (vec![], End::Clean));
}

#[test]
fn terminate_decrypts_and_sends_plaintext_to_the_origin() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let client = proxy.client("a.test").connect();
    carries(&client);
    let record = proxy.outcome_of(&client);
    record
        .must_be("ok")
        .must_have("mode", "terminate")
        .must_have("sni", "a.test");
    record
        .must_have("tls_version", "TLSv1.3")
        .must_have("tls_group", "X25519MLKEM768");
    assert_eq!(record["origin"], origin.to_string().as_str());
    assert_eq!(
        (record.number("bytes_up"), record.number("bytes_down")),
        (300_012, 300_012)
    );
    assert!(
        !record.has("origin_tls_version") && !record.has("fault"),
        "{record:?}"
    );
}

#[test]
fn reencrypt_decrypts_and_encrypts_again() {
    let origin = Origin::with_tls().echo();
    let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
    let client = proxy.client("a.test").connect();
    carries(&client);
    let record = proxy.outcome_of(&client);
    record
        .must_be("ok")
        .must_have("mode", "reencrypt")
        .must_have("origin_tls_version", "TLSv1.3");
    assert_eq!(record["origin_tls_resumed"], false);
    assert_eq!(
        (record.number("bytes_up"), record.number("bytes_down")),
        (300_012, 300_012)
    );
}

#[test]
fn passthrough_leaves_tls_unchanged() {
    let identity = pki().origin(&["a.test"]);
    let origin = Origin::tls(&identity).echo();
    let proxy = Proxy::builder().passthrough("a.test", &origin).start();
    let client = proxy.client("a.test").connect();
    assert_eq!(
        client.peer_certificate(),
        Some(identity.chain()[0].to_vec())
    );
    carries(&client);
    let record = proxy.outcome_of(&client);
    record
        .must_be("ok")
        .must_have("mode", "passthrough")
        .must_have("sni", "a.test");
    assert!(
        !record.has("tls_version") && !record.has("origin_tls_version"),
        "{record:?}"
    );
    assert!(
        record.number("bytes_up") > 300_012,
        "ciphertext is counted, hello included: {record:?}"
    );
}

#[test]
fn forward_is_plain_on_both_sides() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).start();
    let client = proxy.dial("forward");
    carries(&client);
    let record = proxy.outcome_of(&client);
    record
        .must_be("ok")
        .must_have("mode", "forward")
        .must_have("endpoint", "forward");
    assert!(
        !record.has("sni") && !record.has("tls_version"),
        "{record:?}"
    );
}

#[test]
fn originate_encrypts_a_plain_stream() {
    let origin = Origin::with_tls().echo();
    let proxy = Proxy::builder().originate(&origin).start();
    let client = proxy.dial("originate");
    carries(&client);
    let record = proxy.outcome_of(&client);
    record
        .must_be("ok")
        .must_have("mode", "originate")
        .must_have("origin_tls_version", "TLSv1.3");
}

#[test]
fn every_tls_mode_works_on_one_port_by_server_name() {
    let plain = Origin::echo();
    let tls_origin = Origin::with_tls().echo();
    let passed = Origin::tls(&pki().origin(&["c.test"])).echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &plain)
        .reencrypt("b.test", &tls_origin)
        .passthrough("c.test", &passed)
        .start();
    for (sni, mode) in [
        ("a.test", "terminate"),
        ("b.test", "reencrypt"),
        ("c.test", "passthrough"),
    ] {
        let client = proxy.client(sni).connect();
        carries(&client);
        let record = proxy.outcome_of(&client);
        record
            .must_be("ok")
            .must_have("mode", mode)
            .must_have("route", sni);
    }
    assert_eq!(
        (plain.accepts(), tls_origin.accepts(), passed.accepts()),
        (1, 1, 1)
    );
}

#[test]
fn tls_12_works_towards_clients_and_origins() {
    let origin = Origin::with_tls().tls12().echo();
    let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
    let client = proxy.client("a.test").tls12().connect();
    carries(&client);
    let record = proxy.outcome_of(&client);
    record
        .must_be("ok")
        .must_have("tls_version", "TLSv1.2")
        .must_have("origin_tls_version", "TLSv1.2");
    record.must_have("tls_cipher", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
}

#[test]
fn tls_versions_can_be_limited() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("min_version: 1.3")
        .start();
    const PROTOCOL_VERSION: u8 = 70;
    assert_eq!(
        proxy.client("a.test").tls12().refusal(),
        End::Alert(PROTOCOL_VERSION)
    );
    proxy
        .outcome()
        .must_be("no_common_version")
        .must_have("stage", "client_tls");
    carries(&proxy.client("a.test").tls13().connect());
    proxy.outcome().must_be("ok");

    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("max_version: 1.2")
        .start();
    carries(&proxy.client("a.test").connect());
    proxy
        .outcome()
        .must_be("ok")
        .must_have("tls_version", "TLSv1.2");
}

#[test]
fn an_endpoint_can_be_a_unix_socket() {
    let origin = Origin::echo();
    let draft = Proxy::builder().terminate("a.test", &origin);
    let path = draft.path("edge.sock");
    let proxy = draft.listen(&format!("unix:{path}")).start();
    let client = proxy.client("a.test").connect();
    carries(&client);
    let record = proxy.outcome();
    record.must_be("ok");
    let user = rustix::process::geteuid().as_raw();
    record.must_have("client", &format!("unix:uid={user}"));
}

#[test]
fn the_file_of_a_unix_endpoint_is_removed_at_the_end_and_replaced_when_stale() {
    let origin = Origin::echo();
    let draft = Proxy::builder().forward(&origin);
    let path = draft.path("edge.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listen = format!("{{ unix: \"{path}\", permissions: \"0640\" }}");
    let mut proxy = draft.listen(&listen).start();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o777, 0o640);
    carries(&proxy.dial("forward"));
    proxy.signal(rustix::process::Signal::TERM);
    assert_eq!(proxy.exit_code(), 0);
    assert!(!std::path::Path::new(&path).exists());
}

#[test]
fn an_origin_can_be_a_unix_socket() {
    let draft = Proxy::builder();
    let path = draft.path("origin.sock");
    let origin = Origin::plain().at(path.as_ref()).echo();
    let proxy = draft.terminate("a.test", &origin).start();
    let client = proxy.client("a.test").connect();
    carries(&client);
    let record = proxy.outcome_of(&client);
    record
        .must_be("ok")
        .must_have("origin", &format!("unix:{path}"));
}

#[test]
fn one_endpoint_listens_on_every_address_of_both_families() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).listen("\"*:0\"").start();
    let port = proxy.listen_addr("forward").port();
    carries(&proxy.dial("forward"));
    if let Ok(stream) = std::net::TcpStream::connect(("::1", port)) {
        carries(&Stream::tcp(stream));
    }
    proxy.outcome().must_be("ok");
}

#[test]
fn many_clients_are_served_at_once() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let place = proxy.listen_addr("edge");
    let streams: Vec<_> = (0..64)
        .map(|_| Client::new(place, "a.test").connect())
        .collect();
    for stream in streams.iter().rev() {
        stream.must_echo(b"still here");
    }
    for stream in &streams {
        carries(stream);
    }
    assert!(
        proxy
            .outcomes(64)
            .iter()
            .all(|record| record.reason() == "ok")
    );
}
