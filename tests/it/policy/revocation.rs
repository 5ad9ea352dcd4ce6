//! CRLs for client certificates: revocation, and the handling of missing, expired and invalid CRLs.

mod dates;
mod fetched;
mod issuers;

use crate::harness::{
    Authority, Client, ConfigCheck, End, Identity, Leaf, List, Origin, Proxy, ProxyBuilder, Record,
    command, finish, pki,
};

const HANDSHAKE_FAILURE: u8 = 40;

const CERTIFICATE_REVOKED: u8 = 44;

const UNKNOWN_CA: u8 = 48;

const REVOKED: u64 = 4711;

fn alice() -> Identity {
    pki().client("alice")
}

fn revoked() -> Identity {
    let leaf = Leaf::client("mallory").serial(REVOKED);
    pki().clients.issue(&leaf)
}

/// A route that requires certificates, with these extra keys.
fn requiring(origin: &Origin, policy: &str) -> ProxyBuilder {
    Proxy::builder()
        .terminate("a.test", origin)
        .on_route(&format!("client_auth: {{ mode: required, {policy} }}"))
}

fn both(proxy: &Proxy, identity: &Identity) -> [Client; 2] {
    let client = proxy.client("a.test").certificate(identity);
    [client.clone().tls12(), client.tls13()]
}

#[track_caller]
fn must_admit(proxy: &Proxy, identity: &Identity) {
    for client in both(proxy, identity) {
        let stream = client.connect();
        stream.must_echo(b"let in");
        stream.end();
        assert_eq!(stream.receive_to_end(), (vec![], End::Clean));
        proxy.outcome_of(&stream).must_be("ok");
    }
}

#[track_caller]
fn must_reject(proxy: &Proxy, identity: &Identity, reason: &str, alert: u8) -> Record {
    let [tls12, tls13] = both(proxy, identity);
    assert_eq!(tls12.refusal(), End::Alert(alert), "{reason}");
    proxy.outcome().must_be(reason);
    assert_eq!(tls13.refusal(), End::Alert(alert), "{reason}");
    let record = proxy.outcome();
    record.must_be(reason).must_have("stage", "client_tls");
    assert!(
        record.has("client_cert") && !record.has("origin"),
        "{record:?}"
    );
    record
}

#[test]
fn crls_are_read_from_pem_der_and_several_files() {
    let origin = Origin::echo();
    let clients = List::of(&[REVOKED, 1, 2]);
    let strangers = List::of(&[3]).pem(&pki().stranger);
    let in_one = strangers.clone() + &clients.pem(&pki().clients);
    for crl in [
        "clients.pem",
        "clients.der",
        "[strangers.pem, clients.der]",
        "both.pem",
    ] {
        let proxy = requiring(&origin, &format!("ca: client-ca.pem, crl: {crl}"))
            .file("clients.pem", clients.pem(&pki().clients))
            .file("clients.der", clients.der(&pki().clients))
            .file("strangers.pem", &strangers)
            .file("both.pem", &in_one)
            .start();
        let record = must_reject(
            &proxy,
            &revoked(),
            "client_cert_revoked",
            CERTIFICATE_REVOKED,
        );
        record.must_have("fault", "client");
        assert_eq!(record["client_cert"]["subject"], "CN=mallory");
        // The result is the same on a second connection, and does not affect other clients.
        must_reject(
            &proxy,
            &revoked(),
            "client_cert_revoked",
            CERTIFICATE_REVOKED,
        );
        must_admit(&proxy, &alice());
    }
}

#[test]
fn a_revoked_optional_certificate_is_rejected() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_route("client_auth: { mode: optional, ca: client-ca.pem, crl: clients.crl }")
        .file("clients.crl", List::of(&[REVOKED]).pem(&pki().clients))
        .start();
    must_reject(
        &proxy,
        &revoked(),
        "client_cert_revoked",
        CERTIFICATE_REVOKED,
    );
    must_admit(&proxy, &alice());
}

