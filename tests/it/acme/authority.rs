//! A real CA: Pebble, which Let's Encrypt tests its clients with.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;

use crate::harness::{
    Authority, Client, Directory, End, Leaf, ListenAddr, NameServer, Port, Proxy, ProxyBuilder,
    Record, Service, Stream, command, curl, eventually,
};

/// What a test wants of the CA.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// The life of its certificates, in seconds.
    pub life: u64,
    /// Whether it demands an account outside of ACME: the identifier of the key, and the key in base64url.
    pub external: Option<(&'static str, &'static str)>,
    /// How many nonces of a hundred it refuses: orders fail by that now and then, and are repeated.
    pub refused_nonces: u8,
}

impl Wishes {
    /// It refuses no nonce, for tests of a single order.
    pub fn single() -> Self {
        Self {
            refused_nonces: 0,
            ..Self::default()
        }
    }
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            life: 90 * 24 * 3600,
            external: None,
            refused_nonces: 20,
        }
    }
}

/// A CA, the name server that it asks, and the port at which it expects validations to be answered.
pub struct Ca {
    directory: Directory,
    listen: Port,
    management: Port,
    answers: Port,
    plain: Port,
    /// Where it looks for answers instead.
    elsewhere: Option<u16>,
    /// The name server that it asks instead of `names`.
    resolver: Option<SocketAddr>,
    names: Arc<NameServer>,
    wishes: Wishes,
    service: Option<Service>,
}

impl Ca {
    /// A CA that does not run yet.
    pub fn prepare(wishes: Wishes) -> Self {
        let directory = Directory::new();
        let authority = Authority::new("CA of the directory");
        let identity = authority.issue(&Leaf::server(&["127.0.0.1", "localhost"]));
        directory.write("directory-ca.pem", authority.pem());
        directory.write("directory.pem", &identity.cert);
        directory.write("directory.key", &identity.key);
        let names = NameServer::new();
        Self {
            directory,
            listen: Port::reserve(),
            management: Port::reserve(),
            answers: Port::reserve(),
            plain: Port::reserve(),
            elsewhere: None,
            resolver: None,
            names: Arc::new(names),
            wishes,
            service: None,
        }
    }

    /// A CA that runs, which finds these names at the proxy.
    pub fn start(names: &[&str]) -> Self {
        let mut ca = Self::prepare(Wishes::default());
        ca.run();
        ca.names_lead_here(names);
        ca
    }

    /// Has the CA find the proxy under these names.
    pub fn names_lead_here(&self, names: &[&str]) {
        for name in names {
            self.names
                .addresses(name, &[SocketAddr::from(([127, 0, 0, 1], 1))]);
        }
    }

    /// Has the CA look for answers to its validations at this port.
    pub fn answers_elsewhere(&mut self, port: u16) {
        self.elsewhere = Some(port);
    }

    /// Has the CA ask this name server.
    pub fn asks(&mut self, resolver: SocketAddr) {
        self.resolver = Some(resolver);
    }

    /// Starts the CA.
    pub fn run(&mut self) {
        let (kid, key) = self.wishes.external.unwrap_or(("none", "bm9uZQ"));
        let file = |name: &str| self.directory.join(name).display().to_string();
        let config = json!({ "pebble": {
            "listenAddress": self.listen.address().to_string(),
            "managementListenAddress": self.management.address().to_string(),
            "certificate": file("directory.pem"),
            "privateKey": file("directory.key"),
            "httpPort": self.plain.number(),
            "tlsPort": self.elsewhere.unwrap_or_else(|| self.answers.number()),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": self.wishes.external.is_some(),
            "externalAccountMACKeys": { kid: key },
            "certificateValidityPeriod": self.wishes.life,
        } });
        let config = self.directory.write("pebble.json", config.to_string());
        let dns = self.names.resolv_conf();
        let dns = dns.split_whitespace().nth(1).unwrap();
        let dns = self
            .resolver
            .map_or_else(|| format!("{dns}:53"), |server| server.to_string());
        let make = || -> Command {
            let mut pebble = command("pebble");
            pebble
                .args(["-strict", "-dnsserver", &dns, "-config"])
                .arg(&config)
                // Validations begin at once.
                .env("PEBBLE_VA_NOSLEEP", "1")
                .env(
                    "PEBBLE_WFE_NONCEREJECT",
                    self.wishes.refused_nonces.to_string(),
                );
            pebble
        };
        self.service = Some(Service::start_at(&self.listen, make));
    }

