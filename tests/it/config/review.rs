//! Configurations with surprising effects: client auth that clients can avoid, settings without effect, and
//! addresses that differ only in spelling.

mod avoidable_auth;
mod certs;

use std::fs;
use std::path::Path;

use crate::harness::{ConfigCheck, output, pki};

const GOOD: &str = "{ cert: good.pem, key: good.key }";

const UPSTREAM: &str = "  up: { origins: [\"127.0.0.1:9\"] }\n";

/// An endpoint with these keys in `tls`, these routes, and these upstreams.
fn file(tls: &str, routes: &[&str], upstreams: &str) -> ConfigCheck {
    let routes: String = routes
        .iter()
        .map(|route| format!("      - {{ {route} }}\n"))
        .collect();
    ConfigCheck::new(&format!(
        "endpoints:\n\
         \x20 - name: edge\n\
         \x20   listen: 127.0.0.1:4430\n\
         \x20   tls: {{ certificates: [{GOOD}]{tls} }}\n\
         \x20   routes:\n{routes}\
         upstreams:\n{upstreams}"
    ))
}

/// The keys about TLS towards origins, which have no effect without TLS.
const ORIGIN_TLS: [&str; 7] = [
    "ca: origin-ca.pem",
    "server_name: origin.test",
    "min_version: 1.3",
    "sni: client",
    "alpn: none",
    "verify: danger-none",
    "client_certificate: { cert: good.pem, key: good.key }",
];

/// A file whose only upstream is used by a route of this mode.
fn upstream_of(mode: &str, upstream: &str) -> ConfigCheck {
    let upstream = format!("  up: {{ {upstream} }}\n");
    if matches!(mode, "forward" | "originate") {
        return ConfigCheck::new(&format!(
            "endpoints:\n\
             \x20 - {{ name: e, listen: 127.0.0.1:4430, protocol: tcp, routes: [{{ name: r, mode: {mode}, \
             upstream: up }}] }}\n\
             upstreams:\n{upstream}"
        ));
    }
    let route = format!("name: a, mode: {mode}, upstream: up, match: {{ sni: a.test }}");
    if mode == "passthrough" {
        return ConfigCheck::new(&format!(
            "endpoints:\n\
             \x20 - {{ name: e, listen: 127.0.0.1:4430, routes: [{{ {route} }}] }}\n\
             upstreams:\n{upstream}"
        ));
    }
    file("", &[&route], &upstream)
}

#[test]
fn unused_tls_policy_is_warned_about() {
    for mode in ["terminate", "passthrough", "forward"] {
        upstream_of(mode, "origins: [\"127.0.0.1:9\"]").must_be_good();
        for policy in ORIGIN_TLS {
            let block = format!("origins: [\"127.0.0.1:9\"], tls: {{ {policy} }}");
            let value = policy.split_once(": ").unwrap().1;
            upstream_of(mode, &block).must_warn(
                &format!("{value} }}"),
                &["`tls` has no effect: no route to this upstream speaks TLS"],
            );
        }
        upstream_of(
            mode,
            "origins: [{ address: \"127.0.0.1:9\", server_name: own.test }]",
        )
        .must_warn("own.test", &["`server_name` has no effect"]);
    }
}

#[test]
fn used_tls_policy_is_not_warned_about() {
    for mode in ["reencrypt", "originate"] {
        for policy in ["ca: origin-ca.pem", "min_version: 1.3", "alpn: none"] {
            upstream_of(
                mode,
                &format!("origins: [\"up.test:9\"], tls: {{ {policy} }}"),
            )
            .must_be_good();
        }
        upstream_of(
            mode,
            "origins: [{ address: \"127.0.0.1:9\", server_name: own.test }]",
        )
        .must_be_good();
    }
}

#[test]
fn unverified_origins_are_warned_about_even_with_a_ca() {
    let with = |more: &str| {
        upstream_of(
            "reencrypt",
            &format!("origins: [\"127.0.0.1:9\"], tls: {{ verify: danger-none{more} }}"),
        )
    };
    with("").must_warn("danger-none", &["give the origins' CA in `ca`"]);
    let checked = with(", ca: origin-ca.pem");
    checked.must_warn("danger-none", &["`ca` is ignored"]);
    let printed = checked.check(&[]).text();
    assert!(!printed.contains("give the origins' CA"), "{printed}");
    // With a pinned key the origin is verified.
    let pin = format!("spki_sha256: {}", "ab".repeat(32));
    with(&format!(", {pin}")).must_be_good();
    let checked = with(&format!(", ca: origin-ca.pem, {pin}"));
    let printed = checked.check(&["--strict"]);
    printed.must_exit_with(1);
    printed.must_print("warning: `ca` has no effect with `verify: danger-none`");
}

