//! Whom a policy trusts to sign certificates.

use std::collections::HashSet;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, TrustAnchor};
use rustls::{Error, RootCertStore};

use crate::tls::der::Outline;
use crate::tls::digest::sha256;
use crate::tls::validity::Validity;

/// Trust anchors; and of those that came as certificates and signed themselves, which certificates
/// these were: a peer that presents one of them is believed to be exactly that.
#[derive(Debug)]
pub struct Authorities {
    anchors: RootCertStore,
    selfsigned: HashSet<[u8; 32]>,
    validities: Vec<(Arc<str>, Validity)>,
}

impl Authorities {
    /// Trust anchors of which no certificate is known.
    pub fn of_anchors(anchors: RootCertStore) -> Self {
        Self {
            anchors,
            selfsigned: HashSet::new(),
            validities: Vec::new(),
        }
    }

    /// Trusts a certificate as an authority; an error where it can be none.
    pub fn add(&mut self, certificate: CertificateDer<'_>) -> Result<(), Error> {
        let hash = Outline::of(&certificate)
            .filter(|outline| outline.issuer == outline.subject)
            .map(|_| sha256(&certificate));
        self.anchors.add(certificate)?;
        self.selfsigned.extend(hash);
        Ok(())
    }

    /// Notes when an authority of a file is valid.
    pub(in crate::tls) fn note(&mut self, file: &Arc<str>, validity: Validity) {
        self.validities.push((Arc::clone(file), validity));
    }

    /// When the authorities of files are valid, with the file of each. Nobody looks at that when they
    /// are used.
    pub fn validities(&self) -> &[(Arc<str>, Validity)] {
        &self.validities
    }

    /// The trust anchors.
    pub fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors.roots
    }

    /// The trust anchors, as rustls takes them.
    pub const fn store(&self) -> &RootCertStore {
        &self.anchors
    }

    /// Whether this certificate is, byte by byte, one of the authorities and signed itself.
    pub(in crate::tls) fn hold(&self, certificate: &CertificateDer<'_>) -> bool {
        !self.selfsigned.is_empty() && self.selfsigned.contains(&sha256(certificate))
    }
}
