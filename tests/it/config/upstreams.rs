//! The keys of upstreams: accepted values, and errors for others.

use crate::harness::ConfigCheck;

fn upstream(mode: &str, upstream: &str) -> ConfigCheck {
    let (protocol, matches) = match mode {
        "forward" | "originate" => ("tcp", ""),
        _ => ("tls", "match: { sni: a.test }, "),
    };
    ConfigCheck::new(&format!(
        "endpoints:\n\
         \x20 - name: edge\n\
         \x20   listen: 127.0.0.1:4430\n\
         \x20   protocol: {protocol}\n\
         \x20   routes:\n\
         \x20     - {{ name: a, {matches}mode: {mode}, upstream: up }}\n\
         upstreams:\n\
         \x20 up:\n{upstream}"
    ))
}

const ORIGINS: &str = "    origins: [\"127.0.0.1:9\"]\n";

fn with(mode: &str, keys: &str) -> ConfigCheck {
    upstream(mode, &format!("{ORIGINS}    {keys}\n"))
}

#[test]
fn every_key_of_an_upstream_is_accepted() {
    upstream(
        "originate",
        "    origins:\n\
         \x20     - 10.0.0.11:8200\n\
         \x20     - { address: \"vault-2.internal:8200\", name: vault-2, weight: 2, backup: false, \
         connections: none, server_name: vault-2.internal }\n\
         \x20     - { address: \"srv:_vault._tcp.example.com\", server_name: vault.internal, connections: \
         100 }\n\
         \x20     - { address: \"unix:/run/vault.sock\", server_name: vault.internal, backup: true }\n\
         \x20   resolve: { on_gone: drain }\n\
         \x20   balance: least_connections\n\
         \x20   connect: { timeout: 3s, attempts: 3, queue: 50, queue_timeout: 5s, source_addresses: \
         [10.0.0.1, \"::1\"] }\n\
         \x20   slow_start: 30s\n\
         \x20   tls: { ca: origin-ca.pem }\n\
         \x20   health:\n\
         \x20     check: { http: { path: \"/health?a=b\", method: HEAD, host: vault.internal, expect: [200, \
         429, 470-479] } }\n\
         \x20     port: 8200\n\
         \x20     interval: 5s\n\
         \x20     timeout: 2s\n\
         \x20     rise: 2\n\
         \x20     fall: 3\n\
         \x20     on_down: close\n\
         \x20     passive: { failures: 5, within: 10s, eject: 30s, max_ejected: 50% }\n",
    )
    .must_be_good();
    for check in [
        "tcp",
        "tls",
        "{ preset: vault-active }",
        "{ preset: smtp }",
        "{ preset: ssh }",
        "{ preset: vault-any }",
        "{ http: {} }",
        "{ http: { expect_body: ok, headers: { Accept: text/plain } } }",
    ] {
        with("forward", &format!("health: {{ check: {check} }}")).must_be_good();
    }
    with("forward", "health: { passive: {} }").must_be_good();
}

#[test]
fn the_printed_form_reads_back() {
    let checked = with(
        "forward",
        "health: { check: { http: { expect: [200-204, 301], headers: { A: b } } }, passive: { max_ejected: 7% } }",
    );
    let printed = checked.check(&["--print"]);
    printed
        .must_exit_with(0)
        .must_print("200-204")
        .must_print("7%")
        .must_print("balance: round_robin");
    ConfigCheck::new(&printed.stdout).must_be_good();
}

