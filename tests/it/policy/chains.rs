//! Chains of clients and origins: which of the sent certificates count.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use crate::harness::{
    Authority, ConfigCheck, End, Identity, Leaf, Origin, Proxy, ProxyBuilder, pki,
};

fn requiring(origin: &Origin, policy: &str) -> ProxyBuilder {
    Proxy::builder()
        .terminate("a.test", origin)
        .on_route(&format!("client_auth: {{ mode: required, {policy} }}"))
}

#[track_caller]
fn must_admit(proxy: &Proxy, identity: &Identity) {
    let stream = proxy.client("a.test").certificate(identity).connect();
    stream.must_echo(b"let in");
    stream.end();
    assert_eq!(stream.receive_to_end(), (vec![], End::Clean));
    proxy.outcome_of(&stream).must_be("ok");
}

/// A leaf below an intermediate, with these certificates before and behind it.
fn among(leaf: &Leaf, ca: &Authority, before: &[&Authority], behind: &[&Authority]) -> Identity {
    let department = ca.subordinate("Department CA", 5);
    let all = [before, &[&department], behind].concat();
    department.issue(leaf).below(&all)
}

#[test]
fn certificates_outside_the_path_make_no_difference() {
    let strangers: Vec<_> = (0..9).map(|n| Authority::new(&format!("X{n}"))).collect();
    let strangers: Vec<_> = strangers.iter().collect();
    let many = |leaf: &Leaf, ca: &Authority| {
        [
            among(leaf, ca, &[], &strangers),
            among(leaf, ca, &strangers, &[]),
            // The CA itself, and one with the intermediate's name that did not sign the leaf.
            among(
                leaf,
                ca,
                &[ca, &Authority::new("Department CA")],
                &strangers,
            ),
        ]
    };
    let origin = Origin::echo();
    let proxy = requiring(&origin, "ca: client-ca.pem").start();
    for identity in many(&Leaf::client("alice"), &pki().clients) {
        must_admit(&proxy, &identity);
        must_admit(&proxy, &identity);
    }
    for identity in many(&Leaf::server(&["origin.test"]), &pki().origins) {
        let origin = Origin::tls(&identity).echo();
        let proxy = Proxy::builder()
            .reencrypt("a.test", &origin)
            .origin_tls("{ ca: origin-ca.pem, server_name: origin.test }")
            .start();
        let client = proxy.client("a.test").connect();
        client.must_echo(b"believed");
    }
}

#[test]
fn clients_of_a_ca_with_a_new_key_are_admitted_where_its_old_certificate_is_trusted_too() {
    let origin = Origin::echo();
    let [old, new] = [5, 6].map(|serial| pki().clients.subordinate("Department CA", serial));
    let proxy = requiring(&origin, "ca: [client-ca.pem, old.pem]")
        .file("old.pem", old.pem())
        .start();
    for ca in [&old, &new] {
        let identity = ca.issue(&Leaf::client("alice")).below(&[ca]);
        must_admit(&proxy, &identity);
        must_admit(&proxy, &identity);
    }
    let forged = Authority::new("Department CA");
    let identity = forged.issue(&Leaf::client("mallory")).below(&[&forged]);
    let client = proxy.client("a.test").certificate(&identity);
    assert!(matches!(client.refusal(), End::Alert(_)));
    proxy.outcome().must_be("client_cert_invalid");
}

#[test]
fn intermediates_of_one_connection_do_not_complete_the_chain_of_another() {
    let origin = Origin::echo();
    let proxy = requiring(&origin, "ca: client-ca.pem").start();
    let whole = among(&Leaf::client("alice"), &pki().clients, &[], &[]);
    must_admit(&proxy, &whole);
    let end = whole.cert.find("-----END").unwrap();
    let leaf = whole.cert[..end].to_owned() + "-----END CERTIFICATE-----\n";
    let alone = Identity {
        cert: leaf,
        key: whole.key.clone(),
    };
    let client = proxy.client("a.test").certificate(&alone);
    assert!(matches!(client.refusal(), End::Alert(_)));
    let record = proxy.outcome();
    record.must_be("client_cert_unknown_ca");
    assert!(record.text("detail").contains("an intermediate is missing"));
    must_admit(&proxy, &whole);
}

