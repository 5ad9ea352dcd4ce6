//! `protocol: any`: clients with TLS and clients of other protocols on one port.

use crate::harness::proxy_header::{ReceivedHeader, proxied};
use crate::harness::{
    ConfigCheck, End, Origin, Proxy, ProxyBuilder, Stream, at_once, recorded_hello,
};

/// Waits for the client's first bytes for as long as a test may take.
const PATIENT: &str = "sniff: 60s";

/// An edge with TLS for `a.test`, and a route for the rest.
fn edge(sniff: &str, secure: &Origin, plain: &Origin) -> ProxyBuilder {
    Proxy::builder()
        .endpoint("edge", "any")
        .on_endpoint("not_tls: rest")
        .on_endpoint(sniff)
        .on_endpoint("timeouts: { hello: 60s }")
        .terminate("a.test", secure)
        .route("forward", "", plain)
        .named("rest")
}

/// An origin that says its name first, as servers of SSH and SMTP do, and then echoes.
fn greeting() -> Origin {
    Origin::plain().serve(|stream| {
        stream.send(b"SSH-2.0-test\r\n");
        crate::harness::echo(&stream);
    })
}

#[test]
fn tls_goes_to_the_routes_and_the_rest_to_not_tls() {
    let (secure, plain) = (Origin::echo(), Origin::echo());
    let proxy = edge(PATIENT, &secure, &plain).start();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let stream = proxy.client("a.test").version(version).connect();
        stream.must_echo(b"secret");
        stream.end();
        proxy
            .outcome()
            .must_be("ok")
            .must_have("route", "a.test")
            .must_have("mode", "terminate")
            .must_have("sni", "a.test");
    }
    assert_eq!((secure.accepts(), plain.accepts()), (2, 0));
    for first in [
        &b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"[..],
        b"\0",
        // A record of TLS is one of a handshake, of a version of TLS.
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x16\x02\x00",
        b"\x80\x2e\x01\x03\x01",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    ] {
        let client = proxy.dial("edge");
        client.must_echo(first);
        client.must_echo([b'x'; 100_000]);
        client.end();
        let record = proxy.outcome_of(&client);
        record
            .must_be("ok")
            .must_have("route", "rest")
            .must_have("mode", "forward");
        assert!(!record.has("sni"), "{record:?}");
        assert_eq!(record.number("bytes_up"), first.len() as u64 + 100_000);
    }
    assert_eq!(secure.accepts(), 2);
}

/// The fingerprint is that of what a client speaks, whatever else its port takes.
#[test]
fn a_client_of_tls_has_its_ja4_and_any_other_one_has_none() {
    let (secure, plain) = (Origin::echo(), Origin::echo());
    let tls = Proxy::builder().terminate("a.test", &secure).start();
    let any = edge(PATIENT, &secure, &plain)
        .passthrough("through.test", &secure)
        .start();
    let ja4_at = |proxy: &Proxy| {
        let stream = proxy.client("a.test").connect();
        stream.must_echo(b"x");
        stream.end();
        proxy.outcome().text("ja4").to_owned()
    };
    let known = ja4_at(&tls);
    assert!(known.starts_with("t13d"), "{known}");
    assert_eq!(ja4_at(&any), known);
    any.client("unknown.test").refusal();
    any.outcome()
        .must_be("unknown_sni")
        .must_have("ja4", &known);
    let client = any.dial("edge");
    client.must_echo(recorded_hello("through.test"));
    client.end();
    let record = any.outcome_of(&client);
    assert!(record.text("ja4").starts_with("t13d"), "{record:?}");
    let client = any.dial("edge");
    client.must_echo(b"GET / HTTP/1.1\r\n\r\n");
    client.end();
    let record = any.outcome_of(&client);
    assert!(record.must_be("ok").0.get("ja4").is_none(), "{record:?}");
}

