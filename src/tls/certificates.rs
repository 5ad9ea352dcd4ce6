//! The certificates of an endpoint, and which of them a client gets.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::pair::Pair;
use super::{handshake_notes, unix_now};
use crate::hostname::{HostName, HostPattern, HostTable};

/// A chain, its key, and the host names that it is presented for.
#[derive(Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The name by which the configuration refers to it.
    pub name: String,
    /// Chain and matching key.
    pub pair: Arc<Pair>,
    /// The host names it may be presented for.
    pub names: Vec<HostPattern>,
}

impl Certificate {
    fn is_valid_at(&self, now: i64) -> bool {
        (self.pair.not_before..=self.pair.not_after).contains(&now)
    }

    fn is_ecdsa(&self) -> bool {
        self.pair.key.key.algorithm() != SignatureAlgorithm::RSA
    }

    /// Chain and key, with the OCSP response while that is valid.
    fn key_at(&self, now: i64) -> Arc<CertifiedKey> {
        match &self.pair.stapled {
            Some(stapled) if stapled.is_valid_at(now) => Arc::clone(&stapled.key),
            _ => Arc::clone(&self.pair.key),
        }
    }

    fn suits(&self, schemes: &[SignatureScheme]) -> bool {
        self.pair.key.key.choose_scheme(schemes).is_some()
    }
}

/// All certificates of an endpoint, by the names they cover.
#[derive(Debug, Default)]
pub struct Certificates {
    /// The place of each certificate, by its address.
    places: HashMap<usize, usize>,
    by_name: HostTable<Vec<Arc<Certificate>>>,
    /// The names of certificates that are not there yet.
    expected: Option<HostTable<()>>,
}

impl Certificates {
    /// Adds a certificate under each of its names. ECDSA keys come first: they sign faster than RSA.
    pub fn add(&mut self, certificate: &Arc<Certificate>) {
        let place = self.places.len();
        self.places.insert(Arc::as_ptr(certificate).addr(), place);
        for pattern in &certificate.names {
            let owners = self.by_name.entry(pattern.clone());
            owners.push(Arc::clone(certificate));
            owners.sort_by_key(|c| !c.is_ecdsa());
        }
    }

    /// Notes that a certificate for this name is not there yet.
    pub fn expect(&mut self, pattern: &HostPattern) {
        *self.expected.get_or_insert_default().entry(pattern.clone()) = ();
    }

    /// The place of a certificate in the order of addition.
    pub fn place(&self, certificate: &Arc<Certificate>) -> Option<usize> {
        self.places.get(&Arc::as_ptr(certificate).addr()).copied()
    }

    /// The certificates that may be presented for some name of `pattern`.
    pub fn overlapping(&self, pattern: &HostPattern) -> impl Iterator<Item = &Arc<Certificate>> {
        self.by_name.overlapping(pattern).into_iter().flatten()
    }

    /// Whether every name of `pattern` has a certificate, or will have one.
    pub fn cover(&self, pattern: &HostPattern) -> bool {
        let expected = self.expected.as_ref();
        self.by_name.covering(pattern).is_some()
            || expected.is_some_and(|expected| expected.covering(pattern).is_some())
    }

    fn for_name(&self, name: &str) -> &[Arc<Certificate>] {
        HostName::from_wire(name)
            .ok()
            .and_then(|name| self.by_name.owner(&name))
            .map_or(&[], Vec::as_slice)
    }
}

/// Which certificate a route presents.
#[derive(Debug)]
pub enum CertificateChoice {
    /// The endpoint's certificate for the name that the client sent.
    ByName(Arc<Certificates>),
    /// The certificate of a default route.
    Fixed(Arc<Certificate>),
    /// That of a default route, which is not there yet.
    Pending,
}

impl CertificateChoice {
    /// The certificate that a client gets now, if it can verify every kind of signature.
    pub fn for_client(&self, name: Option<&HostName>, now: i64) -> Option<&Arc<Certificate>> {
        let candidates = match self {
            Self::ByName(certificates) => certificates.for_name(name?.as_str()),
            Self::Fixed(certificate) => std::slice::from_ref(certificate),
            Self::Pending => &[],
        };
        let valid = candidates.iter().find(|c| c.is_valid_at(now));
        valid.or_else(|| candidates.first())
    }

    /// Whether the certificate for a client is not there yet.
    pub fn is_pending(&self, name: Option<&HostName>) -> bool {
        match (self, name) {
            (Self::Pending, _) => true,
            (Self::ByName(certificates), Some(name)) => {
                let expected = certificates.expected.as_ref();
                expected.is_some_and(|expected| expected.owner(name).is_some())
                    && certificates.for_name(name.as_str()).is_empty()
            }
            (Self::Fixed(_), _) | (Self::ByName(_), None) => false,
        }
    }

    /// The SHA-256 fingerprints of the certificates that may be presented for these patterns.
    pub fn fingerprints(&self, patterns: &[HostPattern]) -> Vec<[u8; 32]> {
        match self {
            Self::Fixed(certificate) => vec![certificate.pair.sha256],
            Self::Pending => Vec::new(),
            Self::ByName(certificates) => {
                let found = patterns.iter().flat_map(|p| certificates.overlapping(p));
                let placed = found.map(|c| (certificates.place(c), c.pair.sha256));
                let placed: BTreeMap<_, _> = placed.collect();
                placed.into_values().collect()
            }
        }
    }
}

impl ResolvesServerCert for CertificateChoice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = match self {
            Self::ByName(certificates) => certificates.for_name(hello.server_name()?),
            Self::Fixed(certificate) => std::slice::from_ref(certificate),
            Self::Pending => return None,
        };
        let now = unix_now();
        let chosen = choose(candidates, hello.signature_schemes(), now)?;
        handshake_notes::record_certificate(&chosen.pair.algorithms);
        Some(chosen.key_at(now))
    }
}

/// The first certificate that the client can verify. Currently valid ones come first: a directory may
/// hold a renewal that is not valid yet. If the client can verify none, this is the first, and rustls
/// sends the alert.
fn choose<'a>(
    candidates: &'a [Arc<Certificate>],
    schemes: &[SignatureScheme],
    now: i64,
) -> Option<&'a Arc<Certificate>> {
    let suits = |c: &&Arc<Certificate>| c.suits(schemes);
    candidates
        .iter()
        .filter(suits)
        .find(|c| c.is_valid_at(now))
        .or_else(|| candidates.iter().find(suits))
        .or_else(|| candidates.first())
}