#[test]
fn the_newest_crl_of_an_issuer_counts() {
    let origin = Origin::echo();
    let older = List::of(&[]).made_days_ago(2).number(1).pem(&pki().clients);
    let newer = List::of(&[REVOKED])
        .made_days_ago(1)
        .number(2)
        .pem(&pki().clients);
    for crl in ["[old.crl, new.crl]", "[new.crl, old.crl]", "both.crl"] {
        let proxy = requiring(&origin, &format!("ca: client-ca.pem, crl: {crl}"))
            .file("old.crl", &older)
            .file("new.crl", &newer)
            .file("both.crl", older.clone() + &newer)
            .start();
        must_reject(
            &proxy,
            &revoked(),
            "client_cert_revoked",
            CERTIFICATE_REVOKED,
        );
    }
    // A CRL of the same time with a higher number is newer, too, and may withdraw a revocation.
    let moment = List::of(&[REVOKED]).made_days_ago(1).number(9);
    let proxy = requiring(&origin, "ca: client-ca.pem, crl: [a.crl, b.crl]")
        .file(
            "a.crl",
            List::of(&[])
                .made_days_ago(1)
                .number(256)
                .pem(&pki().clients),
        )
        .file("b.crl", moment.pem(&pki().clients))
        .start();
    must_admit(&proxy, &revoked());
}

#[test]
fn an_issuer_without_a_crl_denies_unless_configured_otherwise() {
    let origin = Origin::echo();
    let list = List::of(&[REVOKED]).pem(&pki().clients);
    let of_stranger = pki().stranger.issue(&Leaf::client("bob"));
    let policy = "ca: [client-ca.pem, stranger-ca.pem], crl: a.crl";
    let proxy = requiring(&origin, policy).file("a.crl", &list).start();
    let record = must_reject(&proxy, &of_stranger, "client_cert_crl_unknown", UNKNOWN_CA);
    record.must_have("fault", "proxy");
    must_admit(&proxy, &alice());
    let proxy = requiring(&origin, &format!("{policy}, crl_unknown: allow"))
        .file("a.crl", &list)
        .start();
    must_admit(&proxy, &of_stranger);
    must_reject(
        &proxy,
        &revoked(),
        "client_cert_revoked",
        CERTIFICATE_REVOKED,
    );
}

#[test]
fn revocation_is_checked_for_the_chain_or_the_leaf_alone() {
    let origin = Origin::echo();
    let department = pki().clients.subordinate("Department CA", 99);
    let carol = department
        .issue(&Leaf::client("carol"))
        .below(&[&department]);
    let dismissed = department
        .issue(&Leaf::client("dave").serial(7))
        .below(&[&department]);
    let of_root = |revoked: &[u64]| List::of(revoked).pem(&pki().clients);
    let of_department = List::of(&[7]).pem(&department);
    let start = |policy: &str, root: &[u64]| {
        requiring(&origin, &format!("ca: client-ca.pem, {policy}"))
            .file("root.crl", of_root(root))
            .file("department.crl", &of_department)
            .start()
    };
    let proxy = start("crl: [root.crl, department.crl]", &[]);
    must_admit(&proxy, &carol);
    must_reject(
        &proxy,
        &dismissed,
        "client_cert_revoked",
        CERTIFICATE_REVOKED,
    );
    // The intermediate itself is revoked.
    let proxy = start("crl: [root.crl, department.crl]", &[99]);
    must_reject(&proxy, &carol, "client_cert_revoked", CERTIFICATE_REVOKED);
    let proxy = start("crl: [root.crl, department.crl], crl_scope: leaf", &[99]);
    must_admit(&proxy, &carol);
    must_reject(
        &proxy,
        &dismissed,
        "client_cert_revoked",
        CERTIFICATE_REVOKED,
    );
    // No CRL covers the intermediate or the certificates that it issued.
    let proxy = start("crl: root.crl", &[]);
    must_reject(&proxy, &carol, "client_cert_crl_unknown", UNKNOWN_CA);
    let proxy = start("crl: department.crl", &[]);
    must_reject(&proxy, &carol, "client_cert_crl_unknown", UNKNOWN_CA);
    let proxy = start("crl: department.crl, crl_scope: leaf", &[]);
    must_admit(&proxy, &carol);
}

