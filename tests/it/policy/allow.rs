//! Allow rules: each kind admits matching clients only.

use std::net::IpAddr;

use rcgen::string::Ia5String;
use rcgen::{DnType, SanType};

use crate::harness::{Client, ConfigCheck, End, Identity, Leaf, Origin, Proxy, pki};

const ACCESS_DENIED: u8 = 49;

fn identity_with(sans: Vec<SanType>, subject: &[(DnType, &str)]) -> Identity {
    let leaf = Leaf::client("identity_with").shaped(|params| {
        params.subject_alt_names = sans;
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
    });
    pki().clients.issue(&leaf)
}

fn text(text: &str) -> Ia5String {
    text.try_into().unwrap()
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(text(name))
}

fn uri(uri: &str) -> SanType {
    SanType::URI(text(uri))
}

fn email(address: &str) -> SanType {
    SanType::Rfc822Name(text(address))
}

fn ip(address: &str) -> SanType {
    SanType::IpAddress(address.parse::<IpAddr>().unwrap())
}

fn fingerprint(of: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, of);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect::<Vec<_>>()
        .join(":")
}

/// Rules, with clients that match and clients that do not.
fn cases() -> Vec<(String, Vec<Identity>, Vec<Identity>)> {
    let unit = |unit: &str| identity_with(vec![], &[(DnType::OrganizationalUnitName, unit)]);
    let named = |name: &str| identity_with(vec![], &[(DnType::CommonName, name)]);
    let pinned = pki().client("pinned");
    let other = pki().client("other");
    let spki = reseal::internals::spki_sha256(&pinned.chain()[0]).unwrap();
    let spki = spki
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    vec![
        (
            "{ dns: [\"*.ops.test\", build.test] }".to_owned(),
            vec![
                identity_with(vec![dns("a.ops.test")], &[]),
                identity_with(vec![dns("BUILD.test")], &[]),
                identity_with(vec![dns("x.test"), dns("b.ops.test")], &[]),
            ],
            vec![
                identity_with(vec![dns("ops.test")], &[]),
                identity_with(vec![dns("a.b.ops.test")], &[]),
                identity_with(vec![dns("*.ops.test")], &[]),
                identity_with(vec![dns("a.ops.test.evil.test")], &[]),
                identity_with(vec![uri("a.ops.test")], &[]),
                identity_with(vec![], &[(DnType::CommonName, "a.ops.test")]),
            ],
        ),
        (
            "{ uri: \"spiffe://example.com/ns/prod/*\" }".to_owned(),
            vec![identity_with(
                vec![uri("spiffe://example.com/ns/prod/web")],
                &[],
            )],
            vec![
                identity_with(vec![uri("spiffe://example.com/ns/prod")], &[]),
                identity_with(vec![uri("spiffe://example.com/ns/prod/")], &[]),
                identity_with(vec![uri("spiffe://example.com/ns/prod/web/root")], &[]),
                identity_with(vec![uri("spiffe://example.com/ns/prod/..")], &[]),
                identity_with(vec![uri("spiffe://example.com.evil/ns/prod/web")], &[]),
            ],
        ),
        (
            "{ email: ops@example.test }".to_owned(),
            vec![identity_with(vec![email("ops@Example.TEST")], &[])],
            vec![
                identity_with(vec![email("ops@example.test.evil")], &[]),
                identity_with(vec![email("OPS@example.test")], &[]),
                identity_with(vec![dns("ops.example.test")], &[]),
            ],
        ),
        (
            "{ ip: [10.1.0.0/16, \"2001:db8::1\"] }".to_owned(),
            vec![
                identity_with(vec![ip("10.1.2.3")], &[]),
                identity_with(vec![ip("2001:db8::1")], &[]),
            ],
            vec![
                identity_with(vec![ip("10.2.2.3")], &[]),
                identity_with(vec![ip("2001:db8::2")], &[]),
                identity_with(vec![dns("10-1-2-3.test")], &[]),
            ],
        ),
        (
            "{ common_name: [deployer, \"b.test\"] }".to_owned(),
            vec![named("deployer")],
            vec![
                named("Deployer"),
                named("deployer2"),
                named("deployer\0"),
                identity_with(vec![dns("b.test")], &[]),
                identity_with(
                    vec![],
                    &[(DnType::CustomDnType(vec![2, 5, 4, 4]), "deployer")],
                ),
            ],
        ),
        (
            "{ organizational_unit: platform }".to_owned(),
            vec![unit("platform")],
            vec![
                unit("platforms"),
                named("platform"),
                identity_with(vec![], &[(DnType::OrganizationName, "platform")]),
            ],
        ),
        (
            format!("{{ sha256: \"{}\" }}", fingerprint(&pinned.chain()[0])),
            vec![pinned.clone()],
            vec![other.clone()],
        ),
        (
            format!("{{ spki_sha256: {spki} }}"),
            vec![pinned],
            vec![other],
        ),
        (
            "[{ dns: a.test, common_name: deployer }, { organizational_unit: platform }]"
                .to_owned(),
            vec![
                unit("platform"),
                identity_with(vec![dns("a.test")], &[(DnType::CommonName, "deployer")]),
            ],
            vec![named("deployer"), identity_with(vec![dns("a.test")], &[])],
        ),
    ]
}