/// The decision on a hello does not depend on how it was delivered, not even on the time between its first
/// bytes.
#[test]
fn a_hello_in_pieces_is_one_of_tls() {
    let (secure, plain) = (Origin::echo(), Origin::echo());
    let proxy = edge("sniff: 1ms", &secure, &plain)
        .passthrough("through.test", &secure)
        .on_endpoint("accept_proxy_protocol: { from: [127.0.0.1], timeout: 60s }")
        .start();
    let header = |port: u16| proxied(&format!("192.0.2.7:{port}"), "192.0.2.8:443", &[]);
    let from = |port: u16| format!("192.0.2.7:{port}").parse().unwrap();
    let hello = recorded_hello("through.test");
    let client = proxy.dial("edge");
    // With the header comes a byte that may begin a record: the time of a silent client does not matter then.
    client
        .write_raw(&[&header(1), &hello[..1]].concat())
        .unwrap();
    for port in 2..5 {
        let other = proxy.dial("edge");
        other.write_raw(&header(port)).unwrap();
        other.must_echo(b"other");
        other.end();
        proxy.outcome_from(from(port)).must_have("route", "rest");
    }
    client.write_raw(&hello[1..2]).unwrap();
    client.write_raw(&hello[2..]).unwrap();
    assert_eq!(client.receive(hello.len()), hello);
    client.end();
    proxy
        .outcome_from(from(1))
        .must_have("route", "through.test");
}

#[test]
fn a_client_that_waits_for_the_server_gets_its_greeting() {
    let (secure, plain) = (Origin::echo(), greeting());
    let proxy = edge("sniff: 50ms", &secure, &plain).start();
    let client = proxy.dial("edge");
    assert_eq!(client.receive(14), b"SSH-2.0-test\r\n");
    // What it says then is data, whatever it looks like.
    client.must_echo(recorded_hello("a.test"));
    client.end();
    proxy
        .outcome_of(&client)
        .must_be("ok")
        .must_have("route", "rest");
    assert_eq!(secure.accepts(), 0);
}

#[test]
fn a_client_that_ends_or_stops_early_has_its_own_reason() {
    let (secure, plain) = (Origin::echo(), Origin::echo());
    let proxy = edge(PATIENT, &secure, &plain).start();
    let client = proxy.dial("edge");
    client.fin();
    client.receive_to_end();
    proxy
        .outcome_of(&client)
        .must_be("probe_eof")
        .must_have("stage", "hello");
    assert_eq!(plain.accepts(), 0);
    // A byte that could have been the first one of a record, and no more.
    let client = proxy.dial("edge");
    client.write_raw(&[22]).unwrap();
    client.fin();
    assert_eq!(client.receive_to_end(), (vec![22], End::Clean));
    proxy
        .outcome_of(&client)
        .must_be("ok")
        .must_have("route", "rest");
    let proxy = Proxy::builder()
        .endpoint("edge", "any")
        .on_endpoint("not_tls: rest")
        .on_endpoint("timeouts: { hello: 400ms }")
        .terminate("a.test", &secure)
        .route("forward", "", &plain)
        .named("rest")
        .start();
    at_once([&[22][..], &[22, 3, 1]], |begun| {
        let client = proxy.dial("edge");
        client.write_raw(begun).unwrap();
        assert_eq!(client.receive_to_end().0, b"");
        proxy
            .outcome_of(&client)
            .must_be("hello_timeout")
            .must_have("stage", "hello");
    });
}

#[test]
fn what_begins_with_tls_and_is_none_is_refused_and_never_forwarded() {
    let (secure, plain) = (Origin::echo(), Origin::echo());
    let proxy = edge(PATIENT, &secure, &plain).start();
    let client = proxy.dial("edge");
    client.write_raw(b"\x16\x03\x01\x00\x04\x02\0\0\0").unwrap();
    client.receive_to_end();
    proxy.outcome_of(&client).must_be("hello_malformed");
    assert_eq!(proxy.client("b.test").refusal(), End::Alert(112));
    proxy.outcome().must_be("unknown_sni");
    assert_eq!(plain.accepts(), 0);
}

#[test]
fn a_client_with_neither_tls_nor_a_route_is_reset() {
    let (secure, plain) = (Origin::echo(), Origin::echo());
    let proxy = edge(PATIENT, &secure, &plain)
        .matching("source: 192.0.2.0/24")
        .start();
    let client = proxy.dial("edge");
    client.write_raw(b"hello").unwrap();
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    proxy
        .outcome_of(&client)
        .must_be("no_route")
        .must_have("stage", "route");
    assert_eq!(plain.accepts(), 0);
}

