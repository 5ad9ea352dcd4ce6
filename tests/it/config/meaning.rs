//! Files whose values are valid but do not fit together.

mod certificates;

use crate::harness::{ConfigCheck, pki};

/// A complete file with these parts.
fn file(certificates: &str, more: &str, routes: &str, upstreams: &str) -> ConfigCheck {
    ConfigCheck::new(&format!(
        "endpoints:\n\
         \x20 - name: edge\n\
         \x20   listen: 127.0.0.1:4430\n\
         \x20   tls: {{ certificates: [{certificates}]{more} }}\n\
         \x20   routes:\n{routes}\
         upstreams:\n{upstreams}"
    ))
}

const GOOD: &str = "{ cert: good.pem, key: good.key }";

const UPSTREAM: &str = "  up: { origins: [\"127.0.0.1:9\"] }\n";

fn routes(routes: &str) -> ConfigCheck {
    file(GOOD, "", routes, UPSTREAM)
}

fn certificates(certificates: &str) -> ConfigCheck {
    file(
        certificates,
        "",
        "      - { name: a, match: { sni: a.test }, mode: terminate, upstream: up }\n",
        UPSTREAM,
    )
}

#[test]
fn the_base_file_is_good() {
    routes("      - { name: a, match: { sni: a.test }, mode: terminate, upstream: up }\n")
        .must_be_good();
}

#[test]
fn an_upstream_must_exist() {
    let checked =
        routes("      - { name: a, match: { sni: a.test }, mode: terminate, upstream: upp }\n");
    let finished = checked.check(&[]);
    finished
        .must_exit_with(1)
        .must_print("there is no upstream")
        .must_print("did you mean `up`?");
}

#[test]
fn two_routes_with_an_equal_match_are_refused() {
    let checked = routes(
        "      - { name: a, match: { sni: a.test }, mode: terminate, upstream: up }\n\
         \x20     - { name: b, match: { sni: A.test. }, mode: terminate, upstream: up }\n",
    );
    checked.must_report("A.test.", &["`a`", "same match"]);
}

#[test]
fn an_unreachable_route_is_refused() {
    let checked = routes(
        "      - { name: a, match: { sni: a.test, source: [10.0.0.0/8] }, mode: terminate, upstream: up }\n\
         \x20     - { name: b, match: { sni: a.test }, mode: terminate, upstream: up }\n\
         \x20     - { name: c, match: { sni: [x.wild.test, \"a.test\"], source: [192.168.0.0/16] }, mode: \
         terminate, upstream: up }\n",
    );
    checked.must_report("\"a.test\"", &["never match", "`b`"]);
    let checked = routes(
        "      - { name: a, match: { sni: a.test }, mode: terminate, upstream: up }\n\
         \x20     - { name: b, mode: terminate, upstream: up }\n",
    );
    checked.must_report("b, mode", &["matches no server name", "default_route"]);
}

#[test]
fn client_auth_needs_a_mode_that_can_see_certificates() {
    let checked = routes(
        "      - { name: a, match: { sni: a.test }, mode: passthrough, upstream: up, client_auth: { mode: \
         required, ca: client-ca.pem } }\n",
    );
    checked.must_report("{ mode: required", &["`client_auth`", "passthrough"]);
}

#[test]
fn client_auth_needs_an_authority() {
    let with = |block: &str| {
        routes(&format!(
            "      - {{ name: a, match: {{ sni: a.test }}, mode: terminate, upstream: up, client_auth: \
             {block} }}\n"
        ))
    };
    with("{ mode: required }").must_report("{ mode: required }", &["needs `ca`"]);
    with("{ mode: required, ca: [] }").must_report("[] }", &["trusts no certificate"]);
    with("{ mode: optional, ca: empty.pem }")
        .with_file("empty.pem", "no certificate in here\n", 0o644)
        .must_report("empty.pem", &["empty.pem", "holds no certificate"]);
    with("{ mode: optional, ca: gone.pem }").must_report("gone.pem", &["cannot be read"]);
    with("{ mode: optional, ca: client-ca.pem }").must_be_good();
}