#[test]
fn invalid_values_are_refused() {
    for (keys, about, words) in [
        ("balance: best", "best", "unknown balance"),
        ("health: { check: ping }", "ping", "unknown check"),
        (
            "health: { check: { preset: vault } }",
            "vault }",
            "unknown preset",
        ),
        (
            "health: { check: { http: { expect: [] } } }",
            "[]",
            "every check fail",
        ),
        (
            "health: { check: { http: { expect: 99 } } }",
            "99",
            "neither a status",
        ),
        (
            "health: { check: { http: { expect: 300-200 } } }",
            "300-200",
            "neither a status",
        ),
        (
            "health: { check: { http: { path: health } } }",
            "health } }",
            "not a path",
        ),
        (
            "health: { check: { http: { path: \"/a b\" } } }",
            "\"/a b\"",
            "not a path",
        ),
        (
            "health: { check: { http: { host: \"a b\" } } }",
            "\"a b\"",
            "not a host",
        ),
        (
            "health: { check: { http: { method: HEAD, expect_body: ok } } }",
            "ok }",
            "the answer to HEAD has no body",
        ),
        (
            "health: { check: { http: { headers: { host: a.test } } } }",
            "host:",
            "`host: NAME`, beside `headers`",
        ),
        (
            "health: { check: { http: { headers: { Connection: close } } } }",
            "Connection",
            "the only request of its connection",
        ),
        (
            "health: { check: { http: { headers: { Content-Length: 5 } } } }",
            "Content-Length",
            "a check has no body",
        ),
        (
            "health: { check: { http: { headers: { \"a b\": c } } } }",
            "\"a b\"",
            "a name is of letters",
        ),
        (
            "health: { check: { http: { headers: { A: b, a: c } } } }",
            "a: c",
            "is there twice",
        ),
        (
            "health: { check: { http: { headers: { A: \"b\\r\\nC: d\" } } } }",
            "\"b",
            "not the value of a header",
        ),
        (
            "health: { check: { http: { headers: [a] } } }",
            "[a]",
            "`{ NAME: VALUE }`",
        ),
        (
            "health: { check: { http: {}, preset: vault-any } }",
            "{ http",
            "exclude each other",
        ),
        (
            "health: { passive: { max_ejected: 50 } }",
            "50",
            "not a percentage",
        ),
        (
            "health: { passive: { max_ejected: 101% } }",
            "101%",
            "not a percentage",
        ),
        ("health: { interval: 0s }", "0s", "must not be zero"),
        ("slow_start: 0s", "0s", "write `none`"),
        (
            "connect: { source_addresses: [localhost] }",
            "localhost",
            "not an IP address",
        ),
    ] {
        with("forward", keys).must_report(about, &[words]);
    }
}

#[test]
fn settings_without_effect_are_warned_about() {
    for (keys, about, words) in [
        (
            "health: { interval: 1s, rise: 1 }",
            "{ interval",
            "checks nothing",
        ),
        ("health: { on_down: close }", "close", "without `check`"),
        (
            "health: { port: 8200, passive: {} }",
            "8200",
            "without `check`",
        ),
        (
            "health: { passive: { max_ejected: 0% } }",
            "0%",
            "ejects no origin",
        ),
        ("connect: { queue: 5 }", "5 }", "`connections`"),
        (
            "balance: source_hash\n    slow_start: 30s",
            "30s",
            "source_hash",
        ),
        (
            "resolve: { on_gone: drain }",
            "drain",
            "no origin has a host name",
        ),
    ] {
        with("forward", keys).must_warn(about, &[words]);
    }
    with(
        "originate",
        "tls: { ca: origin-ca.pem, crl_unknown: allow }",
    )
    .must_warn("allow", &["without `crl`"]);
    with(
        "originate",
        "tls: { ca: origin-ca.pem, resumption: { max_age: 169h } }",
    )
    .must_warn("169h", &["seven days"]);
    let weighed = "    origins: [{ address: \"127.0.0.1:9\", weight: 2 }]\n    balance: first\n";
    upstream("forward", weighed).must_warn("2 }", &["balance: first"]);
    // A queue of 0 disables waiting, which has an effect.
    let bounded = "    origins: [{ address: \"127.0.0.1:9\", connections: 2 }]\n";
    upstream(
        "forward",
        &format!("{bounded}    connect: {{ queue: 0 }}\n"),
    )
    .must_be_good();
}

#[test]
fn an_srv_origin_needs_a_server_name() {
    let origins = "    origins: [\"srv:_vault._tcp.example.com\"]\n";
    upstream("originate", origins).must_report("\"srv:", &["a service has no one host"]);
    upstream("forward", origins).must_be_good();
}

#[test]
fn one_origin_must_not_be_a_backup() {
    let origins = "    origins: [{ address: \"127.0.0.1:9\", backup: true }]\n";
    upstream("forward", origins).must_report("[{", &["all of the origins are backups"]);
}

#[test]
fn tls_of_a_plain_upstream_is_used_by_tls_checks_alone() {
    let tls = "tls: { ca: origin-ca.pem, server_name: a.test }";
    with(
        "passthrough",
        &format!("{tls}\n    health: {{ check: tls }}"),
    )
    .must_be_good();
    with(
        "forward",
        &format!("{tls}\n    health: {{ check: {{ http: {{}} }} }}"),
    )
    .must_be_good();
    with("forward", &format!("{tls}\n    health: {{ check: tcp }}"))
        .must_warn("origin-ca.pem", &["`tls` has no effect"]);
}
