//! An HTTP proxy between Reseal and its origins (CONNECT).

use crate::harness::{ConfigCheck, End, HttpProxy, Origin, Proxy, ProxyBuilder, recorded_hello};

/// An edge that seals anew, to an origin whose name only the HTTP proxy can look up.
fn reencrypting(through: &HttpProxy, more: &str) -> ProxyBuilder {
    Proxy::builder()
        .reencrypt("a.test", &"origin.invalid:8443")
        .origin_tls(&through.origin_tls(more))
}

#[test]
fn every_mode_with_tls_to_the_origin_goes_through_the_proxy() {
    let origin = Origin::with_tls().echo();
    let through = HttpProxy::new(&origin);
    let proxy = reencrypting(&through, "")
        .originate(&"origin.invalid:8443")
        .origin_tls(&through.origin_tls(""))
        .start();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let stream = proxy.client("a.test").version(version).connect();
        stream.must_echo(vec![7; 100_000]);
        stream.end();
        proxy
            .outcome()
            .must_be("ok")
            .must_have("origin", "origin.invalid:8443");
        assert_eq!(
            through.request(),
            "CONNECT origin.invalid:8443 HTTP/1.1\r\nHost: origin.invalid:8443\r\n\r\n"
        );
    }
    let plain = proxy.dial("originate");
    plain.must_echo(b"from a plain client");
    plain.end();
    proxy.outcome().must_be("ok");
    through.request();
}

#[test]
fn a_hello_that_is_passed_through_comes_after_the_tunnel() {
    let origin = Origin::echo();
    let through = HttpProxy::new(&origin);
    let proxy = Proxy::builder()
        .passthrough("a.test", &"192.0.2.1:443")
        .origin_tls(&through.origin_tls(""))
        .start();
    let (client, hello) = (proxy.dial("edge"), recorded_hello("a.test"));
    client.write_raw(&hello).unwrap();
    assert_eq!(client.receive(hello.len()), hello);
    assert!(
        through
            .request()
            .starts_with("CONNECT 192.0.2.1:443 HTTP/1.1\r\n")
    );
}

#[test]
fn the_authorization_is_that_of_the_file_and_is_renewed_alone() {
    let origin = Origin::with_tls().echo();
    let through = HttpProxy::new(&origin);
    let proxy = reencrypting(&through, ", authorization_file: proxy.auth")
        .file("proxy.auth", "Basic b25lOnNlY3JldA==\n")
        .top("process: { reload: { debounce: 50ms }, key_permissions: warn }")
        .admin()
        .start();
    let authorization = |proxy: &Proxy| {
        let stream = proxy.client("a.test").connect();
        stream.must_echo(b"x");
        stream.end();
        let request = through.request();
        let (_, value) = request.split_once("Proxy-Authorization: ").unwrap();
        value.trim_end().to_owned()
    };
    assert_eq!(authorization(&proxy), "Basic b25lOnNlY3JldA==");
    proxy.reloads(|| {
        drop(
            proxy
                .directory()
                .write("proxy.auth", "Basic dHdvOnNlY3JldA=="),
        )
    });
    assert_eq!(authorization(&proxy), "Basic dHdvOnNlY3JldA==");
    // One that could hold another field of the request keeps the old one, and is in no log.
    let bad = "Basic dGhyZWU=\r\nX-Evil: 1\n";
    let lines = proxy.reloads(|| drop(proxy.directory().write("proxy.auth", bad)));
    assert!(
        lines
            .join("\n")
            .contains("not the value of a Proxy-Authorization field"),
        "{lines:?}"
    );
    assert_eq!(authorization(&proxy), "Basic dHdvOnNlY3JldA==");
    let printed = proxy.ctl(&["config"]).text();
    for secret in ["b25lOn", "dHdvOn", "dGhyZWU"] {
        assert!(!printed.contains(secret) && !proxy.log().join("\n").contains(secret));
    }
}

#[test]
fn a_proxy_that_does_not_connect_is_told_in_the_record() {
    let origin = Origin::with_tls().echo();
    let through = HttpProxy::new(&origin);
    let proxy = reencrypting(&through, "")
        .on_upstream("connect: { attempts: 1 }")
        .start();
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(20_000));
    let long: &'static str = Box::leak(long.into_boxed_str());
    for (answer, reason, said) in [
        (
            &b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\n\r\n"[..],
            "origin_tls_refused",
            "answered CONNECT by 407 Proxy Authentication Required",
        ),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "origin_tls_refused", "by 403 Forbidden"),
        (b"HTTP/1.1 501 Not Implemented\r\n\r\n", "origin_tls_refused", "by 501"),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", "origin_unreachable", "by 500"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "origin_unreachable", "by 503"),
        (b"SSH-2.0-x\r\n", "origin_tls_refused", "did not answer CONNECT by HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nx", "origin_tls_error", "too much"),
        (b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x03\0\x01\0", "origin_tls_error", "too much"),
        (long.as_bytes(), "origin_tls_error", "16 KiB"),
    ] {
        through.answers(answer);
        assert_ne!(proxy.client("a.test").refusal(), End::Clean);
        let record = proxy.outcome();
        record.must_be(reason);
        let detail = record.text("detail");
        assert!(detail.contains(said) && detail.contains(&through.address.to_string()), "{record:?}");
        through.request();
    }
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn another_origin_is_tried_when_the_proxy_cannot_reach_one() {
    let origin = Origin::with_tls().echo();
    let through = HttpProxy::new(&origin);
    through.answers(b"HTTP/1.1 502 Bad Gateway\r\n\r\n");
    let proxy = reencrypting(&through, "")
        .origins("[\"one.invalid:1\", \"two.invalid:2\"]")
        .on_upstream("balance: first")
        .on_upstream("connect: { attempts: 2 }")
        .start();
    assert_ne!(proxy.client("a.test").refusal(), End::Clean);
    proxy
        .outcome()
        .must_be("origin_unreachable")
        .must_have("origin", "two.invalid:2");
    assert!(through.request().starts_with("CONNECT one.invalid:1 "));
    assert!(through.request().starts_with("CONNECT two.invalid:2 "));
}

