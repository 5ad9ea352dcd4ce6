//! The access log: formats, the open record, and hostile bytes from the wire.

use rustix::process::Signal;

use crate::harness::{End, ForgedHello, Origin, Proxy, Stream, eventually, extension};

#[track_caller]
fn one_exchange(proxy: &Proxy) {
    let client = proxy.client("a.test").connect();
    client.must_echo(b"x");
    client.end();
    assert_eq!(client.receive_to_end(), (vec![], End::Clean));
}

/// The first line of the access log that contains `what`.
fn line_with(proxy: &Proxy, what: &str) -> String {
    let mut found = None;
    crate::harness::eventually(what, || {
        found = proxy
            .records_left()
            .into_iter()
            .find(|line| line.contains(what));
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn json_records_have_all_fields() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    one_exchange(&proxy);
    let record = proxy.outcome();
    for key in [
        "time",
        "id",
        "endpoint",
        "client",
        "local",
        "sni",
        "tls_version",
        "tls_cipher",
        "tls_group",
        "route",
        "mode",
        "upstream",
        "origin",
        "origin_local",
        "stage",
        "reason",
    ] {
        assert!(!record.text(key).is_empty(), "{key} in {record:?}");
    }
    assert_eq!(
        record["local"],
        proxy.listen_addr("edge").to_string().as_str()
    );
    assert_eq!(record["tls_resumed"], false);
    for stage in ["hello", "route", "client_tls", "connect", "relay", "total"] {
        assert!(record["ms"][stage].is_number(), "{stage} in {record:?}");
    }
    assert_eq!(record.text("id").len(), 16);
    let text = Proxy::builder()
        .top("access_log: { format: text }")
        .terminate("a.test", &origin)
        .on_route("client_auth: { mode: required, ca: client-ca.pem }")
        .start();
    let client = text
        .client("a.test")
        .certificate(&crate::harness::pki().client("alice"));
    let stream = client.connect();
    stream.must_echo(b"x");
    stream.end();
    let line = line_with(&text, "reason=ok");
    assert!(
        line.contains(" id=") && line.contains(" client=127.0.0.1:"),
        "{line}"
    );
    assert!(
        line.contains(" client_cert=") && line.contains("alice"),
        "{line}"
    );
    one_exchange(&proxy);
    assert_ne!(proxy.outcome().text("id"), record.text("id"));
}

#[test]
fn logfmt_and_text_records_agree() {
    let origin = Origin::echo();
    for format in ["logfmt", "text"] {
        let proxy = Proxy::builder()
            .terminate("a.test", &origin)
            .top(&format!("access_log: {{ format: {format} }}"))
            .start();
        one_exchange(&proxy);
        let line = line_with(&proxy, "reason=ok");
        for pair in [
            "endpoint=edge",
            "sni=a.test",
            "route=a.test",
            "mode=terminate",
            "stage=relay",
        ] {
            assert!(line.split(' ').any(|word| word == pair), "{pair} in {line}");
        }
    }
}

#[test]
fn an_open_record_is_written_if_configured() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .top("access_log: { events: [open, close] }")
        .start();
    let client = proxy.client("a.test").connect();
    client.must_echo(b"x");
    let open = proxy.outcome_of(&client);
    open.must_have("event", "open").must_have("route", "a.test");
    assert!(!open.has("reason"), "{open:?}");
    client.end();
    client.receive_to_end();
    let close = proxy.outcome_of(&client);
    close.must_have("event", "close").must_be("ok");
    assert_eq!(open.text("id"), close.text("id"));
}

#[test]
fn promise_10_a_hostile_protocol_name_cannot_shape_a_record() {
    let origin = Origin::echo();
    for format in ["json", "logfmt", "text"] {
        let proxy = Proxy::builder()
            .passthrough("a.test", &origin)
            .top(&format!("access_log: {{ format: {format} }}"))
            .start();
        // A name that would end the line, forge a second one, and colour a terminal.
        let hostile = "a\"\n{\"reason\":\"ok\"}\r\x1b[31m\u{202e}.test";
        let hello = ForgedHello::new(hostile.as_bytes())
            .with(extension::ALPN, vec![0, 4, 3, b'\n', b'"', 0x1b]);
        let client = proxy.dial("edge");
        client.write_raw(&hello.bytes()).unwrap();
        client.receive_to_end();
        let line = line_with(&proxy, "hello_malformed");
        let clean = |c: char| !c.is_control() && c != '\u{202e}';
        assert!(line.chars().all(clean), "{line:?}");
        assert_eq!(proxy.records_left().len(), 1, "one line per connection");
    }
}

#[test]
fn promise_10_a_hostile_certificate_cannot_shape_a_record() {
    use crate::harness::{Leaf, pki};
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("client_auth: { mode: required, ca: client-ca.pem }")
        .start();
    let name = format!("eve\n\u{1b}[2J\"}}{}", "x".repeat(4000));
    let hostile = pki()
        .stranger
        .issue(&Leaf::client("eve").common_name(&name));
    proxy.client("a.test").certificate(&hostile).refusal();
    let line = line_with(&proxy, "client_cert_unknown_ca");
    assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    assert!(line.len() < 4000, "{} bytes", line.len());
    assert!(
        serde_json::from_str::<serde_json::Value>(&line).is_ok(),
        "{line}"
    );
}

#[test]
fn promise_9_every_connection_ends_in_exactly_one_record() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .passthrough("b.test", &origin)
        .start();
    let documented: Vec<_> = reseal::internals::Reason::ALL
        .iter()
        .map(|reason| reason.code())
        .collect();
    let mut ids = std::collections::HashSet::new();
    let mut connections = 0;
    for round in 0..30 {
        match round % 6 {
            0 => one_exchange(&proxy),
            1 => drop(proxy.dial("edge")),
            2 => drop(proxy.client("unknown.test").refusal()),
            3 => proxy
                .dial("edge")
                .write_raw(b"GET / HTTP/1.1\r\n\r\n")
                .unwrap(),
            4 => proxy.client("a.test").connect().reset(),
            _ => {
                let client = proxy.dial("edge");
                client.must_echo(ForgedHello::new(b"b.test").bytes());
            }
        }
        connections += 1;
    }
    for record in proxy.outcomes(connections) {
        assert!(documented.contains(&record.reason()), "{record:?}");
        assert!(
            ids.insert(record.text("id").to_owned()),
            "two records of {}",
            record.text("id")
        );
    }
    assert!(
        proxy.records_left().is_empty(),
        "{:?}",
        proxy.records_left()
    );
}