#[test]
fn server_name_of_an_origin_conflicts_with_sni_client() {
    let with = |sni: &str, origin: &str| {
        upstream_of(
            "reencrypt",
            &format!("origins: [{origin}], tls: {{ ca: origin-ca.pem{sni} }}"),
        )
    };
    let own = "{ address: \"127.0.0.1:9\", server_name: own.test }";
    with(", sni: client", own).must_report(
        "own.test",
        &[
            "does not go with `sni: client`",
            "under the upstream's `tls`",
        ],
    );
    with("", own).must_be_good();
    with(", sni: client, server_name: own.test", "\"127.0.0.1:9\"").must_be_good();
    with(
        ", sni: client, server_name: \"10.0.0.1\"",
        "\"127.0.0.1:9\"",
    )
    .must_be_good();
}

#[test]
fn keepalive_is_within_the_range_of_the_kernel() {
    let with = |endpoint: &str, upstream: &str| {
        ConfigCheck::new(&format!(
            "endpoints:\n\
             \x20 - name: e\n\
             \x20   listen: 127.0.0.1:4430\n\
             \x20   protocol: tcp\n\
             \x20   tcp: {{ keepalive: {endpoint} }}\n\
             \x20   routes: [{{ name: r, mode: forward, upstream: up }}]\n\
             upstreams: {{ up: {{ origins: [\"127.0.0.1:9\"], tcp: {{ keepalive: {upstream} }} }} }}\n"
        ))
    };
    for bad in ["12h", "500ms", "999ms", "10h"] {
        with(bad, "61s").must_report(bad, &["`keepalive` must be from 1s to 9h, or `none`"]);
        with("61s", bad).must_report(bad, &["`keepalive` must be from 1s to 9h, or `none`"]);
    }
    for good in ["1s", "9h", "none"] {
        with(good, good).must_be_good();
    }
}

/// Two endpoints on these addresses.
fn listening(first: &str, second: &str) -> ConfigCheck {
    ConfigCheck::new(&format!(
        "endpoints:\n\
         \x20 - {{ name: one, listen: {first}, protocol: tcp, routes: [{{ name: r, mode: forward, upstream: \
         up }}] }}\n\
         \x20 - {{ name: two, listen: {second}, protocol: tcp, routes: [{{ name: r, mode: forward, \
         upstream: up }}] }}\n\
         upstreams: {{ up: {{ origins: [\"10.0.0.1:9\"] }} }}\n"
    ))
}

#[test]
fn one_address_cannot_be_bound_twice_in_any_spelling() {
    for (first, second) in [
        ("\"127.0.0.1:4430\"", "\"127.0.0.1:4430\""),
        ("\"127.0.0.1:4430\"", "\"[::ffff:127.0.0.1]:4430\""),
        ("\"*:4430\"", "\"*:4430\""),
        ("\"*:4430\"", "\"0.0.0.0:4430\""),
        ("\"[::]:4430\"", "\"*:4430\""),
        ("\"*:4430\"", "[\"127.0.0.1:4431\", \"*:4430\" ]"),
        ("\"unix:/run/x.sock\"", "\"unix:/run/x.sock\" "),
        ("\"systemd:web\"", "\"systemd:web\" "),
    ] {
        let checked = listening(first, second);
        checked
            .check(&[])
            .must_exit_with(1)
            .must_print("the endpoint `one` already listens on");
        checked.run().must_exit_with(2);
    }
    let checked = listening("[\"127.0.0.1:4430\", \"127.0.0.1:4430\" ]", "\"*:4431\"");
    checked.must_report(
        "\"127.0.0.1:4430\" ]",
        &["`one` already listens on `127.0.0.1:4430`"],
    );
}

#[test]
fn disjoint_addresses_can_be_bound_together() {
    for (first, second) in [
        ("\"0.0.0.0:4430\"", "\"[::]:4430\""),
        ("\"127.0.0.1:4430\"", "\"[::1]:4430\""),
        ("\"127.0.0.1:4430\"", "\"127.0.0.2:4430\""),
        ("\"127.0.0.1:4430\"", "\"*:4431\""),
        ("\"127.0.0.1:4430\"", "\"*:4430\""),
        ("\"0.0.0.0:4430\"", "\"127.0.0.1:4430\""),
        ("\"*:4430\"", "\"[::1]:4430\""),
        ("\"*:0\"", "\"*:0\""),
        ("\"127.0.0.1:0\"", "\"0.0.0.0:0\""),
        ("\"unix:/run/x.sock\"", "\"unix:/run/y.sock\""),
        ("\"systemd:web\"", "\"systemd:more\""),
    ] {
        listening(first, second).must_be_good();
    }
}

#[test]
fn a_certificate_for_another_name_is_warned_about() {
    let with = |names: &str, sni: &str| {
        ConfigCheck::new(&format!(
            "endpoints:\n\
             \x20 - name: edge\n\
             \x20   listen: 127.0.0.1:4430\n\
             \x20   tls: {{ certificates: [{{ cert: one.pem, key: one.key, names: [{names}] }}] }}\n\
             \x20   routes: [{{ name: r, match: {{ sni: \"{sni}\" }}, mode: terminate, upstream: up }}]\n\
             upstreams: {{ up: {{ origins: [\"127.0.0.1:9\"] }} }}\n"
        ))
        .with_identity("one", &pki().edge(&["a.test", "*.wild.test"]))
    };
    with("b.test", "b.test").must_warn("one.pem", &["is not for `b.test`", "reject it"]);
    with("a.test, b.test", "a.test").must_warn("one.pem", &["is not for `b.test`"]);
    with("x.y.wild.test", "x.y.wild.test").must_warn("one.pem", &["not for `x.y.wild.test`"]);
    with("\"*.a.test\"", "*.a.test").must_warn("one.pem", &["not for `*.a.test`"]);
    for good in ["a.test", "A.test.", "x.wild.test", "*.wild.test"] {
        with(&format!("\"{good}\""), good).must_be_good();
    }
}

