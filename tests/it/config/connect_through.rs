//! `check --connect` and `explain --connect` through an HTTP proxy.

use serde_json::Value;

use super::connect::{config, must_answer};
use crate::harness::{HttpProxy, Origin, dead_address, pki};

/// What only the HTTP proxy can look up.
const ORIGIN: &str = "origin.invalid:8443";

fn through(proxy: &HttpProxy, more: &str) -> String {
    format!("origins: [\"{ORIGIN}\"], tls: {}", proxy.origin_tls(more))
}

#[test]
fn the_proxy_is_asked_for_the_origin_in_every_mode_with_tls() {
    let origin = Origin::with_tls().alpn(&["h2"]).echo();
    let proxy = HttpProxy::new(&origin);
    let said = format!("through the HTTP proxy {}", proxy.address);
    for (mode, words) in [
        ("originate", ["TLSv1.3", "as origin.test"]),
        ("reencrypt", ["ALPN h2", "as origin.test"]),
        // TLS is the client's.
        ("passthrough", ["connected", ""]),
    ] {
        let keys = through(&proxy, ", authorization_file: proxy.auth");
        let check = config(mode, &keys).with_file("proxy.auth", "Basic dTpw", 0o600);
        must_answer(&check, &ORIGIN, &[" ok ", words[0], words[1], &said]);
        assert_eq!(
            proxy.request(),
            "CONNECT origin.invalid:8443 HTTP/1.1\r\nHost: origin.invalid:8443\r\n\
             Proxy-Authorization: Basic dTpw\r\n\r\n"
        );
    }
}

#[test]
fn what_the_proxy_answers_is_told_with_its_address() {
    let origin = Origin::with_tls().echo();
    let proxy = HttpProxy::new(&origin);
    let check = config("originate", &through(&proxy, ""));
    let who = format!("the proxy {} answered CONNECT by", proxy.address);
    for (answer, reason, status) in [
        (
            &b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..],
            " origin_tls_refused ",
            "407 Proxy Authentication Required",
        ),
        (
            b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
            " origin_unreachable ",
            "503",
        ),
    ] {
        proxy.answers(answer);
        must_answer(&check, &ORIGIN, &[reason, &who, status]);
    }
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn a_proxy_that_is_not_there_is_not_taken_for_the_origin() {
    let (dead, _port) = dead_address();
    let keys = format!(
        "origins: [\"{ORIGIN}\"], tls: {{ server_name: origin.test, negotiate: {{ connect: {{ proxy: \"{dead}\" }} }} }}"
    );
    let said = format!("the HTTP proxy {dead}: Connection refused");
    must_answer(
        &config("originate", &keys),
        &ORIGIN,
        &[" origin_refused ", &said],
    );
}

#[test]
fn the_origin_behind_the_proxy_is_verified() {
    let origin = Origin::tls(&pki().origin(&["other.test"])).echo();
    let proxy = HttpProxy::new(&origin);
    let check = config("originate", &through(&proxy, ""));
    must_answer(&check, &ORIGIN, &[" origin_tls_name ", "other.test"]);
}

#[test]
fn explain_asks_the_proxy_for_the_origin_that_would_be_taken() {
    let origin = Origin::with_tls().alpn(&["h2"]).echo();
    let proxy = HttpProxy::new(&origin);
    let keys = format!(
        "origins: [\"{ORIGIN}\", \"second.invalid:1\"], balance: first, tls: {}",
        proxy.origin_tls("")
    );
    let check = config("reencrypt", &keys);
    let explain = |more: &[&str]| {
        check.explain(&[&["--sni", "a.test", "--alpn", "h2", "--connect"], more].concat())
    };
    let said = explain(&[]);
    said.must_exit_with(0).must_print("verdict       allowed");
    said.must_print(&format!("connect       {ORIGIN} at {ORIGIN}: ok: TLSv1.3"));
    said.must_print(&format!("through the HTTP proxy {}, ", proxy.address));
    assert!(proxy.request().starts_with("CONNECT origin.invalid:8443 "));
    let json: Value = serde_json::from_str(&explain(&["--json"]).stdout).unwrap();
    assert_eq!(json["origin"]["through"], proxy.address.to_string());
    assert_eq!(json["origin"]["tls"]["alpn"], "h2");
    proxy.request();
    proxy.answers(b"HTTP/1.1 403 Forbidden\r\n\r\n");
    let refused = explain(&[]);
    refused.must_exit_with(1);
    refused.must_print("verdict       refused: origin_tls_refused");
    refused.must_print(&format!(
        "the proxy {} answered CONNECT by 403 Forbidden",
        proxy.address
    ));
    assert!(proxy.request().starts_with("CONNECT origin.invalid:8443 "));
}