#[test]
fn limits_and_sources_hold_for_clients_without_tls() {
    let (secure, plain) = (Origin::echo(), Origin::echo());
    let proxy = edge(PATIENT, &secure, &plain)
        .on_route("limits: { connections: 1 }")
        .start();
    let first = proxy.dial("edge");
    first.must_echo(b"one");
    let second = proxy.dial("edge");
    second.write_raw(b"two").unwrap();
    assert_eq!(second.receive_to_end(), (vec![], End::Reset));
    proxy
        .outcome_of(&second)
        .must_be("limit_connections")
        .must_have("limit", "route");
    // The other routes of the port are not concerned.
    let secret = proxy.client("a.test").connect();
    secret.must_echo(b"three");
    let denied = edge(PATIENT, &secure, &plain)
        .on_route("sources: { deny: [127.0.0.0/8] }")
        .start();
    let client = denied.dial("edge");
    client.write_raw(b"four").unwrap();
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    denied.outcome_of(&client).must_be("denied_source");
}

#[test]
fn proxy_headers_come_before_the_first_byte_that_decides() {
    let secure = Origin::echo();
    let plain = Origin::plain().serve(|stream| {
        let header = ReceivedHeader::receive(&stream);
        stream.send(header.source().to_string());
        crate::harness::echo(&stream);
    });
    let proxy = edge("sniff: 50ms", &secure, &plain)
        .on_upstream("send_proxy_protocol: v2")
        .on_endpoint("accept_proxy_protocol: { from: [127.0.0.1], timeout: 60s }")
        .start();
    let header = proxied("192.0.2.7:7777", "192.0.2.8:443", &[]);
    for said in [&b"data"[..], b""] {
        let client = proxy.dial("edge");
        client.write_raw(&[&header[..], said].concat()).unwrap();
        assert_eq!(client.receive(14), b"192.0.2.7:7777");
        client.end();
        let record = proxy.outcome_from("192.0.2.7:7777".parse().unwrap());
        record.must_have("route", "rest");
        assert_eq!(client.receive_to_end().0, said);
    }
}

#[test]
fn a_reload_of_the_route_keeps_its_connections_and_metrics_name_it() {
    let (secure, plain) = (Origin::echo(), Origin::echo());
    let proxy = edge(PATIENT, &secure, &plain).admin().start();
    let client = proxy.dial("edge");
    client.must_echo(b"before");
    let text = proxy.text().replace("sniff: 60s", "sniff: 59s");
    proxy.directory().write("config.yaml", &text);
    let plan = proxy.ctl(&["reload", "--plan"]);
    plan.must_exit_with(0).must_print("edge");
    let lines = proxy.reload(&text);
    assert!(lines.join("\n").contains("\"reloaded\""), "{lines:?}");
    client.must_echo(b"after");
    client.end();
    client.receive_to_end();
    proxy.outcome_of(&client).must_be("ok");
    let labels = [("endpoint", "edge"), ("route", "rest"), ("reason", "ok")];
    let metrics = proxy.metrics_at_rest();
    assert_eq!(metrics.sum("reseal_outcomes_total", &labels), Some(1.0));
}

