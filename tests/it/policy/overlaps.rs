//! `check` warns about policies that can be bypassed: one origin or certificate under different client auth.

use crate::harness::ConfigCheck;

/// Two routes, each with these extra keys, on two certificates if `apart`.
fn two(first: &str, second: &str, apart: bool, upstreams: &str) -> ConfigCheck {
    let certificates = if apart {
        "{ cert: good.pem, key: good.key, names: a.test }, { name: other, cert: good.pem, key: good.key, \
         names: x.wild.test }"
    } else {
        "{ cert: good.pem, key: good.key }"
    };
    ConfigCheck::new(&format!(
        "endpoints:\n\
         \x20 - name: edge\n\
         \x20   listen: 127.0.0.1:4430\n\
         \x20   tls: {{ certificates: [{certificates}] }}\n\
         \x20   routes:\n\
         \x20     - {{ name: one, {first} }}\n\
         \x20     - {{ name: two, {second} }}\n\
         upstreams:\n{upstreams}"
    ))
}

const APART: &str = "  x: { origins: [\"127.0.0.1:9\"] }\n  y: { origins: [\"127.0.0.1:10\"] }\n";
const SAME: &str = "  x: { origins: [\"127.0.0.1:9\"] }\n  y: { origins: [\"127.0.0.1:9\"] }\n";
const REQUIRED: &str = "client_auth: { mode: required, ca: client-ca.pem }";

fn route(sni: &str, upstream: &str, more: &str) -> String {
    let more = if more.is_empty() {
        String::new()
    } else {
        format!(", {more}")
    };
    format!("mode: terminate, upstream: {upstream}, match: {{ sni: {sni} }}{more}")
}

#[test]
fn an_origin_with_client_auth_on_only_one_route_is_a_warning() {
    let strict = route("a.test", "x", REQUIRED);
    let lax = route("x.wild.test", "y", "");
    two(&strict, &lax, false, SAME).must_warn(
        "{ name: two",
        &["leads to `127.0.0.1:9`", "the route `one` protects"],
    );
    // Sharing an upstream counts, too, and another mode is another client auth.
    let other = route(
        "x.wild.test",
        "x",
        "client_auth: { mode: optional, ca: client-ca.pem }",
    );
    two(&strict, &other, false, APART).must_warn("{ name: two", &["the route `one` protects"]);
    let passthrough = "mode: passthrough, upstream: p, match: { sni: x.wild.test }";
    let upstreams = format!("{APART}  p: {{ origins: [\"127.0.0.1:9\"] }}\n");
    two(&strict, passthrough, false, &upstreams).must_warn("{ name: two", &["protects"]);
    two(&strict, &lax, false, APART).must_be_good();
    let intended = route("x.wild.test", "y", "acknowledge: shared_origin");
    two(&strict, &intended, false, SAME).must_be_good();
    let alike = route("x.wild.test", "y", REQUIRED);
    two(&strict, &alike, false, SAME).must_be_good();
}

#[test]
fn routes_that_a_client_cannot_choose_between_may_share_an_origin() {
    let from = |source: &str, more: &str| {
        format!("mode: terminate, upstream: x, match: {{ sni: a.test, source: {source} }}{more}")
    };
    let strict = from("192.0.2.0/24", &format!(", {REQUIRED}"));
    let upstreams = "  x: { origins: [\"127.0.0.1:9\"] }\n";
    two(&strict, &from("10.0.0.0/8", ""), false, upstreams).must_be_good();
}

#[test]
fn h2_names_of_one_certificate_with_different_client_auth_are_a_warning() {
    let h2 = "alpn: [h2, http/1.1]";
    let one = |more: &str| route("a.test", "x", more);
    let two_ = |more: &str| route("x.wild.test", "y", more);
    two(&one(h2), &two_(h2), false, APART).must_warn(
        "{ name: two",
        &["browsers that speak h2", "`one`", "`good`"],
    );
    let intended = format!("{h2}, acknowledge: [coalescing]");
    two(&one(h2), &two_(&intended), false, APART).must_be_good();
    two(&one(h2), &two_(h2), true, APART).must_be_good();
    two(&one(h2), &two_(""), false, APART).must_be_good();
}

#[test]
fn a_vault_whose_certificate_login_would_see_our_certificate_is_noted() {
    let config = |mode: &str, auth: &str| {
        ConfigCheck::new(&format!(
            "endpoints:\n\
             \x20 - name: edge\n\
             \x20   listen: 127.0.0.1:4430\n\
             \x20   tls: {{ certificates: [{{ cert: good.pem, key: good.key }}] }}\n\
             \x20   routes: [{{ name: vault, mode: {mode}, upstream: vault, match: {{ sni: a.test }}{auth} \
             }}]\n\
             upstreams:\n\
             \x20 vault:\n\
             \x20   origins: [\"127.0.0.1:9\"]\n\
             \x20   health: {{ check: {{ preset: vault-active }} }}\n"
        ))
    };
    let auth = format!(", {REQUIRED}");
    config("reencrypt", &auth)
        .check(&["--strict"])
        .must_exit_with(0)
        .must_print("notice: ")
        .must_print("Vault's certificate login sees Reseal's certificate");
    config("reencrypt", "").must_be_good();
}

#[test]
fn an_outbound_endpoint_on_loopback_is_no_warning() {
    let config = |listen: &str| {
        ConfigCheck::new(&format!(
            "endpoints:\n\
             \x20 - name: edge\n\
             \x20   listen: 127.0.0.1:4430\n\
             \x20   tls: {{ certificates: [{{ cert: good.pem, key: good.key }}] }}\n\
             \x20   routes: [{{ name: in, mode: reencrypt, upstream: o, match: {{ sni: a.test }}, \
             {REQUIRED} }}]\n\
             \x20 - name: out\n\
             \x20   listen: \"{listen}\"\n\
             \x20   protocol: tcp\n\
             \x20   routes: [{{ name: out, mode: originate, upstream: o }}]\n\
             upstreams: {{ o: {{ origins: [\"127.0.0.1:9\"] }} }}\n"
        ))
    };
    config("127.0.0.1:4431").must_be_good();
    config("unix:/run/out.sock").must_be_good();
    config("*:4431")
        .check(&["--strict"])
        .must_exit_with(1)
        .must_print("protects with different `client_auth`");
}