#[test]
fn an_empty_bundle_for_origins_is_refused_too() {
    let route = "      - { name: a, match: { sni: a.test }, mode: reencrypt, upstream: up }\n";
    file(
        GOOD,
        "",
        route,
        "  up: { origins: [\"127.0.0.1:9\"], tls: { ca: empty.pem } }\n",
    )
    .with_file("empty.pem", "", 0o644)
    .must_report("empty.pem", &["holds no certificate"]);
}

#[test]
fn an_upstream_is_used_either_with_or_without_tls() {
    let checked = routes(
        "      - { name: a, match: { sni: a.test }, mode: terminate, upstream: up }\n\
         \x20     - { name: b, match: { sni: x.wild.test }, mode: reencrypt, upstream: up }\n",
    );
    let finished = checked.check(&[]);
    finished
        .must_exit_with(1)
        .must_print("`up` is used both with and without TLS");
}

#[test]
fn a_cycle_through_our_own_endpoints_is_refused() {
    let route = "      - { name: a, match: { sni: a.test }, mode: passthrough, upstream: up }\n";
    for origin in ["127.0.0.1:4430", "localhost:4430"] {
        let upstream = format!("  up: {{ origins: [\"{origin}\"] }}\n");
        file(GOOD, "", route, &upstream)
            .must_report(&format!("\"{origin}\""), &["leads back", "`edge`"]);
    }
    // The same port of the other address family is another listener.
    for (listen, origin, leads_back) in [
        ("0.0.0.0", "[::1]", false),
        ("[::]", "127.0.0.1", false),
        ("[::]", "[::1]", true),
        ("0.0.0.0", "127.0.0.1", true),
        ("127.0.0.1", "0.0.0.0", true),
        ("*", "[::1]", true),
    ] {
        let finished = ConfigCheck::new(&format!(
            "endpoints: [{{ name: one, listen: \"{listen}:4433\", protocol: tcp, routes: [{{ name: r, mode: \
             forward, upstream: up }}] }}]\n\
             upstreams: {{ up: {{ origins: [\"{origin}:4433\"] }} }}\n",
        ))
        .check(&[]);
        finished.must_exit_with(i32::from(leads_back));
        assert_eq!(
            finished.text().contains("leads back"),
            leads_back,
            "{listen} {origin}"
        );
    }
    // A cycle over two endpoints.
    let checked = ConfigCheck::new(
        "endpoints:\n\
         \x20 - { name: one, listen: \"*:4431\", protocol: tcp, routes: [{ name: r, mode: forward, \
         upstream: to-two }] }\n\
         \x20 - { name: two, listen: \"unix:/tmp/two.sock\", protocol: tcp, routes: [{ name: r, mode: \
         forward, upstream: to-one }] }\n\
         upstreams:\n\
         \x20 to-two: { origins: [\"unix:/tmp/two.sock\"] }\n\
         \x20 to-one: { origins: [\"127.0.0.1:4431\"] }\n",
    );
    checked
        .check(&[])
        .must_exit_with(1)
        .must_print("leads back");
}

#[test]
fn a_chain_of_our_own_endpoints_without_a_cycle_is_good() {
    ConfigCheck::new(
        "endpoints:\n\
         \x20 - { name: one, listen: \"*:4431\", protocol: tcp, routes: [{ name: r, mode: forward, \
         upstream: two }] }\n\
         \x20 - { name: two, listen: \"*:4432\", protocol: tcp, routes: [{ name: r, mode: forward, \
         upstream: out }] }\n\
         upstreams:\n\
         \x20 two: { origins: [\"127.0.0.1:4432\"] }\n\
         \x20 out: { origins: [\"127.0.0.1:9\"] }\n",
    )
    .must_be_good();
}