#[test]
fn explain_and_check_know_clients_without_tls() {
    let text = "endpoints:
  - name: edge
    listen: 127.0.0.1:0
    protocol: any
    not_tls: ssh
    routes:
      - { name: web, match: { sni: a.test }, mode: passthrough, upstream: web }
      - { name: ssh, mode: forward, upstream: ssh }
upstreams:
  web: { origins: [\"127.0.0.1:9\"] }
  ssh: { origins: [\"127.0.0.1:8\"] }
";
    let check = ConfigCheck::new(text)
        .with_file("plain", b"SSH-2.0-client\r\n", 0o644)
        .with_file("hello", recorded_hello("a.test"), 0o644);
    check.must_be_good();
    check.check(&[]).must_print("(not TLS)");
    let file = |name: &str| check.path().with_file_name(name).display().to_string();
    for arguments in [&["--not-tls"][..], &["--hello", &file("plain")]] {
        check
            .explain(arguments)
            .must_exit_with(0)
            .must_print("ssh: wins")
            .must_print("mode          forward")
            .must_print("none comes within 0.2s");
    }
    for arguments in [&["--sni", "a.test"][..], &["--hello", &file("hello")]] {
        check
            .explain(arguments)
            .must_exit_with(0)
            .must_print("web: wins")
            .must_print("ssh: is for clients without TLS");
    }
    check
        .explain(&["--sni", "b.test"])
        .must_exit_with(1)
        .must_print("unknown_sni");
    let tls = text
        .replace("    protocol: any\n    not_tls: ssh\n", "")
        .replace("      - { name: ssh, mode: forward, upstream: ssh }\n", "");
    ConfigCheck::new(&tls)
        .explain(&["--not-tls"])
        .must_exit_with(1)
        .must_print("refused: not_tls");
}

#[test]
fn what_does_not_go_with_any_protocol_is_an_error() {
    let good = "endpoints:
  - name: edge
    listen: 127.0.0.1:0
    protocol: any
    not_tls: ssh
    sniff: 300ms
    routes:
      - { name: web, match: { sni: a.test }, mode: passthrough, upstream: web }
      - { name: ssh, mode: forward, upstream: ssh }
upstreams:
  web: { origins: [\"127.0.0.1:9\"] }
  ssh: { origins: [\"127.0.0.1:8\"] }
";
    ConfigCheck::new(good).must_be_good();
    let of_tls = "    not_tls: ssh\n    sniff: 300ms\n";
    for (old, new, about, words) in [
        (
            of_tls,
            "",
            "any\n",
            &["without a route for what is not TLS", "`not_tls: ROUTE`"][..],
        ),
        (
            "not_tls: ssh",
            "not_tls: shh",
            "shh",
            &["there is no route", "did you mean `ssh`"],
        ),
        (
            "not_tls: ssh",
            "not_tls: web",
            "passthrough",
            &["speak no TLS", "use `forward`"],
        ),
        (
            "mode: forward",
            "mode: originate",
            "originate",
            &["speak no TLS"],
        ),
        (
            "name: ssh,",
            "name: ssh, match: { sni: b.test },",
            "b.test",
            &["route of `not_tls`"],
        ),
        (
            "sniff: 300ms",
            "sniff: 6s",
            "6s",
            &["above `timeouts.hello`"],
        ),
        (
            "sniff: 300ms",
            "negotiate: smtp",
            "smtp",
            &["`protocol: any`", "goes to `not_tls`"],
        ),
        (
            "sniff: 300ms",
            "default_route: ssh",
            "ssh\n    routes",
            &["the route of `not_tls`"],
        ),
        (
            "forward,",
            "forward, delay: { chunk: 1s },",
            "{ chunk",
            &["`delay` is for tests"],
        ),
    ] {
        ConfigCheck::new(&good.replace(old, new)).must_report(about, words);
    }
    let without = |key: &str| {
        good.replace("    protocol: any\n", "")
            .replace(&format!("    {key}\n"), "")
    };
    let passed = without("sniff: 300ms").replace(
        "ssh, mode: forward",
        "ssh, match: { sni: b.test }, mode: passthrough",
    );
    ConfigCheck::new(&passed).must_report(
        "ssh\n    routes",
        &["`protocol: tls`", "set `protocol: any`"],
    );
    let idle = without("not_tls: ssh")
        .replace("      - { name: ssh, mode: forward, upstream: ssh }\n", "")
        .replace("  ssh: { origins: [\"127.0.0.1:8\"] }\n", "");
    ConfigCheck::new(&idle).must_warn("300ms", &["`sniff` has no effect"]);
}

/// Clients that say nothing are waited for side by side, and hold nothing but their place.
#[test]
fn many_silent_clients_are_all_greeted() {
    let (secure, plain) = (Origin::echo(), greeting());
    let proxy = edge("sniff: 100ms", &secure, &plain).start();
    let clients: Vec<Stream> = (0..100).map(|_| proxy.dial("edge")).collect();
    for client in &clients {
        assert_eq!(client.receive(14), b"SSH-2.0-test\r\n");
    }
    for client in clients {
        client.end();
    }
    for record in proxy.outcomes(100) {
        record.must_have("route", "rest");
    }
}
