//! The access log as an audit trail: records at the start, at intervals and at the end under one id, with the
//! client's certificate and the fingerprint of its ClientHello.

use std::sync::mpsc::channel;

use crate::harness::{Origin, Proxy, Record, Stream, command, finish, output, pki};

/// The next record of a client, which must be of this event.
#[track_caller]
fn next(proxy: &Proxy, client: &Stream, event: &str) -> Record {
    let record = proxy.outcome_of(client);
    record.must_have("event", event);
    record
}

/// RFC 3339 in UTC with milliseconds, which sorts by time.
#[track_caller]
fn must_be_time(text: &str) {
    let form = |c: char| if c.is_ascii_digit() { '0' } else { c };
    let form: String = text.chars().map(form).collect();
    assert_eq!(form, "0000-00-00T00:00:00.000Z", "{text}");
}

#[test]
fn a_connection_that_goes_on_has_records_of_its_progress_under_its_id() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("access_log: { events: [open, close], every: 1s }")
        .terminate("a.test", &origin)
        .on_tls("client_auth: { mode: required, ca: client-ca.pem }")
        .start();
    let alice = pki().client("alice");
    let client = proxy.client("a.test").certificate(&alice).connect();
    client.must_echo(b"x");
    let open = next(&proxy, &client, "open");
    let first = next(&proxy, &client, "progress");
    client.must_echo(b"and more");
    let second = next(&proxy, &client, "progress");
    let third = next(&proxy, &client, "progress");
    client.end();
    client.receive_to_end();
    // One more may have come before the end, and none comes after it.
    let mut all = vec![open, first, second, third, proxy.outcome_of(&client)];
    while all.last().unwrap().text("event") == "progress" {
        all.push(proxy.outcome_of(&client));
    }
    all.last()
        .unwrap()
        .must_have("event", "close")
        .must_be("ok");
    for pair in all.windows(2) {
        let [before, after] = pair else {
            unreachable!()
        };
        assert_eq!(before.text("id"), after.text("id"));
        assert_eq!(before.text("time"), after.text("time"), "of the accept");
        assert!(
            before.text("at") <= after.text("at"),
            "{before:?} {after:?}"
        );
        for key in ["bytes_up", "bytes_down"] {
            assert!(
                before.number(key) <= after.number(key),
                "{before:?} {after:?}"
            );
        }
        let total = |record: &Record| record["ms"]["total"].as_f64().unwrap();
        assert!(total(before) < total(after), "{before:?} {after:?}");
    }
    for record in &all {
        must_be_time(record.text("time"));
        must_be_time(record.text("at"));
        let certificate = &record["client_cert"];
        let subject = certificate["subject"].as_str().unwrap();
        assert!(subject.contains("alice"), "{record:?}");
        assert!(
            !certificate["issuer"].as_str().unwrap().is_empty(),
            "{record:?}"
        );
        must_be_time(certificate["not_after"].as_str().unwrap());
        let is_end = record.text("event") == "close";
        assert_eq!(record.has("reason"), is_end, "{record:?}");
    }
    assert_eq!(all[3].number("bytes_up"), 9);
    // The connection is over, and so are its records.
    let other = proxy.client("a.test").certificate(&alice).connect();
    next(&proxy, &other, "open");
    next(&proxy, &other, "progress");
    let left = proxy.records_left();
    let ended = all[0].text("id");
    assert!(!left.iter().any(|line| line.contains(ended)), "{left:?}");
}

#[test]
fn every_alone_adds_progress_to_the_records_of_ends() {
    let origin = Origin::echo();
    for format in ["logfmt", "text"] {
        let proxy = Proxy::builder()
            .top(&format!("access_log: {{ every: 1s, format: {format} }}"))
            .forward(&origin)
            .start();
        let client = proxy.dial("forward");
        client.must_echo(b"x");
        crate::harness::eventually("a record of progress", || {
            proxy
                .records_left()
                .iter()
                .any(|line| line.contains(" event=progress "))
        });
        client.end();
        client.receive_to_end();
        crate::harness::eventually("the record of the end", || {
            proxy
                .records_left()
                .iter()
                .any(|line| line.contains(" event=close "))
        });
        let records = proxy.records_left();
        assert!(
            !records.iter().any(|line| line.contains("event=open")),
            "{records:?}"
        );
    }
}

#[test]
fn a_record_of_each_connection_at_its_end_has_no_event() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).start();
    let client = proxy.dial("forward");
    client.must_echo(b"x");
    client.end();
    client.receive_to_end();
    let record = proxy.outcome_of(&client);
    record.must_be("ok");
    for key in ["event", "at", "ja4"] {
        assert!(!record.has(key), "{record:?}");
    }
}

/// The fingerprint by an implementation of its own.
#[track_caller]
fn ja4_of(wire: &[u8]) -> String {
    let mut python = command("python3");
    python.args(["-c", include_str!("ja4.py")]);
    let hex: String = wire.iter().map(|byte| format!("{byte:02x}")).collect();
    let finished = finish(python, hex.as_bytes());
    finished.must_exit_with(0);
    finished.stdout.trim().to_owned()
}

/// Real clients have the fingerprint that FoxIO's description gives their ClientHello, whether Reseal passes
/// it on or answers it.
#[test]
fn ja4_of_openssl_and_curl_is_that_of_an_independent_implementation() {
    let (sender, hellos) = channel();
    let sender = std::sync::Mutex::new(sender);
    let hearing = Origin::plain().serve(move |stream| {
        // The whole hello comes at once: Reseal passes it on after it was read.
        let hello = stream.read().unwrap();
        sender.lock().unwrap().send(hello).unwrap();
    });
    let answering = Origin::echo();
    let proxy = Proxy::builder()
        .passthrough("a.test", &hearing)
        .terminate("b.test", &answering)
        .start();
    let address = proxy.listen_addr("edge").tcp();
    let resolve = |name: &str| format!("{name}:{}:127.0.0.1", address.port());
    let mut seen = Vec::new();
    for (program, options) in [
        ("openssl", &["-alpn", "h2,http/1.1"][..]),
        ("openssl", &["-tls1_2"]),
        (
            "openssl",
            &[
                "-alpn",
                "x\u{e9}",
                "-ciphersuites",
                "TLS_CHACHA20_POLY1305_SHA256",
            ],
        ),
        ("curl", &["--http2"]),
        ("curl", &["--http1.1", "--tls-max", "1.2"]),
    ] {
        let mut found = Vec::new();
        for name in ["a.test", "b.test"] {
            let (place, resolved) = (address.to_string(), resolve(name));
            let url = format!("https://{name}:{}/", address.port());
            let fixed = match program {
                "openssl" => vec!["s_client", "-connect", &place, "-servername", name],
                _ => vec!["-sk", "--max-time", "10", "--resolve", &resolved, &url],
            };
            output(program, &[&fixed, options].concat(), "");
            let record = proxy.outcome();
            record.must_have("sni", name);
            found.push(record.text("ja4").to_owned());
        }
        let hello = hellos.recv().unwrap();
        assert_eq!(found[0], ja4_of(&hello), "{program} {options:?}");
        assert_eq!(found[1], found[0], "{program} {options:?}");
        seen.push(found[0].clone());
    }
    assert!(
        seen[0].starts_with("t13d") && seen[0][8..].starts_with("h2_"),
        "{seen:?}"
    );
    assert!(
        seen[1].starts_with("t12d") && seen[1][8..].starts_with("00_"),
        "{seen:?}"
    );
    assert!(seen[2][8..].starts_with("79_"), "{seen:?}");
    assert!(seen[4][8..].starts_with("h1_"), "{seen:?}");
}
