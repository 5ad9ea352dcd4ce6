//! OpenBao as a CA: what it publishes about revocation reaches Reseal.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::pypi::python;
use crate::harness::{
    Directory, End, Identity, Origin, Proxy, Response, Service, curl, eventually, output,
};

pub const TOKEN: &str = "root-token-of-a-test";

/// A running OpenBao with everything in memory.
pub struct OpenBao {
    directory: Directory,
    service: Service,
    scheme: &'static str,
}

impl OpenBao {
    /// One with a CA at `pki` that issues certificates for clients and servers by the role `any`; `None`
    /// where it is not installed.
    pub fn start() -> Option<Self> {
        Self::start_as("http", &[])
    }

    /// The same behind TLS.
    pub fn start_with_tls() -> Option<Self> {
        Self::start_as("https", &["-dev-tls", "-dev-tls-cert-dir=."])
    }

    fn start_as(scheme: &'static str, more: &[&str]) -> Option<Self> {
        let program = python("openbao")?.with_file_name("bao");
        let directory = Directory::new();
        let service = Service::start(|port| {
            let listen = format!("-dev-listen-address=127.0.0.1:{port}");
            let token = format!("-dev-root-token-id={TOKEN}");
            let mut command = Command::new(&program);
            command
                .args(["server", "-dev", "-dev-no-store-token", &listen, &token])
                .args(more)
                .env("HOME", directory.path())
                .current_dir(directory.path());
            command
        });
        let bao = Self {
            directory,
            service,
            scheme,
        };
        eventually("it is active", || {
            bao.request("sys/health", &[]).status == 200
        });
        bao.prepare();
        Some(bao)
    }

    fn prepare(&self) {
        let lives = json!({ "type": "pki", "config": { "max_lease_ttl": "87600h" } });
        self.ask("sys/mounts/pki", &lives);
        let url = |path: &str| format!("{}/v1/pki/{path}", self.url());
        let urls = json!({ "crl_distribution_points": url("crl"), "ocsp_servers": url("ocsp") });
        self.ask("pki/config/urls", &urls);
        let root = json!({ "common_name": "OpenBao CA", "key_type": "ec", "ttl": "8760h" });
        self.ask("pki/root/generate/internal", &root);
        let role = json!({
            "allow_any_name": true,
            "enforce_hostnames": false,
            "allowed_uri_sans": "spiffe://*",
            "key_type": "ec",
            "max_ttl": "72h",
            "not_before_duration": "1s",
        });
        self.ask("pki/roles/any", &role);
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.service)
    }

    fn request(&self, path: &str, more: &[&str]) -> Response {
        let (token, url) = (
            format!("X-Vault-Token: {TOKEN}"),
            format!("{}/v1/{path}", self.url()),
        );
        curl(&[&["--insecure", "-H", &token, &url][..], more].concat())
    }

    /// The data of its answer to a request for something.
    #[track_caller]
    pub fn read(&self, path: &str) -> Value {
        data(&self.request(path, &[]))
    }

    /// The data of its answer to a request that changes something.
    #[track_caller]
    pub fn ask(&self, path: &str, body: &Value) -> Value {
        data(&self.request(path, &["-d", &body.to_string()]))
    }

    /// The certificate of its CA in PEM.
    pub fn authority(&self) -> String {
        let answer = self.read("pki/cert/ca");
        answer["certificate"].as_str().unwrap().to_owned()
    }

    /// The CA of its own server in PEM, if it has TLS.
    pub fn server_authority(&self) -> String {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let mut files = entries.map(|entry| entry.unwrap().path());
        let is_authority = |file: &Path| file.to_string_lossy().ends_with("-ca.pem");
        let file = files.find(|file| is_authority(file)).unwrap();
        std::fs::read_to_string(file).unwrap()
    }

    /// Makes a policy `issuing` that lets its owner have certificates issued and revoked.
    pub fn allow_issuing(&self) {
        let rules = "path \"pki/issue/any\" { capabilities = [\"update\"] }\n\
            path \"pki/revoke\" { capabilities = [\"update\"] }\n";
        self.ask("sys/policies/acl/issuing", &json!({ "policy": rules }));
    }

    /// A certificate with the issuer behind it, its key, and its serial number.
    pub fn issue(&self, name: &str) -> (Identity, String) {
        let wanted = json!({
            "common_name": name,
            "ttl": "24h",
            "private_key_format": "pkcs8",
        });
        let answer = self.ask("pki/issue/any", &wanted);
        let of = |key: &str| answer[key].as_str().unwrap().to_owned();
        let identity = Identity {
            cert: format!("{}\n{}\n", of("certificate"), of("issuing_ca")),
            key: of("private_key"),
        };
        (identity, of("serial_number"))
    }

    /// Revokes a certificate.
    pub fn revoke(&self, serial: &str) {
        self.ask("pki/revoke", &json!({ "serial_number": serial }));
    }
}

