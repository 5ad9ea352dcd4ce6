//! TLS with the admin listener: which certificate is trusted, and which one is shown.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::tls::material;
use crate::tls::material::file::{FileReader, MaterialError};
use crate::tls::pair;
use crate::tls::pair_files::{PairContents, PairFiles};
use crate::tls::unix_now;

/// The files that decide about TLS with the admin listener.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    /// The CAs of the listener's certificate; absent: the public ones.
    pub(super) ca: Option<PathBuf>,
    /// The listener's certificate itself, as the configuration of the process names it.
    pub(super) pinned: Option<PathBuf>,
    /// Our certificate.
    pub(super) cert: Option<PathBuf>,
    /// Its key; absent: in the same file.
    pub(super) key: Option<PathBuf>,
}

impl Trust {
    /// The TLS policy.
    pub(super) fn config(&self) -> Result<ClientConfig, String> {
        let told = |error: MaterialError| match error.help {
            Some(help) => format!("{}\n{help}", error.message),
            None => error.message,
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match (&self.ca, &self.pinned) {
            (Some(ca), _) => builder.with_root_certificates(roots(ca).map_err(told)?),
            (None, Some(path)) => {
                let pinned = Pinned::of(path, provider).map_err(told)?;
                let verifier = Arc::new(pinned);
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(verifier)
            }
            (None, None) => builder.with_root_certificates(RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            }),
        };
        let mut config = match &self.cert {
            Some(cert) => {
                let key = identity(cert, self.key.as_deref()).map_err(told)?;
                let resolver = SingleCertAndKey::from(CertifiedKey::clone(&key));
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn roots(path: &Path) -> Result<Arc<RootCertStore>, MaterialError> {
    let mut reader = FileReader::default();
    let (roots, _) = material::roots(&mut reader, &[path.to_owned()], unix_now())?;
    Ok(Arc::new(roots.store().clone()))
}

fn identity(cert: &Path, key: Option<&Path>) -> Result<Arc<CertifiedKey>, MaterialError> {
    let files = PairFiles {
        cert: cert.to_owned(),
        key: key.unwrap_or(cert).to_owned(),
        ocsp: None,
        password: None,
    };
    let contents = PairContents::read(&mut FileReader::default(), &files)?;
    Ok(pair::pair(&files, &contents)?.0.key)
}

/// Accepts one certificate, whatever its names: the file that the process presents it from says that it is
/// the right one.
#[derive(Debug)]
struct Pinned {
    leaf: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    fn of(path: &Path, provider: Arc<CryptoProvider>) -> Result<Self, MaterialError> {
        let mut chain = material::certificates(path)?.into_iter();
        let leaf = chain.next();
        let leaf = leaf.ok_or_else(|| MaterialError::new(path, "there is no certificate in it"))?;
        Ok(Self { leaf, provider })
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if end_entity.as_ref() == self.leaf.as_ref() {
            return Ok(ServerCertVerified::assertion());
        }
        // It may have been renewed a moment ago.
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
