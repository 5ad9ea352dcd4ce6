//! Facts of a handshake that rustls does not report afterwards: the certificate of a refused client,
//! the certificate that was presented, and the signature scheme.
//!
//! Callbacks within one synchronous call into rustls write thread-locals, and the caller takes them
//! right after that call, before another connection can run on the thread.

use std::cell::Cell;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use x509_parser::prelude::X509Certificate;

use super::{openssl_names, verify::client};

/// The recorded facts of one handshake.
#[derive(Debug, Default)]
pub struct HandshakeNotes {
    /// The client's leaf certificate, accepted or not; in a resumption, the session's.
    pub peer: Option<CertificateDer<'static>>,
    /// The algorithms of the certificate presented, also in a resumption.
    pub own: Option<Arc<Algorithms>>,
    /// The scheme of our signature; absent in a resumption, which signs nothing.
    pub scheme: Option<SignatureScheme>,
}

/// The algorithms of a certificate, by OpenSSL's names.
#[derive(Debug, PartialEq, Eq)]
pub struct Algorithms {
    /// Its signature algorithm.
    pub signature: Option<&'static str>,
    /// The kind and size of its key.
    pub key: Option<String>,
}

impl Algorithms {
    /// Reads them from a certificate.
    pub fn of(certificate: &X509Certificate<'_>) -> Self {
        Self {
            signature: openssl_names::signature_algorithm(certificate),
            key: openssl_names::key_algorithm(certificate),
        }
    }
}

thread_local! {
    static CHOSEN: Cell<Option<Arc<Algorithms>>> = const { Cell::new(None) };
    static SIGNED: Cell<Option<SignatureScheme>> = const { Cell::new(None) };
}

/// Records which certificate is going to be presented.
pub(super) fn record_certificate(algorithms: &Arc<Algorithms>) {
    CHOSEN.set(Some(Arc::clone(algorithms)));
}

impl HandshakeNotes {
    /// Takes what callbacks recorded on this thread. Must follow the call into rustls directly.
    pub(super) fn take_recorded(&mut self) {
        if let Some(leaf) = client::take_presented() {
            self.peer = Some(leaf);
        }
        if let Some(own) = CHOSEN.take() {
            self.own = Some(own);
        }
        if let Some(scheme) = SIGNED.take() {
            self.scheme = Some(scheme);
        }
    }
}

/// A key that records the scheme of its signatures.
#[derive(Debug)]
pub(super) struct RecordingKey(pub(super) Arc<dyn SigningKey>);

impl SigningKey for RecordingKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = self.0.choose_scheme(offered)?;
        Some(Box::new(RecordingSigner(signer)))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.0.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

#[derive(Debug)]
struct RecordingSigner(Box<dyn Signer>);

impl Signer for RecordingSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        SIGNED.set(Some(self.0.scheme()));
        self.0.sign(message)
    }

    fn scheme(&self) -> SignatureScheme {
        self.0.scheme()
    }
}
