//! Client certificates that a PKI engine of OpenBao issues for Reseal.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rustix::process::Signal;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::openbao::{OpenBao, TOKEN};
use crate::harness::{End, Origin, Proxy, ProxyBuilder, eventually, pki};

/// An origin that demands a client certificate of the CA of OpenBao.
fn demanding(bao: &OpenBao) -> Origin {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(bao.authority().as_bytes()).unwrap();
    roots.add(authority).unwrap();
    let origin = Origin::with_tls();
    origin.requiring_certificate_of(Arc::new(roots)).echo()
}

/// A route to such an origin, whose certificate is issued by this way to log in.
fn identified(
    bao: &OpenBao,
    origin: &Origin,
    address: &str,
    auth: &str,
    ttl: &str,
) -> ProxyBuilder {
    let vault = format!(
        "vault: {{ bao: {{ address: \"{address}\", role: any, state: identities, auth: {auth} }} }}"
    );
    let own = format!("{{ vault: bao, names: [proxy.test, \"spiffe://test/proxy\"], ttl: {ttl} }}");
    Proxy::builder()
        .top(&vault)
        .reencrypt("a.test", origin)
        .origin_tls(&format!(
            "{{ ca: origin-ca.pem, server_name: origin.test, client_certificate: {own} }}"
        ))
        .file("token", TOKEN)
        .file("bao.pem", bao.authority())
        .admin()
}

fn managed(proxy: &Proxy) -> Value {
    proxy.ctl_json(&["certificates"])["managed"][0].clone()
}

fn wait_until_served(proxy: &Proxy) {
    eventually("the certificate is there", || {
        managed(proxy)["state"] == "served"
    });
}

#[test]
fn a_client_certificate_is_issued_renewed_and_revoked_at_the_end() {
    let Some(bao) = OpenBao::start() else {
        return;
    };
    let origin = demanding(&bao);
    let mut proxy = identified(&bao, &origin, &bao.url(), "{ token_file: token }", "9s")
        .top("process: { sandbox: required }")
        .start();
    wait_until_served(&proxy);
    let stream = proxy.client("a.test").connect();
    stream.must_echo(b"known to the origin");
    let first = managed(&proxy)["not_after"].clone();
    eventually("it is renewed", || managed(&proxy)["not_after"] != first);
    proxy.client("a.test").connect().must_echo(b"still known");
    drop(stream);
    let file = managed(&proxy)["file"].as_str().unwrap().to_owned();
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let pem = std::fs::read(&file).unwrap();
    let leaf = CertificateDer::from_pem_slice(&pem).unwrap();
    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
    let serial = leaf.raw_serial_as_string();
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit_code(), 0);
    let revoked = bao.read(&format!("pki/cert/{serial}"));
    assert_ne!(revoked["revocation_time"], 0, "{revoked}");
    assert!(!Path::new(&file).exists());
}

#[test]
fn before_the_first_client_certificate_no_origin_is_dialled_and_the_answer_is_told() {
    let Some(bao) = OpenBao::start() else {
        return;
    };
    let origin = demanding(&bao);
    let proxy = identified(&bao, &origin, &bao.url(), "{ token_file: wrong }", "1h")
        .file("wrong", "no-such-token\n")
        .start();
    eventually("it is told", || {
        let error = managed(&proxy)["last_error"].clone();
        error.as_str().is_some_and(|error| error.contains("403"))
    });
    let refused = proxy.client("a.test").refusal();
    assert!(
        matches!(refused, End::Alert(80) | End::Reset),
        "{refused:?}"
    );
    let record = proxy.outcome();
    record
        .must_be("certificate_pending")
        .must_have("fault", "proxy");
    assert_eq!(record.number("bytes_up"), 0);
    assert_eq!(managed(&proxy)["state"], "certificate_pending");
    let log = proxy.log().join("\n");
    assert!(!log.contains("no-such-token"), "{log}");
    // An agent renews the token.
    proxy.directory().write("wrong", TOKEN);
    wait_until_served(&proxy);
    proxy.client("a.test").connect().must_echo(b"let in");
}

#[test]
fn reseal_logs_in_by_approle() {
    let Some(bao) = OpenBao::start() else {
        return;
    };
    let origin = demanding(&bao);
    bao.allow_issuing();
    bao.ask("sys/auth/approle", &json!({ "type": "approle" }));
    let role = json!({ "token_policies": "issuing" });
    bao.ask("auth/approle/role/proxy", &role);
    let role = bao.read("auth/approle/role/proxy/role-id");
    let secret = bao.ask("auth/approle/role/proxy/secret-id", &json!({}));
    let auth = format!(
        "{{ approle: {{ role_id: {}, secret_id_file: secret }} }}",
        role["role_id"].as_str().unwrap()
    );
    let proxy = identified(&bao, &origin, &bao.url(), &auth, "1h")
        .file("secret", secret["secret_id"].as_str().unwrap())
        .start();
    wait_until_served(&proxy);
    proxy.client("a.test").connect().must_echo(b"let in");
}

#[test]
fn reseal_logs_in_by_its_certificate() {
    let Some(bao) = OpenBao::start_with_tls() else {
        return;
    };
    let origin = demanding(&bao);
    bao.allow_issuing();
    bao.ask("sys/auth/cert", &json!({ "type": "cert" }));
    let machine = pki().client("machine");
    let entry = json!({ "certificate": pki().clients.pem(), "token_policies": "issuing" });
    bao.ask("auth/cert/certs/proxy", &entry);
    let auth = "{ cert: machine.pem, key: machine.key }";
    let address = format!("{}\", ca: \"server-ca.pem", bao.url());
    let proxy = identified(&bao, &origin, &address, auth, "1h")
        .file("machine.pem", &machine.cert)
        .file("machine.key", &machine.key)
        .file("server-ca.pem", bao.server_authority())
        .start();
    wait_until_served(&proxy);
    proxy.client("a.test").connect().must_echo(b"let in");
}