#[test]
fn a_route_that_matches_alpn_but_negotiates_none_is_warned_about() {
    let with = |tls: &str, mode: &str, more: &str| {
        file(
            tls,
            &[&format!(
                "name: a, mode: {mode}, upstream: up, match: {{ sni: a.test, alpn: [h2] }}{more}"
            )],
            "  up: { origins: [\"up.test:9\"] }\n",
        )
    };
    for mode in ["terminate", "reencrypt"] {
        with("", mode, "").must_warn("[h2]", &["accepts none of the protocols", "add `alpn`"]);
        with("", mode, ", alpn: [h2]").must_be_good();
        with(", alpn: [h2]", mode, "").must_be_good();
        // The endpoint's protocols would match, but the route replaces them.
        with(", alpn: [h2, http/1.1]", mode, ", alpn: []")
            .must_warn("[h2] }", &["accepts none of the protocols"]);
    }
}

#[test]
fn a_misspelt_alpn_protocol_is_warned_about() {
    let with = |tls: &str, route: &str, upstream: &str| {
        let route =
            format!("name: a, mode: reencrypt, upstream: up, match: {{ sni: a.test }}{route}");
        let upstream = format!("  up: {{ origins: [\"up.test:9\"]{upstream} }}\n");
        file(tls, &[&route], &upstream)
    };
    with(", alpn: http2", "", "").must_warn("http2", &["did you mean `h2`?"]);
    with("", ", alpn: [h2, HTTP/1.1]", "").must_warn("HTTP/1.1", &["did you mean `http/1.1`?"]);
    with("", "", ", tls: { alpn: [h2c] }").must_warn("h2c", &["did you mean `h2`?"]);
    // Private protocols are fine.
    with(", alpn: [istio, our-own/2, mqtt, postgresql]", "", "").must_be_good();
}

#[test]
fn alpn_that_origins_are_not_offered_is_warned_about() {
    let with = |alpn: &str, origin: &str| {
        file(
            "",
            &[&format!(
                "name: a, mode: reencrypt, upstream: up, match: {{ sni: a.test }}, alpn: {alpn}"
            )],
            &format!("  up: {{ origins: [\"up.test:9\"], tls: {{ alpn: {origin} }} }}\n"),
        )
    };
    with("[h2, http/1.1]", "[http/1.1]").must_warn("[http/1.1]", &["may choose h2"]);
    with("[h2, http/1.1]", "none").must_warn("none", &["may choose h2"]);
    with("[h2, http/1.1]", "[h2]").must_warn("[h2]", &["may choose http/1.1"]);
    for (alpn, origin) in [
        ("[h2, http/1.1]", "forward"),
        ("[http/1.1]", "none"),
        ("[h2]", "[h2]"),
        ("[mqtt]", "none"),
    ] {
        with(alpn, origin).must_be_good();
    }
}

#[test]
fn the_value_of_a_variable_is_not_printed_for_an_unknown_name() {
    const SECRET: &str = "correct-horse-battery-staple";
    let route = "match: { sni: a.test }, mode: terminate";
    let files = [
        format!("    routes: [{{ name: a, upstream: \"${{RESEAL_TEST_SECRET}}\", {route} }}]\n"),
        format!(
            "    routes: [{{ name: a, upstream: up, {route} }}]\n    default_route: \
             \"${{RESEAL_TEST_SECRET}}\"\n"
        ),
        format!(
            "    routes: [{{ name: a, upstream: up, {route} }}]\n    default_route: {{ route: a, \
             certificate: \"${{RESEAL_TEST_SECRET}}\" }}\n"
        ),
    ];
    for part in files {
        let checked = ConfigCheck::new(&format!(
            "endpoints:\n\
             \x20 - name: edge\n\
             \x20   listen: 127.0.0.1:4430\n\
             \x20   tls: {{ certificates: [{GOOD}] }}\n\
             {part}upstreams:\n{UPSTREAM}"
        ));
        let path = checked.path().display().to_string();
        for (command, code) in [("check", 1), ("run", 2)] {
            let finished = output(
                "env",
                &[
                    &format!("RESEAL_TEST_SECRET={SECRET}"),
                    env!("CARGO_BIN_EXE_reseal"),
                    command,
                    "--config",
                    &path,
                ],
                "",
            );
            finished
                .must_exit_with(code)
                .must_print("of this name")
                .must_print("${RESEAL_TEST_SECRET}");
            let printed = finished.text();
            assert!(
                !printed.contains(SECRET) && !printed.contains("horse"),
                "{printed}"
            );
        }
    }
}

/// The names of the files in a directory, which may be missing.
fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
