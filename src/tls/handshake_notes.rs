//! What two peers have shown each other in a handshake, as far as rustls does not tell it afterwards:
//! the certificate of a client that is refused, the one of ours that was chosen, and how we signed.
//!
//! What happens within one synchronous call of rustls is noted on the thread, and taken from there
//! right after the call, before another connection can run.

use std::cell::Cell;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use x509_parser::prelude::X509Certificate;

use super::{openssl_names, verify::client};

/// What was shown in one handshake.
#[derive(Debug, Default)]
pub struct HandshakeNotes {
    /// The leaf that the client presented, accepted or not; in a resumption, its session's.
    pub peer: Option<CertificateDer<'static>>,
    /// Of what kind the certificate is that we present, resumption or not.
    pub own: Option<Arc<Algorithms>>,
    /// How we signed; absent in a resumption, where nothing is signed.
    pub scheme: Option<SignatureScheme>,
}

/// Of what kind a certificate is, in OpenSSL's words.
#[derive(Debug, PartialEq, Eq)]
pub struct Algorithms {
    /// How it is signed.
    pub signature: Option<&'static str>,
    /// Its key.
    pub key: Option<String>,
}

impl Algorithms {
    /// Those of a certificate.
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

/// Notes which certificate is going to be presented.
pub(super) fn chosen(algorithms: &Arc<Algorithms>) {
    CHOSEN.set(Some(Arc::clone(algorithms)));
}

impl HandshakeNotes {
    /// Takes what was noted on this thread since the last call. To be called right after the
    /// synchronous call that may have noted it.
    pub(super) fn take_notes(&mut self) {
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

/// A key that notes how it signs.
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