#[test]
fn a_proxy_that_dribbles_or_is_silent_ends_by_the_deadline() {
    let origin = Origin::with_tls().echo();
    let through = HttpProxy::new(&origin);
    let proxy = reencrypting(&through, "")
        .on_upstream("connect: { attempts: 1, timeout: 400ms }")
        .start();
    for answer in [&b""[..], b"HTTP/1.1 2", b"HTTP/1.1 100 Continue\r\n\r\n"] {
        through.answers(answer);
        assert_ne!(proxy.client("a.test").refusal(), End::Clean);
        let record = proxy.outcome();
        record.must_be("origin_connect_timeout");
        assert!(
            record.text("detail").contains("has not answered CONNECT"),
            "{record:?}"
        );
    }
}

#[test]
fn checks_go_through_the_proxy_as_connections_do() {
    for check in ["tls", "tcp"] {
        let origin = Origin::with_tls().echo();
        let through = HttpProxy::new(&origin);
        let proxy = reencrypting(&through, "")
            .on_upstream(&format!(
                "health: {{ check: {check}, interval: 100ms, rise: 1, fall: 1 }}"
            ))
            .start();
        assert!(
            through
                .request()
                .starts_with("CONNECT origin.invalid:8443 ")
        );
        let stream = proxy.client("a.test").connect();
        stream.must_echo(b"up");
        through.answers(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
        proxy.log_line(|line| line.contains("an origin is down") && line.contains("407"));
    }
}

#[test]
fn the_proxy_header_comes_before_the_request() {
    let origin = Origin::with_tls().echo();
    let through = HttpProxy::new(&origin);
    through.answers(b"HTTP/1.1 403 Forbidden\r\n\r\n");
    let proxy = reencrypting(&through, "")
        .on_upstream("send_proxy_protocol: v1")
        .start();
    assert_ne!(proxy.client("a.test").refusal(), End::Clean);
    let request = through.request();
    let (header, connect) = request.split_once("\r\n").unwrap();
    assert!(header.starts_with("PROXY TCP4 127.0.0.1 "), "{request}");
    assert!(connect.starts_with("CONNECT "), "{request}");
}

#[test]
fn what_does_not_go_with_a_proxy_is_an_error() {
    let good = "endpoints:
  - name: edge
    listen: 127.0.0.1:0
    routes: [{ name: a, match: { sni: \"*.test\" }, mode: passthrough, upstream: u }]
upstreams:
  u:
    origins: [\"b.test:443\"]
    tls: { negotiate: { connect: { proxy: \"10.0.0.9:3128\" } } }
";
    let check = ConfigCheck::new(good);
    check.must_be_good();
    check
        .explain(&["--sni", "a.test"])
        .must_print("the HTTP proxy 10.0.0.9:3128 (CONNECT)");
    for (old, new, about, words) in [
        (
            "\"10.0.0.9:3128\"",
            "squid:3128",
            "squid",
            &["not an IP address with a port"][..],
        ),
        (
            "\"10.0.0.9:3128\"",
            "\"10.0.0.9\"",
            "\"10",
            &["not an IP address with a port"],
        ),
        ("\"10.0.0.9:3128\"", "\"10.0.0.9:0\"", "\"10", &["port 0"]),
        (
            "3128\"",
            "3128\", password: x",
            "password",
            &["authorization_file"],
        ),
        (
            "3128\"",
            "3128\", authorization_file: no.auth",
            "no.auth",
            &["cannot be read"],
        ),
        (
            "\"b.test:443\"",
            "\"unix:/run/x\"",
            "\"unix",
            &["no unix socket"],
        ),
        (
            "\"b.test:443\"",
            "{ address: \"{1}.x:1\", under: x }",
            "\"{1}",
            &["names that clients choose"],
        ),
    ] {
        ConfigCheck::new(&good.replace(old, new)).must_report(about, words);
    }
    let plain = good
        .replace("127.0.0.1:0", "127.0.0.1:0\n    protocol: tcp")
        .replace(
            "match: { sni: \"*.test\" }, mode: passthrough",
            "mode: forward",
        );
    ConfigCheck::new(&plain).must_report("u }]", &["`connect` is for TLS"]);
    let loops = good
        .replace("127.0.0.1:0", "127.0.0.1:18444")
        .replace("10.0.0.9:3128", "127.0.0.1:18444");
    ConfigCheck::new(&loops).must_report("\"127.0.0.1:18444\"", &["leads back"]);
    for bad in ["", "Basic a\nb", "Proxy-Authorization: Basic x", "\u{e4}"] {
        let text = good.replace("3128\"", "3128\", authorization_file: proxy.auth");
        ConfigCheck::new(&text)
            .with_file("proxy.auth", bad, 0o600)
            .must_report(
                "proxy.auth",
                &["not the value of a Proxy-Authorization field"],
            );
    }
    let text = good.replace("3128\"", "3128\", authorization_file: proxy.auth");
    ConfigCheck::new(&text)
        .with_file("proxy.auth", "Basic x", 0o644)
        .must_report("proxy.auth", &["every user may read this authorization"]);
}
