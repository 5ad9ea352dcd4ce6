//! Another real CA: the PKI of OpenBao, whose ACME is of another family than Pebble's. It has names
//! validated at the ports 443 and 80 alone.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

use super::authority::{presented, state_files, trusting};
use crate::harness::{
    Authority, Directory, Leaf, NameServer, Origin, Proxy, ProxyBuilder, Service, curl, eventually,
};

/// A running OpenBao whose PKI speaks ACME.
struct Bao {
    directory: Directory,
    service: Service,
    token: String,
    /// The address of the proxy, with the ports that it validates at.
    address: Ipv4Addr,
    names: NameServer,
}

impl Bao {
    /// `None`, with a message, where it is not installed.
    fn start(names: &[&str]) -> Option<Self> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/openbao/bin/bao");
        if !program.is_file() {
            println!(
                "skipped: {} is missing; scripts/test.sh makes it",
                program.display()
            );
            return None;
        }
        let directory = Directory::new();
        let authority = Authority::new("CA of the directory");
        let identity = authority.issue(&Leaf::server(&["127.0.0.1"]));
        directory.write("directory-ca.pem", authority.pem());
        directory.write("directory.pem", &identity.cert);
        directory.write("directory.key", &identity.key);
        let root = directory.path().display().to_string();
        let service = Service::start(|port| {
            let text = format!(
                "storage \"inmem\" {{}}\napi_addr = \"https://127.0.0.1:{port}\"\n\
                 listener \"tcp\" {{\n\
                 address = \"127.0.0.1:{port}\"\n\
                 cluster_address = \"127.0.0.1:0\"\n\
                 tls_cert_file = \"{root}/directory.pem\"\n\
                 tls_key_file = \"{root}/directory.key\"\n}}\n"
            );
            let file = directory.write("bao.hcl", text);
            let mut command = Command::new(&program);
            command.arg("server").arg("-config").arg(file);
            command
        });
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let mut bao = Self {
            directory,
            service,
            token: String::new(),
            address: Ipv4Addr::new(127, 80, high, low.max(1)),
            names: NameServer::new(),
        };
        for name in names {
            bao.names.addresses(name, &[(bao.address, 1).into()]);
        }
        bao.unseal();
        bao.prepare();
        Some(bao)
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}/v1/{path}", self.service.port())
    }

    fn vouching(&self) -> String {
        let file = self.directory.join("directory-ca.pem");
        file.display().to_string()
    }

    /// What it answers to this request.
    #[track_caller]
    fn ask(&self, path: &str, body: &Value) -> Value {
        let (ca, url, token) = (
            self.vouching(),
            self.url(path),
            format!("X-Vault-Token: {}", self.token),
        );
        let body = body.to_string();
        let answer = curl(&["--cacert", &ca, "-H", &token, "-d", &body, &url]);
        assert!(
            matches!(answer.status, 200 | 204),
            "{path}: {} {}",
            answer.status,
            answer.body
        );
        serde_json::from_str(&answer.body).unwrap_or_default()
    }

    fn unseal(&mut self) {
        let keys = self.ask(
            "sys/init",
            &json!({ "secret_shares": 1, "secret_threshold": 1 }),
        );
        self.ask("sys/unseal", &json!({ "key": keys["keys"][0] }));
        keys["root_token"]
            .as_str()
            .unwrap()
            .clone_into(&mut self.token);
        let (ca, url) = (self.vouching(), self.url("sys/health"));
        eventually("it is active", || {
            curl(&["--cacert", &ca, &url]).status == 200
        });
    }

    /// Mounts the PKI, and has it speak ACME.
    fn prepare(&self) {
        let headers = ["Last-Modified", "Location", "Replay-Nonce", "Link"];
        let config = json!({ "max_lease_ttl": "8760h", "allowed_response_headers": headers });
        self.ask(
            "sys/mounts/pki",
            &json!({ "type": "pki", "config": config }),
        );
        let root = json!({ "common_name": "root of OpenBao", "ttl": "8760h", "key_type": "ec" });
        let root = self.ask("pki/root/generate/internal", &root);
        let pem = root["data"]["certificate"].as_str().unwrap();
        self.directory.write("root.pem", pem);
        self.ask("pki/config/cluster", &json!({ "path": self.url("pki") }));
        self.speak_acme("not-required");
    }

    /// Has it speak ACME, with this policy about accounts outside of it.
    fn speak_acme(&self, policy: &str) {
        let resolv_conf = self.names.resolv_conf();
        let mut words = resolv_conf.split_whitespace();
        let resolver = format!("{}:53", words.nth(1).unwrap());
        self.ask(
            "pki/config/acme",
            &json!({ "enabled": true, "dns_resolver": resolver, "eab_policy": policy }),
        );
    }

    /// A proxy with the issuer `bao`, and an endpoint where it has names validated. Routes are to be added.
    fn proxy(&self, more: &str) -> ProxyBuilder {
        let (url, ca) = (self.url("pki/acme/directory"), self.vouching());
        Proxy::builder()
            .top(&format!(
                "acme: {{ bao: {{ directory: \"{url}\", ca: {ca}, state: state{more} }} }}"
            ))
            .admin()
            .endpoint("edge", "tls")
            .listen(&format!("{}:443", self.address))
    }

    fn client_config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_file(self.directory.join("root.pem"));
        roots.add(root.unwrap()).unwrap();
        trusting(roots)
    }
}

#[test]
fn openbao_issues_and_renews_a_certificate_for_several_names() {
    let Some(bao) = Bao::start(&["a.test", "b.test"]) else {
        return;
    };
    let origin = Origin::echo();
    // Its certificates last for 768 hours, so this one is due at once.
    let proxy = bao
        .proxy(", renew: 768h")
        .route("terminate", "a.test", &origin)
        .route("terminate", "b.test", &origin)
        .with_certificate("{ acme: bao, names: [a.test, b.test] }")
        .start();
    let (place, config) = (proxy.listen_addr("edge"), bao.client_config());
    let first = presented(place, "a.test", &config, &[]);
    assert_eq!(presented(place, "b.test", &config, &[]), first);
    let client = crate::harness::Client::new(place, "a.test");
    let before = client.connect_with(&config, "a.test").unwrap();
    before.must_echo(b"before");
    presented(place, "a.test", &config, &first);
    before.must_echo(b"after");
}

#[test]
fn openbao_issues_for_an_address_to_an_account_that_it_has_been_told_of() {
    let Some(bao) = Bao::start(&[]) else {
        return;
    };
    bao.speak_acme("always-required");
    let key = bao.ask("pki/acme/new-eab", &json!({}));
    let (id, key) = (&key["data"]["id"], &key["data"]["key"]);
    let origin = Origin::echo();
    let address = bao.address.to_string();
    // It validates addresses by HTTP alone.
    let proxy = bao
        .proxy(&format!(
            ", challenge: http-01, http: \"{address}:80\", eab: {{ key_id: {id}, key_file: eab.key }}"
        ))
        .file("eab.key", key.as_str().unwrap())
        .on_endpoint("default_route: { route: app, certificate: own }")
        .route("terminate", "app.test", &origin)
        .named("app")
        .certificate_for(&["app.test"])
        .with_certificate(&format!("{{ name: own, acme: bao, names: [{address}] }}"))
        .start();
    let config = bao.client_config();
    presented(proxy.listen_addr("edge"), &address, &config, &[]);
    let accounts = state_files(&proxy);
    let is_account = |name: &&String| name.starts_with("bao-account-");
    assert_eq!(accounts.iter().filter(is_account).count(), 1);
}
