//! Certificates, generated in every process that runs tests.

use std::sync::{Arc, OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};

use super::Directory;

/// A certificate chain and its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The chain in PEM, the leaf first.
    pub cert: String,
    /// The key in PEM.
    pub key: String,
}

impl Identity {
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.cert.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap()
    }

    /// Adds these CA certificates behind the chain.
    pub fn below(mut self, authorities: &[&Authority]) -> Self {
        for authority in authorities {
            self.cert += &authority.pem();
        }
        self
    }

    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

/// The contents of a leaf certificate.
pub struct Leaf {
    params: CertificateParams,
    rsa: bool,
}

impl Leaf {
    /// A server's certificate for these names or addresses, valid now.
    pub fn server(names: &[&str]) -> Self {
        Self::new(
            names,
            names.first().unwrap(),
            ExtendedKeyUsagePurpose::ServerAuth,
        )
    }

    /// A client's certificate, valid now.
    pub fn client(name: &str) -> Self {
        let san = format!("{name}.clients.test");
        Self::new(&[&san], name, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn new(sans: &[&str], common_name: &str, usage: ExtendedKeyUsagePurpose) -> Self {
        let sans: Vec<_> = sans.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(sans).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = OffsetDateTime::now_utc() - Duration::days(1);
        params.not_after = OffsetDateTime::now_utc() + Duration::days(90);
        Self { params, rsa: false }
    }

    /// Sets this common name, with any content.
    pub fn common_name(mut self, name: &str) -> Self {
        self.params.distinguished_name = rcgen::DistinguishedName::new();
        self.params
            .distinguished_name
            .push(DnType::CommonName, name);
        self
    }

    /// Adds this extension.
    pub fn extension(mut self, extension: rcgen::CustomExtension) -> Self {
        self.params.custom_extensions.push(extension);
        self
    }

    /// Makes it expired since yesterday.
    pub fn expired(mut self) -> Self {
        self.params.not_before = OffsetDateTime::now_utc() - Duration::days(30);
        self.params.not_after = OffsetDateTime::now_utc() - Duration::days(1);
        self
    }

    /// Makes it valid from tomorrow.
    pub fn early(mut self) -> Self {
        self.params.not_before = OffsetDateTime::now_utc() + Duration::days(1);
        self
    }

    /// Makes it valid for this many more days.
    pub fn for_days(mut self, days: i64) -> Self {
        self.params.not_after = OffsetDateTime::now_utc() + Duration::days(days);
        self
    }

    /// Makes it valid since this many days ago.
    pub fn since_days(mut self, days: i64) -> Self {
        self.params.not_before = OffsetDateTime::now_utc() - Duration::days(days);
        self
    }

    /// Makes it valid for this many more seconds.
    pub fn for_seconds(mut self, seconds: i64) -> Self {
        self.params.not_after = OffsetDateTime::now_utc() + Duration::seconds(seconds);
        self
    }

    /// Sets the usage of a server certificate.
    pub fn for_servers(mut self) -> Self {
        self.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self
    }

    /// Sets this serial number, for CRLs.
    pub fn serial(mut self, serial: u64) -> Self {
        self.params.serial_number = Some(serial.into());
        self
    }

    /// Changes other fields of the certificate.
    pub fn shaped(mut self, shape: impl FnOnce(&mut CertificateParams)) -> Self {
        shape(&mut self.params);
        self
    }

    /// Uses an RSA key; the default is ECDSA P-256.
    pub fn rsa(mut self) -> Self {
        self.rsa = true;
        self
    }
}

/// A CA.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new(name: &str) -> Self {
        Self::shaped(name, |_| {})
    }

    /// A CA whose certificate expired yesterday.
    pub fn expired(name: &str) -> Self {
        Self::shaped(name, |params| {
            params.not_before = OffsetDateTime::now_utc() - Duration::days(30);
            params.not_after = OffsetDateTime::now_utc() - Duration::days(1);
        })
    }

    /// A CA with other fields in its certificate.
    pub fn shaped(name: &str, shape: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = Self::params(name);
        shape(&mut params);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    /// An intermediate CA with this serial number, signed by this one.
    pub fn subordinate(&self, name: &str, serial: u64) -> Self {
        self.subordinate_shaped(name, |params| params.serial_number = Some(serial.into()))
    }

    /// An intermediate CA with other fields, signed by this one.
    pub fn subordinate_shaped(
        &self,
        name: &str,
        shape: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let mut params = Self::params(name);
        shape(&mut params);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::signed_by(params, key, &self.0).unwrap())
    }

