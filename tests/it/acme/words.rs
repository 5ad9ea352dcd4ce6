//! What `check` says of issuers and of the certificates that they keep.

use super::authority::{Ca, Wishes};
use crate::harness::{ConfigCheck, Proxy};

/// A configuration with this issuer, and these certificates of its endpoint.
fn configuration(issuer: &str, certificates: &str) -> String {
    format!(
        "acme: {{ le: {issuer} }}
endpoints:
  - name: edge
    listen: 127.0.0.1:0
    tls: {{ certificates: [{certificates}] }}
    routes: [{{ name: a, mode: terminate, upstream: up, match: {{ sni: a.test }} }}]
upstreams: {{ up: {{ origins: [\"127.0.0.1:9\"] }} }}
"
    )
}

const ISSUER: &str = "{ directory: \"https://127.0.0.1:1/dir\", state: state }";
/// What an issuer has for validations by records of this zone.
fn zone(zone: &str) -> String {
    let tsig = "tsig: { name: reseal, key_file: tsig.key }";
    format!("challenge: dns-01,\n  dns: {{ server: 10.0.0.53, zone: {zone},\n  {tsig} }}")
}

const KEPT: &str = "{ acme: le, names: [a.test] }";

#[test]
fn a_certificate_that_is_yet_to_be_issued_is_good() {
    let check = ConfigCheck::new(&configuration(ISSUER, KEPT));
    let quiet = check.check(&["--strict", "--no-network"]);
    quiet.must_exit_with(0);
    assert_eq!(quiet.stderr, "");
    // There is no least time before its end.
    let soon = ISSUER.replace(" }", ", renew: 1s }");
    ConfigCheck::new(&configuration(&soon, KEPT))
        .check(&["--strict", "--no-network"])
        .must_exit_with(0);
    let explained = check.explain(&["--sni", "a.test"]);
    explained.must_print("certificate_pending");
}

#[test]
fn a_directory_that_does_not_answer_is_a_warning_and_one_that_does_not_fit_an_error() {
    let check = ConfigCheck::new(&configuration(ISSUER, KEPT));
    check.must_warn(
        "\"https",
        &["the directory of the CA cannot be had now", "--no-network"],
    );
    let mut ca = Ca::prepare(Wishes {
        external: Some((
            "kid-1",
            "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
        )),
        ..Wishes::default()
    });
    ca.run();
    let (url, ca_file) = (ca.url(), ca.vouching());
    let issuer = format!("{{ directory: \"{url}\", ca: {ca_file}, state: state }}");
    let check = ConfigCheck::new(&configuration(&issuer, KEPT));
    check
        .check(&[])
        .must_exit_with(1)
        .must_print("demands an account of its own: `eab`");
    check.check(&["--no-network"]).must_exit_with(0);
    let issuer = issuer.replace(
        " }",
        ", eab: { key_id: kid-1, key_file: eab.key }, profile: short }",
    );
    let check = ConfigCheck::new(&configuration(&issuer, KEPT)).with_file("eab.key", "a2V5", 0o600);
    check
        .check(&[])
        .must_exit_with(1)
        .must_print("this CA has no");
}

#[test]
fn mistakes_in_issuers_and_names_are_told_with_a_way_out() {
    let issuer = |more: &str| ISSUER.replace(" }", &format!(", {more} }}"));
    let kept = KEPT.to_owned();
    let cases = [
        (
            issuer("challenge: dns-01"),
            kept.clone(),
            "dns-01",
            "needs a name server",
            "tsig: { name: NAME, key_file: FILE }",
        ),
        (
            issuer(&zone("other.test")),
            kept.clone(),
            "a.test]",
            "is not in the zone `other.test`",
            "name the zone",
        ),
        (
            issuer(&zone("test")),
            "{ acme: le, names: [a.test, 192.0.2.7] }".to_owned(),
            "192.0.2.7",
            "is an address",
            "tls-alpn-01",
        ),
        (
            issuer(&zone("test").replace("10.0.0.53", "ns.test")),
            kept.clone(),
            "ns.test",
            "not the address of a name server",
            "IP:PORT",
        ),
        (
            issuer(&zone("test").replace("key_file", "algorithm: hmac-md5, key_file")),
            kept.clone(),
            "hmac-md5",
            "unknown algorithm",
            "too weak",
        ),
        (
            issuer("challenge: http-01"),
            kept.clone(),
            "http-01",
            "needs a listener",
            "http: \"*:80\"",
        ),
        (
            issuer("challenge: http-01, http: \"*\""),
            kept.clone(),
            "\"*\"",
            "not an address to listen on",
            "*:PORT",
        ),
        (
            issuer("contact: ops@example.com"),
            kept.clone(),
            "ops@example.com",
            "is not a URL",
            "mailto:ops@example.com",
        ),
        (
            ISSUER.replace("https", "http"),
            kept.clone(),
            "\"http://127.0.0.1:1/dir\"",
            "does not begin with `https://`",
            "over TLS alone",
        ),
        (
            "{ directory: \"https://127.0.0.1:1/dir\" }".to_owned(),
            kept,
            "{ directory",
            "missing key `state`",
            "state",
        ),
        (
            ISSUER.to_owned(),
            "{ acme: other, names: [a.test] }".to_owned(),
            "other",
            "no issuer of this name",
            "le",
        ),
        (
            ISSUER.to_owned(),
            "{ acme: le, names: [\"*.test\"] }".to_owned(),
            "\"*.test\"",
            "is a wildcard",
            "dns-01",
        ),
        (
            ISSUER.to_owned(),
            "{ acme: le, names: [] }".to_owned(),
            "[] }",
            "an empty list of names",
            "hosts",
        ),
        (
            ISSUER.to_owned(),
            "{ acme: le }".to_owned(),
            "{ acme: le }",
            "missing key `names`",
            "names",
        ),
        (
            ISSUER.to_owned(),
            "{ acme: le, cert: a.pem, names: [a.test] }".to_owned(),
            "{ acme: le, cert",
            "`acme` and `cert` exclude each other",
            "",
        ),
        (
            ISSUER.to_owned(),
            format!("{KEPT}, {{ acme: le, names: [127.0.0.1] }}"),
            "{ acme: le, names: [127",
            "names addresses and no host",
            "default_route",
        ),
    ];
    for (issuer, certificates, about, what, help) in cases {
        let check = ConfigCheck::new(&configuration(&issuer, &certificates));
        let check = check.with_file("tsig.key", "c2VjcmV0", 0o600);
        check.must_report(about, &[what, help]);
    }
}

#[test]
fn a_key_of_an_account_that_is_no_base64url_is_an_error() {
    let issuer = ISSUER.replace(" }", ", eab: { key_id: k, key_file: eab.key } }");
    let check =
        ConfigCheck::new(&configuration(&issuer, KEPT)).with_file("eab.key", "no key!", 0o600);
    check.must_report("eab.key", &["this is no key in base64url"]);
}

#[test]
fn a_secret_of_a_zone_that_is_no_base64_or_that_others_may_read_is_an_error() {
    let issuer = ISSUER.replace(" }", &format!(", {} }}", zone("test")));
    let check = |text: &str, mode: u32| {
        ConfigCheck::new(&configuration(&issuer, KEPT)).with_file("tsig.key", text, mode)
    };
    check("secret \"a2V5\";", 0o600).must_report("tsig.key", &["this is no key in base64"]);
    check("a2V5", 0o644).must_report("tsig.key", &["chmod"]);
    let good = check("a2V5\n", 0o600).check(&["--strict", "--no-network"]);
    good.must_exit_with(0);
}

#[test]
fn an_issuer_of_another_name_than_the_files_is_not_needed() {
    // A process without issuers makes no directory and no task.
    let proxy = Proxy::builder()
        .terminate("a.test", &crate::harness::Origin::echo())
        .start();
    assert!(!proxy.directory().join("state").exists());
}

#[test]
fn a_listener_for_validations_that_cannot_be_had_is_told_at_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap();
    let issuer = ISSUER.replace(" }", &format!(", challenge: http-01, http: \"{place}\" }}"));
    ConfigCheck::new(&configuration(&issuer, KEPT))
        .run()
        .must_exit_with(3)
        .must_print(&format!("acme: cannot listen on {place}"));
}

#[test]
fn a_certificate_for_origins_is_of_files_or_of_an_issuer() {
    let with = |client: &str| {
        let text = configuration(ISSUER, KEPT).replace(
            "upstreams: { up: { origins: [\"127.0.0.1:9\"] } }",
            &format!(
                "upstreams: {{ up: {{ origins: [\"127.0.0.1:9\"],\n  tls: {{ server_name: a.test,\n  client_certificate: {client} }} }} }}"
            ),
        );
        ConfigCheck::new(&text.replace("mode: terminate", "mode: reencrypt"))
    };
    with("{ acme: le, names: [proxy.test] }")
        .check(&["--strict", "--no-network"])
        .must_exit_with(0);
    for (client, about, what) in [
        ("{ acme: le }", "le }", "missing key `names`"),
        (
            "{ acme: le, names: [p.test], cert: c.pem }",
            "le, names: [p.",
            "exclude each other",
        ),
        (
            "{ acme: le, names: [p.test], key: c.key }",
            "c.key",
            "exclude each other",
        ),
        (
            "{ cert: c.pem, names: [p.test] }",
            "[p.test]",
            "is for `acme` alone",
        ),
        ("{ }", "{ }", "missing key `cert`"),
    ] {
        with(client).must_report(about, &[what, "acme: ISSUER, names: [HOST]"]);
    }
}