#[test]
fn a_crl_signed_by_another_key_denies() {
    let origin = Origin::echo();
    let namesake = Authority::new("Client CA");
    let proxy = requiring(&origin, "ca: client-ca.pem, crl: a.crl")
        .file("a.crl", List::of(&[]).pem(&namesake))
        .start();
    let record = must_reject(&proxy, &alice(), "crl_invalid", HANDSHAKE_FAILURE);
    record.must_have("fault", "proxy");
}

/// A configuration with this client auth.
fn checked(policy: &str) -> ConfigCheck {
    ConfigCheck::new(&format!(
        "endpoints:\n\
         \x20 - name: edge\n\
         \x20   listen: 127.0.0.1:4430\n\
         \x20   tls:\n\
         \x20     certificates: [{{ cert: good.pem, key: good.key }}]\n\
         \x20     client_auth: {{ mode: required, {policy} }}\n\
         \x20   routes: [{{ name: a, mode: terminate, upstream: up, match: {{ sni: a.test }} }}]\n\
         upstreams:\n\
         \x20 up: {{ origins: [\"127.0.0.1:9\"] }}\n"
    ))
}

#[test]
fn check_names_crls_without_effect_and_cas_without_crls() {
    let clients = &pki().clients;
    let list = List::of(&[]);
    let with = |policy: &str, files: &[(&str, String)]| {
        let checked = checked(policy);
        files.iter().fold(checked, |checked, (name, contents)| {
            checked.with_file(name, contents, 0o644)
        })
    };
    let good = ("good.crl", list.pem(clients));
    with(
        "ca: client-ca.pem, crl: good.crl",
        std::slice::from_ref(&good),
    )
    .must_be_good();
    let older = ("older.crl", List::of(&[]).made_days_ago(3).pem(clients));
    with(
        "ca: client-ca.pem, crl: [good.crl, older.crl]",
        &[good.clone(), older],
    )
    .must_warn("[good.crl", &["older.crl", "CN=Client CA", "newer"]);
    let ended = ("ended.crl", List::of(&[]).expired().pem(clients));
    with("ca: client-ca.pem, crl: ended.crl", &[ended])
        .must_warn("ended.crl", &["expired on", "crl_expired: allow"]);
    let soon = List::of(&[]).made_days_ago(6).next_in_seconds(3600);
    let soon = ("soon.crl", soon.pem(clients));
    with("ca: client-ca.pem, crl: soon.crl", &[soon]).must_warn("soon.crl", &["expires soon"]);
    // One that is replaced every hour.
    let brief = List::of(&[]).next_in_seconds(3600);
    let brief = ("brief.crl", brief.pem(clients));
    with("ca: client-ca.pem, crl: brief.crl", &[brief]).must_be_good();
    with(
        "ca: [client-ca.pem, stranger-ca.pem], crl: good.crl",
        std::slice::from_ref(&good),
    )
    .must_warn(
        "[client-ca.pem",
        &[
            "CN=Stranger CA",
            "there is no revocation list of",
            "crl_unknown: allow",
        ],
    );
    let expired = ("expired-ca.pem", Authority::expired("Old CA").pem());
    with("ca: expired-ca.pem", &[expired]).must_warn(
        "expired-ca.pem",
        &["certificate 1 has expired", "still admits"],
    );
    with("ca: client-ca.pem, crl_expired: allow", &[])
        .must_warn("allow", &["`crl_expired` has no effect without `crl`"]);
}

#[test]
fn a_version_1_crl_is_rejected_with_a_fix() {
    // `openssl ca -gencrl` makes this by default.
    let checked = checked("ca: client-ca.pem, crl: v1.crl")
        .with_file("ca.key", pki().clients.key_pem(), 0o600)
        .with_file("index.txt", "", 0o644)
        .with_file(
            "ca.cnf",
            "[ca]\ndefault_ca = this\n[this]\ndatabase = index.txt\ndefault_md = sha256\n\
             default_crl_days = 3\n",
            0o644,
        );
    let mut openssl = command("openssl");
    openssl
        .args(["ca", "-gencrl", "-config", "ca.cnf", "-keyfile", "ca.key"])
        .args(["-cert", "client-ca.pem", "-out", "v1.crl"])
        .current_dir(checked.path().parent().unwrap());
    finish(openssl, b"").must_exit_with(0);
    checked.must_report("v1.crl", &["v1.crl", "version 2", "crl_extensions"]);
}