    /// Stops the CA.
    pub fn stop(&mut self) {
        self.service = None;
    }

    /// The URL of its directory.
    pub fn url(&self) -> String {
        format!("https://{}/dir", self.listen.address())
    }

    /// The file of the CA that vouches for the directory.
    pub fn vouching(&self) -> String {
        self.directory
            .join("directory-ca.pem")
            .display()
            .to_string()
    }

    /// The port of 127.0.0.1 at which it has names validated.
    pub fn answers(&self) -> u16 {
        self.answers.number()
    }

    /// The address at which it has names validated by HTTP.
    pub fn plain(&self) -> SocketAddr {
        self.plain.address()
    }

    /// The root of the certificates that it issues.
    pub fn roots(&self) -> RootCertStore {
        let url = format!("https://{}/roots/0", self.management.address());
        let answer = curl(&["-k", &url]);
        let root = CertificateDer::from_pem_slice(answer.must_be(200).body.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(root).unwrap();
        roots
    }

    /// A configuration of clients that trust it.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        trusting(self.roots())
    }

    /// A connection of a client that trusts it.
    pub fn connect(&self, place: &ListenAddr, sni: &str) -> Result<Stream, End> {
        Client::new(place, sni).connect_with(&self.client_config(), sni)
    }

    /// Waits until the proxy presents a certificate of this CA for the name, and returns it.
    #[track_caller]
    pub fn wait_for_certificate(&self, proxy: &Proxy, sni: &str) -> Vec<u8> {
        self.wait_for_another(proxy, sni, &[])
    }

    /// Waits until the proxy presents another certificate than this one.
    #[track_caller]
    pub fn wait_for_another(&self, proxy: &Proxy, sni: &str, before: &[u8]) -> Vec<u8> {
        presented(
            proxy.listen_addr("edge"),
            sni,
            &self.client_config(),
            before,
        )
    }

    /// The issuer `pebble`, whose state is in the directory `state` beside the configuration.
    pub fn issuer(&self, more: &str) -> String {
        let (url, ca) = (self.url(), self.vouching());
        format!("acme: {{ pebble: {{ directory: \"{url}\", ca: {ca}, state: state{more} }} }}")
    }

    /// A proxy with this issuer and an endpoint where it has names validated. Routes are to be added.
    pub fn proxy(&self, more: &str) -> ProxyBuilder {
        Proxy::builder()
            .top(&self.issuer(more))
            .admin()
            .endpoint("edge", "tls")
            .listen(&format!("127.0.0.1:{}", self.answers()))
    }
}

/// A configuration of clients that trust these CAs, with a whole handshake each time.
pub fn trusting(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Waits until these clients are presented another certificate than this one, and returns it.
#[track_caller]
pub fn presented(
    place: &ListenAddr,
    sni: &str,
    config: &Arc<ClientConfig>,
    before: &[u8],
) -> Vec<u8> {
    let client = Client::new(place, sni);
    let mut found = None;
    eventually("a certificate is presented", || {
        let stream = client.connect_with(config, sni);
        found = stream.ok().and_then(|stream| stream.peer_certificate());
        found.as_deref().is_some_and(|found| found != before)
    });
    found.unwrap()
}

/// The records that a proxy has written.
pub fn records(proxy: &Proxy) -> Vec<Record> {
    let lines = proxy.records_left();
    let records = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok());
    records.map(Record).collect()
}

/// The files of the state of a proxy, by name.
pub fn state_files(proxy: &Proxy) -> Vec<String> {
    let entries = std::fs::read_dir(proxy.directory().join("state")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}