    /// The same CA and key under this common name.
    pub fn under(&self, name: rcgen::DnValue) -> Self {
        let mut params = Self::params("");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::from_pem(&self.key_pem()).unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// A cross-certificate: for the key and name of this CA, signed by another one.
    pub fn cross_signed(&self, name: &str, by: &Self) -> String {
        let params = Self::params(name);
        params.signed_by(self.0.key(), &by.0).unwrap().pem()
    }

    /// Certificates of this many CAs with one key, with names of 200 characters.
    pub fn crowd(count: usize) -> String {
        let key = KeyPair::generate().unwrap();
        let certificates = (0..count).map(|n| {
            let params = Self::params(&format!("{n:0>200}"));
            params.self_signed(&key).unwrap().pem()
        });
        certificates.collect()
    }

    /// Its own key in PEM.
    pub fn key_pem(&self) -> String {
        self.0.key().serialize_pem()
    }

    pub fn issuer(&self) -> &CertifiedIssuer<'static, KeyPair> {
        &self.0
    }

    pub fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    /// Signs a CRL.
    pub fn revocation_list(&self, params: CertificateRevocationListParams) -> String {
        params.signed_by(&self.0).unwrap().pem().unwrap()
    }

    /// Signs a leaf with a new key.
    pub fn issue(&self, leaf: &Leaf) -> Identity {
        let key = if leaf.rsa {
            KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256)
        } else {
            KeyPair::generate()
        };
        let key = key.unwrap();
        let cert = leaf.params.signed_by(&key, &self.0).unwrap();
        Identity {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// The CAs of a test run, each trusted by a different party.
pub struct Pki {
    /// Signs endpoint certificates; clients trust it.
    pub edge: Authority,
    /// Signs origin certificates; the proxy trusts it, and clients of passthrough.
    pub origins: Authority,
    /// Signs client certificates, also those of the proxy.
    pub clients: Authority,
    /// Not trusted by any configuration.
    pub stranger: Authority,
}

static PKI: OnceLock<Pki> = OnceLock::new();

/// The CAs of this process.
pub fn pki() -> &'static Pki {
    PKI.get_or_init(|| Pki {
        edge: Authority::new("Edge CA"),
        origins: Authority::new("Origin CA"),
        clients: Authority::new("Client CA"),
        stranger: Authority::new("Stranger CA"),
    })
}

/// Writes the files of the CAs, if a configuration names one of them or the test has used one. The first key
/// of a process takes 40 ms, for the entropy of AWS-LC.
pub fn write_authorities(directory: &Directory, text: &str) {
    if PKI.get().is_some() || text.contains("-ca.pem") {
        for (name, contents) in pki().files() {
            // The test may have put something else there.
            if !directory.join(name).exists() {
                directory.write(name, contents);
            }
        }
    }
}

impl Pki {
    /// A certificate of an endpoint.
    pub fn edge(&self, names: &[&str]) -> Identity {
        self.edge.issue(&Leaf::server(names))
    }

    /// A certificate of an origin.
    pub fn origin(&self, names: &[&str]) -> Identity {
        self.origins.issue(&Leaf::server(names))
    }

    /// A valid client certificate.
    pub fn client(&self, name: &str) -> Identity {
        self.clients.issue(&Leaf::client(name))
    }

    /// A minimal server configuration with this certificate.
    pub fn server_config(&self, identity: &Identity) -> rustls::ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain(), identity.private_key())
            .unwrap()
    }

    /// The roots of a client: for endpoints, and for origins in passthrough.
    pub fn public_roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for authority in [&self.edge, &self.origins] {
            roots.add(authority.0.as_ref().der().clone()).unwrap();
        }
        Arc::new(roots)
    }

    /// The roots of an origin that requests client certificates.
    pub fn client_roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.clients.0.as_ref().der().clone()).unwrap();
        Arc::new(roots)
    }

    /// The files that every configuration of the harness may name.
    pub fn files(&self) -> [(&'static str, String); 4] {
        [
            ("edge-ca.pem", self.edge.pem()),
            ("origin-ca.pem", self.origins.pem()),
            ("client-ca.pem", self.clients.pem()),
            ("stranger-ca.pem", self.stranger.pem()),
        ]
    }
}
