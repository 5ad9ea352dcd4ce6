//! Client auth that a client could avoid by its choice of a route.

use super::{UPSTREAM, file};
use crate::harness::ConfigCheck;

const REQUIRED: &str = "client_auth: { mode: required, ca: client-ca.pem }";

/// Two routes of one server name, with these matches and client auth.
fn two_routes(tls: &str, first: &str, second: &str) -> ConfigCheck {
    let route = |name: &str, more: &str| {
        format!(
            "name: {name}, mode: terminate, upstream: up, alpn: [h2, http/1.1], match: {{ sni: a.test, {more}"
        )
    };
    file(
        tls,
        &[&route("one", first), &route("two", second)],
        UPSTREAM,
    )
}

fn can_be_chosen(checked: &ConfigCheck) {
    checked
        .check(&[])
        .must_exit_with(1)
        .must_print("differ in client auth")
        .must_print("a client can choose between them by ALPN")
        .must_print("`one`");
    checked.run().must_exit_with(2);
}

#[test]
fn client_auth_that_alpn_can_avoid_is_refused_where_sources_intersect() {
    // Wider and narrower, in both orders; one that contains all addresses; IPv4 written as IPv6.
    for (first, second) in [
        ("source: [10.0.0.0/8]", "source: [10.1.0.0/16]"),
        ("source: [10.1.2.3]", "source: [10.1.0.0/16]"),
        ("source: [192.168.0.0/16, 10.0.0.0/8]", "source: [10.1.2.3]"),
        ("source: [10.0.0.0/8]", "source: [\"::ffff:10.1.0.0/112\"]"),
    ] {
        can_be_chosen(&two_routes(
            "",
            &format!("alpn: [h2], {first} }}, {REQUIRED}"),
            &format!("{second} }}"),
        ));
        // The laxer route may also be the one that ALPN chooses.
        can_be_chosen(&two_routes(
            "",
            &format!("alpn: [h2], {first} }}"),
            &format!("{second} }}, {REQUIRED}"),
        ));
    }
    can_be_chosen(&two_routes(
        "",
        &format!("alpn: [h2] }}, {REQUIRED}"),
        "source: [10.1.0.0/16] }",
    ));
}

#[test]
fn client_auth_with_different_cas_can_be_avoided_too() {
    can_be_chosen(&two_routes(
        "",
        &format!("alpn: [h2], source: [10.0.0.0/8] }}, {REQUIRED}"),
        "source: [10.1.0.0/16] }, client_auth: { mode: required, ca: stranger-ca.pem }",
    ));
    can_be_chosen(&two_routes(
        "",
        &format!("alpn: [h2], source: [10.0.0.0/8] }}, {REQUIRED}"),
        "source: [10.1.0.0/16] }, client_auth: { mode: optional, ca: client-ca.pem }",
    ));
    // Nor may a client choose which CRLs, rules or revocation policies apply.
    for more in [
        "crl: clients.crl",
        "allow: { dns: alice.test }",
        "crl: clients.crl, crl_scope: leaf",
        "crl: clients.crl, crl_unknown: allow",
        "crl: clients.crl, crl_expired: allow",
        "recheck: off",
        "at_expiry: close",
    ] {
        let less = more.rsplit_once(", ").map_or("", |(less, _)| less);
        let auth = |keys: &str| {
            let keys = [", ", keys].concat();
            let keys = keys.strip_suffix(", ").unwrap_or(&keys);
            format!("client_auth: {{ mode: required, ca: client-ca.pem{keys} }}")
        };
        can_be_chosen(&two_routes(
            "",
            &format!("alpn: [h2] }}, {}", auth(more)),
            &format!("}}, {}", auth(less)),
        ));
    }
    // A route without the key inherits the endpoint's.
    can_be_chosen(&two_routes(
        &format!(", {REQUIRED}"),
        "alpn: [h2], source: [10.0.0.0/8] }",
        "source: [10.1.0.0/16] }, client_auth: { mode: off }",
    ));
}

#[test]
fn client_auth_may_differ_between_disjoint_sources() {
    two_routes(
        "",
        &format!("alpn: [h2], source: [10.0.0.0/8] }}, {REQUIRED}"),
        "source: [192.168.0.0/16, \"2001:db8::/32\"] }",
    )
    .must_be_good();
    // Narrower first, and no ALPN: the source alone decides.
    two_routes(
        "",
        "source: [10.1.0.0/16] }",
        &format!("source: [10.0.0.0/8] }}, {REQUIRED}"),
    )
    .check(&[])
    .must_exit_with(0);
}

#[test]
fn a_route_that_repeats_the_endpoints_client_auth_does_not_differ() {
    // The routes differ only in ALPN; one repeats the client auth that the other inherits.
    two_routes(
        &format!(", {REQUIRED}"),
        "alpn: [h2] }",
        &format!("}}, {REQUIRED}"),
    )
    .must_be_good();
    two_routes(
        &format!(", {REQUIRED}"),
        "alpn: [h2], source: [10.0.0.0/8] }",
        &format!("source: [10.1.0.0/16] }}, {REQUIRED}"),
    )
    .must_be_good();
    two_routes(
        "",
        "alpn: [h2], source: [10.0.0.0/8] }",
        "source: [10.1.0.0/16] }, client_auth: { mode: off }",
    )
    .must_be_good();
}

#[test]
fn a_passthrough_route_cannot_inherit_client_auth() {
    let with = |mode: &str, more: &str| {
        let passthrough =
            format!("name: p, mode: passthrough, upstream: out, match: {{ sni: p.test }}{more}");
        file(
            &format!(", client_auth: {{ mode: {mode}, ca: client-ca.pem }}"),
            &[
                "name: a, mode: terminate, upstream: up, match: { sni: a.test }",
                &passthrough,
            ],
            "  up: { origins: [\"127.0.0.1:9\"] }\n  out: { origins: [\"127.0.0.1:10\"] }\n",
        )
    };
    for mode in ["required", "optional"] {
        with(mode, "").must_report(
            "passthrough",
            &[
                "the endpoint's `client_auth` cannot be applied",
                "client_auth: { mode: off }",
            ],
        );
        with(mode, ", client_auth: { mode: off }").must_be_good();
    }
    with("required", &format!(", {REQUIRED}")).must_report(
        "{ mode: required, ca: client-ca.pem } }\nupstreams",
        &["`client_auth` on a route with the mode `passthrough`"],
    );
}