fn connect(client: Client) -> Result<(), End> {
    let stream = client.try_connect()?;
    let _ = stream.try_send(b"x");
    stream.end();
    match stream.receive_to_end() {
        (data, End::Clean) if data == b"x" => Ok(()),
        (_, end) => Err(end),
    }
}

#[test]
fn every_kind_of_rule_admits_matching_clients_and_rejects_others() {
    let origin = Origin::echo();
    let cases = cases();
    let mut draft = Proxy::builder();
    for (n, (rule, ..)) in cases.iter().enumerate() {
        draft = draft
            .terminate(&format!("{n}.test"), &origin)
            .on_route(&format!(
                "client_auth: {{ mode: required, ca: client-ca.pem, allow: {rule} }}"
            ));
    }
    let proxy = draft.start();
    let mut admitted = 0;
    for (n, (rule, good, bad)) in cases.iter().enumerate() {
        let client = |identity| proxy.client(&format!("{n}.test")).certificate(identity);
        for identity in good {
            for client in [client(identity).tls12(), client(identity).tls13()] {
                assert_eq!(connect(client), Ok(()), "{rule}");
                proxy.outcome().must_be("ok");
                admitted += 1;
            }
        }
        for (m, identity) in bad.iter().enumerate() {
            for client in [client(identity).tls12(), client(identity).tls13()] {
                assert_eq!(
                    connect(client),
                    Err(End::Alert(ACCESS_DENIED)),
                    "{rule} {m}"
                );
                let record = proxy.outcome();
                record
                    .must_be("client_cert_not_allowed")
                    .must_have("fault", "policy");
                assert!(
                    record.has("client_cert") && !record.has("origin"),
                    "{record:?}"
                );
            }
        }
    }
    assert_eq!(origin.accepts(), admitted);
}

#[test]
fn openssl_gets_the_alert_of_each_rejection() {
    let origin = Origin::echo();
    let clients = &pki().clients;
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_route(
            "client_auth: { mode: required, ca: client-ca.pem, crl: clients.crl, \
             allow: { common_name: alice } }",
        )
        .file(
            "clients.crl",
            crate::harness::List::of(&[4711]).pem(clients),
        )
        .start();
    let alice = || Leaf::client("alice");
    let address = proxy.listen_addr("edge").to_string();
    for (identity, reason, alert) in [
        (clients.issue(&alice().expired()), "client_cert_expired", 45),
        (
            clients.issue(&alice().early()),
            "client_cert_not_yet_valid",
            45,
        ),
        (
            clients.issue(&alice().serial(4711)),
            "client_cert_revoked",
            44,
        ),
        (pki().stranger.issue(&alice()), "client_cert_unknown_ca", 48),
        (
            clients.issue(&alice().for_servers()),
            "client_cert_wrong_usage",
            43,
        ),
        (
            pki().client("mallory"),
            "client_cert_not_allowed",
            ACCESS_DENIED,
        ),
    ] {
        let cert = proxy.directory().write("c.pem", &identity.cert);
        let key = proxy.directory().write("c.key", &identity.key);
        for version in ["-tls1_2", "-tls1_3"] {
            let said = crate::harness::output(
                "openssl",
                &[
                    "s_client",
                    "-connect",
                    &address,
                    "-servername",
                    "a.test",
                    version,
                    "-cert",
                    cert.to_str().unwrap(),
                    "-key",
                    key.to_str().unwrap(),
                    "-ign_eof",
                ],
                "",
            );
            said.must_print(&format!("SSL alert number {alert}"));
            proxy.outcome().must_be(reason);
        }
    }
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn rules_that_can_never_match_are_errors() {
    for (rule, about, words) in [
        ("[]", "[]", "admits no client"),
        ("{ dns: [] }", "[] }", "can never match"),
        ("{ dns: \"*ops.test\" }", "\"*ops", "wildcard"),
        ("{ dns: 10.0.0.1 }", "10.0.0.1", "IP address"),
        ("{ uri: example.com/x }", "example.com/x", "can never match"),
        ("{ uri: \"spiffe://a/x*\" }", "\"spiffe", "whole segment"),
        ("{ uri: \"urn:*\" }", "\"urn", "whole segment"),
        ("{ email: nobody }", "nobody", "not a mail address"),
        ("{ sha256: abcd }", "abcd", "not a SHA-256 digest"),
        (
            "{ spki_sha256: \"00:11\" }",
            "\"00:11",
            "not a SHA-256 digest",
        ),
    ] {
        let checked = ConfigCheck::new(&format!(
            "endpoints:\n\
             \x20 - name: edge\n\
             \x20   listen: 127.0.0.1:4430\n\
             \x20   tls:\n\
             \x20     certificates: [{{ cert: good.pem, key: good.key }}]\n\
             \x20   routes:\n\
             \x20     - name: a\n\
             \x20       mode: terminate\n\
             \x20       upstream: up\n\
             \x20       match: {{ sni: a.test }}\n\
             \x20       client_auth:\n\
             \x20         mode: required\n\
             \x20         ca: client-ca.pem\n\
             \x20         allow: {rule}\n\
             upstreams:\n\
             \x20 up: {{ origins: [\"127.0.0.1:9\"] }}\n"
        ));
        checked.must_report(about, &[words]);
    }
}
