//! Clients of the proxy.

use std::sync::Arc;

use rustls::client::{ClientSessionStore, Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, SignatureScheme, SupportedProtocolVersion, version};

use super::identity::{Identity, pki};
use super::{End, ListenAddr, Stream};

/// A builder of a TLS client.
#[derive(Clone)]
pub struct Client {
    place: ListenAddr,
    sni: String,
    sends_sni: bool,
    alpn: Vec<Vec<u8>>,
    versions: Vec<&'static SupportedProtocolVersion>,
    certificate: Option<Identity>,
    rsa_only: bool,
    sessions: Option<Arc<dyn ClientSessionStore>>,
    small_window: bool,
}

impl Client {
    /// A client that sends this name and verifies it.
    pub fn new(place: &ListenAddr, sni: &str) -> Self {
        Self {
            place: place.clone(),
            sni: sni.to_owned(),
            sends_sni: true,
            alpn: Vec::new(),
            versions: vec![&version::TLS13, &version::TLS12],
            certificate: None,
            rsa_only: false,
            sessions: None,
            small_window: false,
        }
    }

    /// Sends no server name, but still verifies it.
    pub fn without_sni(mut self) -> Self {
        self.sends_sni = false;
        self
    }

    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        self
    }

    pub fn tls12(self) -> Self {
        self.version(&version::TLS12)
    }

    pub fn tls13(self) -> Self {
        self.version(&version::TLS13)
    }

    pub fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    pub fn certificate(mut self, identity: &Identity) -> Self {
        self.certificate = Some(identity.clone());
        self
    }

    /// Accepts only RSA handshake signatures.
    pub fn rsa_only(mut self) -> Self {
        self.rsa_only = true;
        self
    }

    /// Stores its sessions here, to resume them.
    pub fn sessions(mut self, store: Arc<dyn ClientSessionStore>) -> Self {
        self.sessions = Some(store);
        self
    }

    /// Has a small receive buffer.
    pub fn small_window(mut self) -> Self {
        self.small_window = true;
        self
    }

    /// Connects. Fails the test if the connection is rejected.
    #[track_caller]
    pub fn connect(&self) -> Stream {
        match self.try_connect() {
            Ok(stream) => stream,
            Err(end) => panic!("the handshake for {} ended with {end:?}", self.sni),
        }
    }

    pub fn try_connect(&self) -> Result<Stream, End> {
        self.connect_with(&self.config(), &self.sni)
    }

    /// Connects and returns how the proxy ends a connection that it rejects. With TLS 1.3 a client
    /// completes its handshake before the server has verified its certificate.
    pub fn refusal(&self) -> End {
        match self.try_connect() {
            Ok(stream) => {
                let (data, end) = stream.receive_to_end();
                assert!(
                    data.is_empty(),
                    "{} bytes came before the refusal",
                    data.len()
                );
                end
            }
            Err(end) => end,
        }
    }

    /// Connects under another name with a configuration that other connections share, and with it
    /// their sessions.
    pub fn connect_with(&self, config: &Arc<ClientConfig>, sni: &str) -> Result<Stream, End> {
        let name = ServerName::try_from(sni.to_owned()).unwrap();
        let conn = ClientConnection::new(Arc::clone(config), name).unwrap();
        let mut stream = Stream::dial(&self.place).unwrap();
        if self.small_window {
            stream = stream.with_small_window();
        }
        stream.handshake(conn.into())
    }

    pub fn config(&self) -> Arc<ClientConfig> {
        let mut provider = aws_lc_rs::default_provider();
        if self.rsa_only {
            provider.signature_verification_algorithms = rsa_of(&provider);
        }
        let provider = Arc::new(provider);
        let verifier = WebPkiServerVerifier::builder_with_provider(
            pki().public_roots(),
            Arc::clone(&provider),
        )
        .build()
        .unwrap();
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_webpki_verifier(verifier);
        let mut config = match &self.certificate {
            Some(identity) => builder
                .with_client_auth_cert(identity.chain(), identity.private_key())
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.enable_sni = self.sends_sni;
        config.alpn_protocols.clone_from(&self.alpn);
        config.resumption = match &self.sessions {
            Some(store) => Resumption::store(Arc::clone(store)),
            None => Resumption::disabled(),
        };
        Arc::new(config)
    }
}

fn rsa_of(provider: &CryptoProvider) -> WebPkiSupportedAlgorithms {
    use SignatureScheme as S;
    let all = provider.signature_verification_algorithms;
    let is_rsa = |scheme: &SignatureScheme| {
        matches!(
            *scheme,
            S::RSA_PKCS1_SHA256
                | S::RSA_PKCS1_SHA384
                | S::RSA_PKCS1_SHA512
                | S::RSA_PSS_SHA256
                | S::RSA_PSS_SHA384
                | S::RSA_PSS_SHA512
        )
    };
    let mapping: Vec<_> = all
        .mapping
        .iter()
        .filter(|(scheme, _)| is_rsa(scheme))
        .copied()
        .collect();
    // The chain is still verified with all of them: our CAs sign with ECDSA.
    WebPkiSupportedAlgorithms {
        all: all.all,
        mapping: Box::leak(mapping.into_boxed_slice()),
    }
}
