//! Clients that send server names in forms that no TLS library sends, and still complete handshakes.
//!
//! rustls writes a valid name into its hello. On the wire, and wherever the hello is hashed or signed, that
//! name is replaced by the form that a test needs; both have the same length.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::hash::{Context, Hash, HashAlgorithm, Output};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureAlgorithm,
    SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion, Tls12CipherSuite,
    Tls13CipherSuite,
};

use super::{End, Identity, ListenAddr, Stream, pki};

/// A server name as sent on the wire; `None` sends no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireName(pub Option<&'static str>);

impl WireName {
    /// The name given to rustls: one of the same length that no test uses.
    fn stand_in(self) -> String {
        "q".repeat(self.0.map_or(8, str::len))
    }
}

/// How a hello is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragmentation {
    /// In one record, in one write.
    Whole,
    /// In one record, in writes of this many bytes.
    Segments(usize),
    /// In records of this many bytes.
    Records(usize),
}

/// A client whose configuration has no session store of its own; each connection gets one.
#[derive(Clone)]
pub struct WireClient(ClientConfig);

impl WireClient {
    /// A client that trusts endpoints, whatever their certificate's name, and presents this certificate.
    pub fn new(version: &'static SupportedProtocolVersion, certificate: Option<&Identity>) -> Self {
        let provider = Arc::new(provider());
        let webpki = WebPkiServerVerifier::builder_with_provider(
            pki().public_roots(),
            Arc::clone(&provider),
        );
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyName(webpki.build().unwrap())));
        let mut config = match certificate {
            Some(identity) => {
                let key = provider
                    .key_provider
                    .load_private_key(identity.private_key());
                let key: Arc<dyn SigningKey> = Arc::new(Renaming(key.unwrap()));
                let certified = CertifiedKey::new(identity.chain(), key);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Self(config)
    }

    /// The same client, with a session store.
    pub fn with_session_store(&self, sessions: Resumption) -> Self {
        let mut config = self.0.clone();
        config.resumption = sessions;
        Self(config)
    }

    /// Connects. Returns the local address and the result of the handshake.
    pub fn connect(
        &self,
        place: &ListenAddr,
        name: WireName,
        fragmentation: Fragmentation,
    ) -> (std::net::SocketAddr, Result<Stream, End>) {
        let stand_in = name.stand_in();
        let mut config = self.0.clone();
        config.enable_sni = name.0.is_some();
        let wire = name.0.unwrap_or(&stand_in).as_bytes().to_vec();
        REPLACED.set((stand_in.clone().into_bytes(), wire));
        let server = ServerName::try_from(stand_in).unwrap();
        let mut conn = ClientConnection::new(Arc::new(config), server).unwrap();
        let mut hello = Vec::new();
        while conn.wants_write() {
            conn.write_tls(&mut hello).unwrap();
        }
        let hello = renamed(&hello);
        let stream = Stream::dial(place).unwrap();
        let address = stream.local();
        for piece in pieces(&hello, fragmentation) {
            // If the client is rejected while it still writes, its next read reports it.
            if stream.write_raw(&piece).is_err() {
                break;
            }
        }
        (address, stream.handshake(conn.into()))
    }
}

/// One record, split.
fn pieces(record: &[u8], fragmentation: Fragmentation) -> Vec<Vec<u8>> {
    const HEADER: usize = 5;
    match fragmentation {
        Fragmentation::Whole => vec![record.to_vec()],
        Fragmentation::Segments(len) => record.chunks(len).map(<[u8]>::to_vec).collect(),
        Fragmentation::Records(len) => {
            let (header, message) = record.split_at(HEADER);
            let mut records = Vec::new();
            for part in message.chunks(len) {
                records.extend(&header[..3]);
                records.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
                records.extend(part);
            }
            vec![records]
        }
    }
}

thread_local! {
    /// The name that rustls has written, and the bytes that replace it on the wire.
    static REPLACED: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

fn renamed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    REPLACED.with_borrow(|(from, to)| {
        if from.is_empty() {
            return;
        }
        let found = bytes.windows(from.len()).position(|window| window == from);
        if let Some(at) = found {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    });
    bytes
}

/// The suites of the default provider, with hashes computed over the bytes on the wire.
fn provider() -> CryptoProvider {
    use std::sync::LazyLock;
    static SUITES: LazyLock<Vec<SupportedCipherSuite>> = LazyLock::new(|| {
        let suites = aws_lc_rs::default_provider().cipher_suites;
        suites.into_iter().map(renaming).collect()
    });
    CryptoProvider {
        cipher_suites: SUITES.clone(),
        ..aws_lc_rs::default_provider()
    }
}

fn renaming(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    fn hash(hash: &'static dyn Hash) -> &'static dyn Hash {
        Box::leak(Box::new(Renaming(hash)))
    }
    match suite {
        SupportedCipherSuite::Tls12(suite) => {
            let common = rustls::crypto::CipherSuiteCommon {
                hash_provider: hash(suite.common.hash_provider),
                ..suite.common
            };
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite { common, ..*suite })))
        }
        SupportedCipherSuite::Tls13(suite) => {
            let common = rustls::crypto::CipherSuiteCommon {
                hash_provider: hash(suite.common.hash_provider),
                ..suite.common
            };
            SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite { common, ..*suite })))
        }
    }
}

/// Performs its operation on the bytes of the wire.
#[derive(Debug)]
struct Renaming<T>(T);

impl Hash for Renaming<&'static dyn Hash> {
    fn start(&self) -> Box<dyn Context> {
        Box::new(Renaming(self.0.start()))
    }

    fn hash(&self, data: &[u8]) -> Output {
        self.0.hash(&renamed(data))
    }

    fn output_len(&self) -> usize {
        self.0.output_len()
    }

    fn algorithm(&self) -> HashAlgorithm {
        self.0.algorithm()
    }
}

impl Context for Renaming<Box<dyn Context>> {
    fn fork_finish(&self) -> Output {
        self.0.fork_finish()
    }

    fn fork(&self) -> Box<dyn Context> {
        Box::new(Renaming(self.0.fork()))
    }

    fn finish(self: Box<Self>) -> Output {
        self.0.finish()
    }

    fn update(&mut self, data: &[u8]) {
        self.0.update(&renamed(data));
    }
}

impl SigningKey for Renaming<Arc<dyn SigningKey>> {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = self.0.choose_scheme(offered)?;
        Some(Box::new(Renaming(signer)))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.0.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl Signer for Renaming<Box<dyn Signer>> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.sign(&renamed(message))
    }

    fn scheme(&self) -> SignatureScheme {
        self.0.scheme()
    }
}

/// Verifies everything except the name, which differs from the one that rustls knows.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let any = ServerName::try_from("any.test").unwrap();
        self.0
            .verify_server_cert(end_entity, intermediates, &any, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // The randoms and parameters that are signed contain no name.
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