/// A load balancer's checks connect and close, by a FIN or a reset; other clients connect and stay silent.
#[test]
fn records_of_connections_without_a_byte_can_be_left_out() {
    let fin = |probe: Stream| {
        probe.end();
        probe.receive_to_end();
    };
    type Probe = fn(Stream);
    let kinds: [(&str, &str, Probe); 3] = [
        ("probe_eof", "5s", fin),
        ("client_reset", "5s", |probe| probe.reset()),
        ("hello_timeout", "50ms", |probe| {
            drop(probe.receive_to_end())
        }),
    ];
    for (sample, records) in [("1/1", 6), ("1/3", 2), ("off", 0)] {
        for (reason, limit, probe) in kinds {
            let origin = Origin::echo();
            let mut proxy = Proxy::builder()
                .top(&format!("access_log: {{ sample_probes: {sample} }}"))
                .terminate("a.test", &origin)
                .on_endpoint(&format!("timeouts: {{ hello: {limit} }}"))
                .admin()
                .start();
            for n in 1..=6_u32 {
                probe(proxy.dial("edge"));
                eventually("all are counted", || {
                    let probes = [("reason", reason), ("stage", "hello")];
                    let counted = proxy.metrics().sum("reseal_outcomes_total", &probes);
                    counted == Some(f64::from(n))
                });
            }
            proxy.signal(Signal::TERM);
            assert_eq!(proxy.exit_code(), 0);
            let left = proxy.all_records();
            let probes = left.iter().filter(|record| record.reason() == reason);
            assert_eq!(probes.count(), records, "{sample}: {left:?}");
        }
    }
}

/// The beginning of a hello is something to look at.
#[test]
fn a_connection_with_a_byte_is_not_left_out_with_those_that_have_none() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("access_log: { sample_probes: off }")
        .terminate("a.test", &origin)
        .start();
    let client = proxy.dial("edge");
    client.write_raw(b"\x16\x03\x01").unwrap();
    client.fin();
    proxy.outcome_of(&client).must_be("client_closed");
}
