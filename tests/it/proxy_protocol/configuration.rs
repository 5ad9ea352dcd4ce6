//! The configuration keys for PROXY headers.

use crate::harness::ConfigCheck;

/// A file with these keys on its endpoint and on its upstream.
fn file(endpoint: &str, upstream: &str) -> ConfigCheck {
    ConfigCheck::new(&format!(
        "endpoints:\n\
         \x20 - name: edge\n\
         \x20   listen: [127.0.0.1:0, \"unix:edge.sock\"]\n\
         \x20   {endpoint}\n\
         \x20   tls: {{ certificates: [{{ cert: good.pem, key: good.key }}] }}\n\
         \x20   routes:\n\
         \x20     - {{ name: a, match: {{ sni: a.test }}, mode: terminate, upstream: up }}\n\
         upstreams:\n\
         \x20 up:\n\
         \x20   origins: [\"127.0.0.1:9\"]\n\
         \x20   {upstream}\n"
    ))
}

#[test]
fn every_form_of_the_keys_is_accepted() {
    for from in ["10.0.0.0/8", "[10.0.0.0/8, 192.0.2.1, \"2001:db8::/32\"]"] {
        let accept = format!("accept_proxy_protocol: {{ from: {from}, timeout: 500ms }}");
        file(&accept, "").must_be_good();
    }
    for send in [
        "off",
        "false",
        "v1",
        "v2",
        "{ version: v1 }",
        "{ version: v2, tlvs: ssl }",
        "{ version: v2, tlvs: [alpn, authority, ssl, unique_id, crc32c, client_cert] }",
    ] {
        file("", &format!("send_proxy_protocol: {send}")).must_be_good();
    }
}

#[test]
fn an_empty_list_of_peers_is_refused() {
    file("accept_proxy_protocol: {}", "").must_report("{}", &["missing key `from`"]);
    file("accept_proxy_protocol: { from: [] }", "")
        .must_report("[] }", &["an empty list", "load balancers"]);
    file("accept_proxy_protocol: { from: lb.test }", "").must_report("lb.test", &["lb.test"]);
}

#[test]
fn settings_that_no_header_can_carry_are_refused() {
    for (value, about, words) in [
        (
            "{ version: v1, tlvs: [alpn] }",
            "alpn",
            "only version 2 of a PROXY header has TLVs",
        ),
        (
            "{ version: v2, tlvs: [client_cert] }",
            "[client_cert]",
            "`client_cert` is a part of `ssl`",
        ),
        ("{ version: v2, tlvs: [sni] }", "sni]", "unknown TLV"),
        ("v3", "v3", "unknown version"),
        ("{ tlvs: [alpn] }", "{ tlvs", "missing key `version`"),
    ] {
        file("", &format!("send_proxy_protocol: {value}")).must_report(about, &[words]);
    }
}

#[test]
fn a_list_of_peers_without_tcp_listeners_is_a_warning() {
    let text = "\
endpoints:
  - name: edge
    listen: unix:edge.sock
    protocol: tcp
    accept_proxy_protocol: { from: 10.0.0.0/8 }
    routes: [{ name: a, mode: forward, upstream: up }]
upstreams:
  up: { origins: [\"127.0.0.1:9\"] }
";
    ConfigCheck::new(text).must_warn("{ from", &["has no effect", "unix"]);
}
