//! Requirements on origins beyond chain and name: revocation, pins, rules, groups.

use crate::harness::{
    ConfigCheck, End, Identity, Leaf, List, Origin, Proxy, ProxyBuilder, Record, pki,
};

const REVOKED: u64 = 4711;

fn identity(serial: u64) -> Identity {
    pki()
        .origins
        .issue(&Leaf::server(&["origin.test"]).serial(serial))
}

/// A route to this origin, with this policy besides trust and name.
fn to(origin: &Origin, policy: &str) -> ProxyBuilder {
    let lists = List::of(&[REVOKED]);
    Proxy::builder()
        .reencrypt("a.test", origin)
        .origin_tls(&format!(
            "{{ ca: origin-ca.pem, server_name: origin.test, {policy} }}"
        ))
        .file("origins.crl", lists.pem(&pki().origins))
        .file("expired.crl", lists.expired().pem(&pki().origins))
        .file("strangers.crl", List::of(&[]).pem(&pki().stranger))
}

/// The record of a connection to an origin with this certificate.
fn outcome(identity: &Identity, policy: &str) -> Record {
    let origin = Origin::tls(identity).echo();
    let proxy = to(&origin, policy).start();
    // The second connection finds the verdict in the cache.
    for _ in 0..2 {
        let client = proxy.client("a.test").connect();
        client.send(b"for the origin");
        client.end();
        let (_, end) = client.receive_to_end();
        let record = proxy.outcome_of(&client);
        if record.reason() == "ok" {
            assert_eq!(end, End::Clean);
            continue;
        }
        assert_eq!((end, origin.bytes()), (End::Reset, 0));
        record
            .must_have("stage", "origin_tls")
            .must_have("fault", "origin");
        return record;
    }
    assert_eq!(origin.accepts(), 2);
    Record(serde_json::json!({ "reason": "ok" }))
}

#[test]
fn a_revoked_origin_is_refused_and_so_is_one_without_a_crl() {
    for (serial, policy, reason) in [
        (1, "crl: origins.crl", "ok"),
        (REVOKED, "crl: origins.crl", "origin_tls_revoked"),
        (
            REVOKED,
            "crl: origins.crl, resumption: off",
            "origin_tls_revoked",
        ),
        (1, "crl: expired.crl", "origin_tls_revoked"),
        (1, "crl: expired.crl, crl_expired: allow", "ok"),
        (
            REVOKED,
            "crl: expired.crl, crl_expired: allow",
            "origin_tls_revoked",
        ),
        (1, "crl: strangers.crl", "origin_tls_revoked"),
        (1, "crl: strangers.crl, crl_unknown: allow", "ok"),
    ] {
        assert_eq!(
            outcome(&identity(serial), policy).reason(),
            reason,
            "{policy}"
        );
    }
}

fn pin(identity: &Identity) -> String {
    let hash = reseal::internals::spki_sha256(&identity.chain()[0]).unwrap();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn an_origin_whose_key_is_not_pinned_is_refused() {
    let (own, other) = (identity(1), identity(2));
    let pins = |pins: &[String]| format!("spki_sha256: [{}]", pins.join(", "));
    let both = pins(&[pin(&other), pin(&own)]);
    assert_eq!(outcome(&own, &both).reason(), "ok");
    let wrong = pins(&[pin(&other)]);
    outcome(&own, &wrong).must_be("origin_tls_pin");
    // A pin counts even with `verify: danger-none`.
    let danger = format!("verify: danger-none, {wrong}");
    outcome(&own, &danger).must_be("origin_tls_pin");
    // A pin does not replace a valid chain.
    let stranger = pki().stranger.issue(&Leaf::server(&["origin.test"]));
    outcome(&stranger, &pins(&[pin(&stranger)])).must_be("origin_tls_untrusted");
}

#[test]
fn an_origin_that_no_rule_admits_is_refused() {
    let leaf = || {
        Leaf::server(&["origin.test"]).shaped(|params| {
            let spiffe = "spiffe://example.com/ns/prod/vault".try_into().unwrap();
            params.subject_alt_names.push(rcgen::SanType::URI(spiffe));
        })
    };
    let own = pki().origins.issue(&leaf());
    let admits = "allow: { uri: \"spiffe://example.com/ns/*/vault\" }";
    assert_eq!(outcome(&own, admits).reason(), "ok");
    let denies = "allow: { uri: \"spiffe://example.com/ns/test/vault\" }";
    outcome(&own, denies).must_be("origin_tls_name");
}

#[test]
fn the_groups_of_an_upstream_are_offered_in_their_order() {
    let origin = Origin::tls(&identity(1)).serve(|stream| {
        stream.send(stream.group());
        stream.end();
        stream.receive_to_end();
    });
    for (groups, group) in [
        ("", "X25519MLKEM768"),
        ("groups: [secp384r1]", "secp384r1"),
        ("groups: [X25519, secp256r1]", "X25519"),
    ] {
        let proxy = to(&origin, groups).start();
        let client = proxy.client("a.test").connect();
        assert_eq!(
            client.receive_to_end(),
            (group.as_bytes().to_vec(), End::Clean)
        );
    }
}

#[test]
fn crls_without_effect_are_reported() {
    let text = "endpoints:\n\
         \x20 - name: edge\n\
         \x20   listen: 127.0.0.1:4430\n\
         \x20   tls: { certificates: [{ cert: good.pem, key: good.key }] }\n\
         \x20   routes: [{ name: a, mode: reencrypt, upstream: up, match: { sni: a.test } }]\n\
         upstreams:\n\
         \x20 up:\n\
         \x20   origins: [\"127.0.0.1:9\"]\n\
         \x20   tls: { verify: danger-none, crl: a.crl }\n";
    ConfigCheck::new(text)
        .with_file("a.crl", List::of(&[]).pem(&pki().origins), 0o644)
        .must_warn("a.crl", &["`crl` has no effect with `verify: danger-none`"]);
}