#[track_caller]
fn data(answer: &Response) -> Value {
    assert!(
        matches!(answer.status, 200 | 204),
        "{}: {}",
        answer.status,
        answer.body
    );
    let answer: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    answer["data"].clone()
}

#[test]
fn a_client_that_is_revoked_at_openbao_loses_its_live_connection() {
    let Some(bao) = OpenBao::start() else {
        return;
    };
    let (alice, serial) = bao.issue("alice");
    let (bob, _) = bao.issue("bob");
    let crl = format!(
        "[{{ url: \"{}/v1/pki/crl\", every: 1s, state: lists }}]",
        bao.url()
    );
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_route(&format!(
            "client_auth: {{ mode: required, ca: bao.pem, crl: {crl} }}"
        ))
        .file("bao.pem", bao.authority())
        .admin()
        .start();
    let client = |identity: &Identity| proxy.client("a.test").certificate(identity);
    eventually("the list is there", || {
        client(&bob).tls12().try_connect().is_ok()
    });
    let (alices, bobs) = (client(&alice).connect(), client(&bob).connect());
    alices.must_echo(b"good until now");
    bao.revoke(&serial);
    assert_eq!(alices.receive_to_end().1, End::Reset);
    let record = proxy.outcome_of(&alices);
    record
        .must_be("client_cert_revoked")
        .must_have("after", "relay");
    bobs.must_echo(b"still good");
    assert_eq!(client(&alice).refusal(), End::Alert(44));
}

#[test]
fn the_status_that_openbao_signs_is_stapled() {
    let Some(bao) = OpenBao::start() else {
        return;
    };
    let (web, serial) = bao.issue("a.test");
    let origin = Origin::echo();
    let ocsp = format!(
        "{{ url: \"{}/v1/pki/ocsp\", every: 1s, state: staples }}",
        bao.url()
    );
    let proxy = Proxy::builder()
        .endpoint("edge", "tls")
        .route("terminate", "a.test", &origin)
        .on_tls("resumption: off")
        .file("web.pem", &web.cert)
        .file("web.key", &web.key)
        .file("bao.pem", bao.authority())
        .with_certificate(&format!("{{ cert: web.pem, key: web.key, ocsp: {ocsp} }}"))
        .admin()
        .start();
    let address = proxy.listen_addr("edge").to_string();
    let ca = proxy.directory().join("bao.pem").display().to_string();
    let seen = || {
        let to = ["s_client", "-connect", &address, "-servername", "a.test"];
        let how = ["-CAfile", &ca, "-status"];
        output("openssl", &[&to[..], &how].concat(), "").text()
    };
    eventually("it is stapled", || {
        let seen = seen();
        seen.contains("Cert Status: good") && seen.contains("Verify return code: 0")
    });
    bao.revoke(&serial);
    eventually("it is told", || {
        let listed = proxy.ctl_json(&["certificates"]);
        let error = listed["fetched"][0]["last_error"].as_str();
        error.is_some_and(|error| error.contains("revoked"))
    });
}
