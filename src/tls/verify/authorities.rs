//! The CAs that a policy trusts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, TrustAnchor};
use rustls::{Error, RootCertStore};

use crate::tls::der::Outline;
use crate::tls::digest::sha256;
use crate::tls::validity::Validity;

/// Trust anchors, and the fingerprints of self-signed certificates among them: a peer may present such
/// a certificate as its own.
#[derive(Debug)]
pub struct Authorities {
    anchors: RootCertStore,
    selfsigned: HashSet<[u8; 32]>,
    /// The subject key identifier of a key, by the SHA-256 of SubjectPublicKeyInfo, of which trust
    /// anchors consist without it.
    key_ids: HashMap<[u8; 32], Box<[u8]>>,
    validities: Vec<(Arc<str>, Validity)>,
    distribution_points: Vec<String>,
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            anchors,
            selfsigned,
            key_ids,
            validities,
            distribution_points,
        } = self;
        anchors.roots == other.anchors.roots
            && *selfsigned == other.selfsigned
            && *key_ids == other.key_ids
            && *validities == other.validities
            && *distribution_points == other.distribution_points
    }
}

impl Eq for Authorities {}

impl Authorities {
    /// Trust anchors without their certificates.
    pub fn of_anchors(anchors: RootCertStore) -> Self {
        Self {
            anchors,
            selfsigned: HashSet::new(),
            key_ids: HashMap::new(),
            validities: Vec::new(),
            distribution_points: Vec::new(),
        }
    }

    /// Adds a certificate as a CA; fails if it cannot be one.
    pub fn add(&mut self, certificate: CertificateDer<'_>) -> Result<(), Error> {
        let outline = Outline::of(&certificate);
        let hash = outline
            .filter(|outline| outline.issuer == outline.subject)
            .map(|_| sha256(&certificate));
        let key_id = outline.and_then(|outline| {
            let id = outline.key_id()?;
            Some((sha256(outline.key), Box::from(id)))
        });
        self.anchors.add(certificate)?;
        self.selfsigned.extend(hash);
        self.key_ids.extend(key_id);
        Ok(())
    }

    /// The subject key identifier of a trust anchor, if its certificate has one.
    pub(in crate::tls) fn key_id(&self, anchor: &TrustAnchor<'_>) -> Option<&[u8]> {
        let id = self.key_ids.get(&sha256(&anchor.subject_public_key_info));
        id.map(|id| &**id)
    }

    /// Adds the validity of a CA that was read from a file.
    pub(in crate::tls) fn add_validity(&mut self, file: &Arc<str>, validity: Validity) {
        self.validities.push((Arc::clone(file), validity));
    }

    /// Adds where the revocation list of a CA's own issuer is.
    pub(in crate::tls) fn add_distribution_points(&mut self, urls: Vec<String>) {
        self.distribution_points.extend(urls);
    }

    /// The distribution points of revocation lists in certificates that were read from files.
    pub fn distribution_points(&self) -> &[String] {
        &self.distribution_points
    }

    /// The validities of CAs that were read from files, each with its file. Verification ignores them:
    /// a trust anchor's own dates are not enforced.
    pub fn validities(&self) -> &[(Arc<str>, Validity)] {
        &self.validities
    }

    /// The trust anchors.
    pub fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors.roots
    }

    /// The trust anchors in rustls' type.
    pub const fn store(&self) -> &RootCertStore {
        &self.anchors
    }

    /// Whether one of the authorities has the subject and the key of this certificate.
    pub(in crate::tls) fn has_key_of(&self, certificate: &Outline<'_>) -> bool {
        self.anchors.roots.iter().any(|anchor| {
            *anchor.subject == *certificate.subject
                && *anchor.subject_public_key_info == *certificate.key
        })
    }

    /// Whether this certificate is, byte by byte, one of the self-signed CAs.
    pub(in crate::tls) fn contains(&self, certificate: &CertificateDer<'_>) -> bool {
        !self.selfsigned.is_empty() && self.selfsigned.contains(&sha256(certificate))
    }
}