#[test]
fn a_path_of_six_intermediates_is_accepted_and_one_of_seven_is_not() {
    let origin = Origin::echo();
    let proxy = requiring(&origin, "ca: client-ca.pem").start();
    let deep = |len: u64| {
        let mut chain = vec![pki().clients.subordinate("Level 0", 1)];
        for level in 1..len {
            let next = chain[0].subordinate(&format!("Level {level}"), level);
            chain.insert(0, next);
        }
        chain[0]
            .issue(&Leaf::client("alice"))
            .below(&chain.iter().collect::<Vec<_>>())
    };
    must_admit(&proxy, &deep(6));
    let client = proxy.client("a.test").certificate(&deep(7));
    assert!(matches!(client.refusal(), End::Alert(_)));
    let record = proxy.outcome();
    record.must_be("client_cert_invalid");
    assert!(record.text("detail").contains("more than 6 intermediates"));
}

/// A certificate as `openssl req -x509` makes it: a self-signed CA with server names.
fn selfsigned(name: &str, days: i64) -> Identity {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = time::OffsetDateTime::now_utc() - time::Duration::days(30);
    params.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(days);
    let key = KeyPair::generate().unwrap();
    Identity {
        cert: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

#[test]
fn a_self_signed_origin_certificate_in_ca_is_trusted_only_as_itself() {
    let own = selfsigned("origin.test", 30);
    let other = selfsigned("origin.test", 30);
    let expired = selfsigned("origin.test", -1);
    for (identity, ca, name, reason) in [
        (&own, &own, "origin.test", "ok"),
        (&own, &own, "another.test", "origin_tls_name"),
        (&other, &own, "origin.test", "origin_tls_untrusted"),
        (&expired, &expired, "origin.test", "origin_tls_expired"),
    ] {
        let origin = Origin::tls(identity).echo();
        let proxy = Proxy::builder()
            .reencrypt("a.test", &origin)
            .origin_tls(&format!("{{ ca: own.pem, server_name: {name} }}"))
            .file("own.pem", &ca.cert)
            .start();
        let client = proxy.client("a.test").connect();
        client.send(b"for the origin");
        client.end();
        client.receive_to_end();
        proxy.outcome_of(&client).must_be(reason);
    }
}

#[test]
fn check_warns_about_a_ca_whose_constraints_no_certificate_can_meet() {
    const NAME_CONSTRAINTS: &[u64] = &[2, 5, 29, 30];
    for (tag, what) in [(0x86, "URIs"), (0x81, "mail addresses")] {
        for subtrees in [0xa0, 0xa1] {
            let name = [&[tag, 6][..], b"a.test"].concat();
            let tree = [&[0x30, 8][..], &name].concat();
            let value = [&[0x30, 12, subtrees, 10][..], &tree].concat();
            let ca = Authority::shaped("Constrained CA", |params| {
                let extension = rcgen::CustomExtension::from_oid_content(NAME_CONSTRAINTS, value);
                params.custom_extensions.push(extension);
            });
            ConfigCheck::new(
                "endpoints:\n\
                 \x20 - name: edge\n\
                 \x20   listen: 127.0.0.1:4430\n\
                 \x20   tls:\n\
                 \x20     certificates: [{ cert: good.pem, key: good.key }]\n\
                 \x20     client_auth: { mode: required, ca: constrained.pem }\n\
                 \x20   routes: [{ name: a, mode: terminate, upstream: up, match: { sni: a.test } }]\n\
                 upstreams:\n\
                 \x20 up: { origins: [\"127.0.0.1:9\"] }\n",
            )
            .with_file("constrained.pem", ca.pem(), 0o644)
            .must_warn("constrained.pem", &["name constraints", what]);
        }
    }
}