#[test]
fn clients_cannot_choose_between_routes_of_different_client_auth() {
    let two = |second: &str| {
        routes(&format!(
            "      - {{ name: a, match: {{ sni: a.test, alpn: [h2], source: [192.168.0.0/16] }}, alpn: \
             [h2], mode: terminate, upstream: up, client_auth: {{ mode: required, ca: client-ca.pem }} }}\n\
             \x20     - {{ name: b, match: {{ sni: a.test{second} }}, mode: terminate, upstream: up }}\n"
        ))
    };
    let finished = two("").check(&[]);
    finished
        .must_exit_with(1)
        .must_print("differ in client auth")
        .must_print("ALPN");
    // Without a common source address, no client can choose.
    two(", source: [10.0.0.0/8]").check(&[]).must_exit_with(0);
}

#[test]
fn the_mode_must_fit_the_protocol() {
    routes("      - { name: a, match: { sni: a.test }, mode: forward, upstream: up }\n")
        .must_report("forward", &["protocol: tls"]);
    let checked = ConfigCheck::new(
        "endpoints:\n\
         \x20 - { name: one, listen: \"*:4431\", protocol: tcp, routes: [{ name: r, mode: terminate, \
         upstream: out }] }\n\
         upstreams: { out: { origins: [\"127.0.0.1:9\"] } }\n",
    );
    checked.must_report("terminate", &["protocol: tcp"]);
}

#[test]
fn a_terminating_default_route_names_its_certificate() {
    let with = |default: &str| {
        ConfigCheck::new(&format!(
            "endpoints:\n\
             \x20 - name: edge\n\
             \x20   listen: 127.0.0.1:4430\n\
             \x20   tls: {{ certificates: [{GOOD}, {{ cert: other.pem, key: other.key }}] }}\n\
             \x20   default_route: {default}\n\
             \x20   routes: [{{ name: a, match: {{ sni: a.test }}, mode: terminate, upstream: up }}]\n\
             upstreams: {{ up: {{ origins: [\"127.0.0.1:9\"] }} }}\n"
        ))
        .with_identity("other", &pki().edge(&["other.test"]))
    };
    let finished = with("a").check(&[]);
    finished
        .must_exit_with(1)
        .must_print("has to name its certificate")
        .must_print("`other`");
    with("{ route: a, certificate: other }").must_be_good();
    with("{ route: a, certificate: gone }").must_report("gone", &["no certificate of this name"]);
    with("{ route: z, certificate: other }").must_report("z, cert", &["there is no route", "`a`"]);
}

#[test]
fn an_unused_upstream_is_warned_about() {
    let route = "      - { name: a, match: { sni: a.test }, mode: terminate, upstream: up }\n";
    let two = format!("{UPSTREAM}  spare: {{ origins: [\"127.0.0.1:9\"] }}\n");
    file(GOOD, "", route, &two).must_warn("spare", &["`spare`"]);
}

#[test]
fn names_are_unique() {
    let route = "      - { name: a, match: { sni: a.test }, mode: terminate, upstream: up }\n";
    let twice = route.replace("sni: a.test", "sni: x.wild.test");
    let finished = routes(&format!("{route}{twice}")).check(&[]);
    finished
        .must_exit_with(1)
        .must_print("two routes of this endpoint are named `a`");
    let finished = certificates(&format!("{GOOD}, {GOOD}")).check(&[]);
    finished
        .must_exit_with(1)
        .must_print("two certificates are named `good`");
}

#[test]
fn a_server_name_is_needed_if_an_origin_has_no_host() {
    let route = "      - { name: a, match: { sni: a.test }, mode: reencrypt, upstream: up }\n";
    file(
        GOOD,
        "",
        route,
        "  up: { origins: [\"unix:/run/up.sock\"] }\n",
    )
    .must_report("\"unix:", &["server_name"]);
}

#[test]
fn the_version_range_is_not_empty() {
    let route = "      - { name: a, match: { sni: a.test }, mode: terminate, upstream: up }\n";
    file(
        GOOD,
        ", min_version: 1.3, max_version: 1.2",
        route,
        UPSTREAM,
    )
    .must_report("1.3", &["above `max_version`"]);
}
