//! Client certificates: whether one is asked for, and who may come in.

use std::cell::Cell;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::{AES_FIRST, provider};

/// The policy of a route on its clients' certificates.
#[derive(Debug)]
pub enum ClientAuth {
    /// None is asked for.
    Off,
    /// One may be shown; a bad one is refused like a missing required one.
    Optional(ClientAuthority),
    /// One must be shown.
    Required(ClientAuthority),
}

/// Who signs client certificates.
#[derive(Debug)]
pub struct ClientAuthority {
    /// The trusted CAs; never empty.
    pub roots: Arc<RootCertStore>,
    /// Whether the request for a certificate names them, so that a client can choose.
    pub send_ca_names: bool,
}

impl ClientAuth {
    /// The verifier of this policy, if a certificate is asked for.
    pub(super) fn verifier(
        &self,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, VerifierBuilderError> {
        let (authority, required) = match self {
            Self::Off => return Ok(None),
            Self::Optional(authority) => (authority, false),
            Self::Required(authority) => (authority, true),
        };
        let roots = Arc::clone(&authority.roots);
        let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider(&AES_FIRST));
        if !required {
            builder = builder.allow_unauthenticated();
        }
        if !authority.send_ca_names {
            builder = builder.clear_root_hint_subjects();
        }
        Ok(Some(Arc::new(Witness(builder.build()?))))
    }
}

thread_local! {
    static PRESENTED: Cell<Option<CertificateDer<'static>>> = const { Cell::new(None) };
}

/// The leaf that a verifier on this thread saw since the last call. rustls forgets a certificate
/// that is refused, and its errors cannot carry one, but the log must say whose it was. To be called
/// right after the synchronous call that may have verified.
pub(super) fn take_presented() -> Option<CertificateDer<'static>> {
    PRESENTED.take()
}

/// Remembers each leaf for [`take_presented`], and leaves the verdict to webpki.
#[derive(Debug)]
struct Witness(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Witness {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        PRESENTED.set(Some(end_entity.clone().into_owned()));
        self.0.verify_client_cert(end_entity, intermediates, now)
    }

    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
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
