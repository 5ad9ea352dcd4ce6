//! Verification of chains: from a peer's certificate through the intermediates it sent to a CA.
//!
//! A peer may send any set of certificates, and webpki would try every order of those that share a
//! name. So this module finds paths by name alone, and lets webpki verify at most two of them.
//!
//! A CA may have got a new key under its old name (AD CS renews CAs so). If the old certificate is
//! trusted and the new one is not, but another trusted CA, or the old key, has signed the new one, then
//! the path does not end at the name of the trusted CA: it goes on through the new certificate. webpki
//! tries the trusted CA first, so a chain of the old key costs nothing more.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error, OtherError};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authorities::Authorities;
use super::cache::PathCache;
use super::crl::Revocation;
use super::errors::{INTERMEDIATES_MAX, TooLong};
use crate::tls::SIGNATURES;
use crate::tls::classify;
use crate::tls::der::{self, Outline};

/// How many intermediates of one name are considered: a CA's certificate and its renewal, or one from
/// each of two CAs that cross-signed it.
const SAME_NAME_MAX: usize = 2;

/// How many paths webpki verifies; a path that goes on through a renewed CA counts as two. A forged path
/// costs one signature check, of the certificate that claims a CA's name as issuer; so a refusal costs at
/// most twice an ordinary one.
const PATHS_MAX: usize = 2;

const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 35];
/// The tag of keyIdentifier in AuthorityKeyIdentifier.
const KEY_ID: u8 = 0x80;

/// Verifies chains by one policy, and caches the verified ones.
#[derive(Debug)]
pub(in crate::tls) struct ChainVerifier {
    authorities: Arc<Authorities>,
    subjects: HashSet<Vec<u8>>,
    revocation: Option<Revocation>,
    usage: KeyUsage,
    cache: PathCache,
}

impl ChainVerifier {
    pub(in crate::tls) fn new(
        authorities: Arc<Authorities>,
        revocation: Option<Revocation>,
        usage: KeyUsage,
    ) -> Self {
        let anchors = authorities.anchors();
        if let Some(revocation) = &revocation {
            revocation.lists.check_signatures(anchors);
        }
        Self {
            subjects: anchors.iter().map(|a| a.subject.to_vec()).collect(),
            authorities,
            revocation,
            usage,
            cache: PathCache::default(),
        }
    }

    /// Verifies a certificate. Returns its path to a CA as indices into `intermediates`, the
    /// certificate's issuer first.
    pub(in crate::tls) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Vec<usize>, Error> {
        if let Some(path) = self.cache.get(leaf, intermediates, now) {
            return Ok(path);
        }
        let path = self.verify_uncached(leaf, intermediates, now)?;
        let issuers = path.iter().filter_map(|n| intermediates.get(*n));
        let until = self.revocation.as_ref().map_or(i64::MAX, |r| r.until(now));
        self.cache.insert(leaf, issuers, now, until);
        Ok(path)
    }

    fn verify_uncached(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Vec<usize>, Error> {
        let end_entity = EndEntityCert::try_from(leaf).map_err(classify::from_webpki)?;
        let paths = self.paths(&end_entity, leaf, intermediates, now)?;
        let mut refusal = None;
        for path in paths {
            match self.verify_path(&end_entity, leaf, intermediates, &path, now) {
                Ok(path) => return Ok(path),
                Err(error) => refusal = Some(more_specific(refusal, error)),
            }
        }
        Err(refusal.map_or(
            CertificateError::UnknownIssuer.into(),
            classify::from_webpki,
        ))
    }

    /// Verifies one path with webpki. Returns the part of it that leads to a CA.
    fn verify_path(
        &self,
        end_entity: &EndEntityCert<'_>,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        path: &[usize],
        now: UnixTime,
    ) -> Result<Vec<usize>, webpki::Error> {
        let issuers: Vec<_> = path
            .iter()
            .filter_map(|n| intermediates.get(*n))
            .map(|der| CertificateDer::from(der.as_ref()))
            .collect();
        let is_unrevoked = |path: &webpki::VerifiedPath<'_>| match &self.revocation {
            Some(revocation) => {
                let anchor_key_id = self.authorities.key_id(path.anchor());
                revocation.check(path, anchor_key_id, now)
            }
            None => Ok(()),
        };
        let verified = end_entity.verify_for_usage(
            SIGNATURES.all,
            self.authorities.anchors(),
            &issuers,
            now,
            self.usage,
            None,
            Some(&is_unrevoked),
        );
        match verified {
            // webpki returns this error before it checks anything but the validity.
            Err(webpki::Error::CaUsedAsEndEntity) if self.authorities.contains(leaf) => {
                self.check_ca_as_peer(leaf)?;
                if let Some(revocation) = &self.revocation {
                    revocation.check_selfsigned(end_entity, now)?;
                }
                Ok(Vec::new())
            }
            Err(error) => Err(error),
            Ok(verified) => {
                let used = verified.intermediate_certificates();
                let index = |der: CertificateDer<'_>| {
                    let mut path = path.iter().copied();
                    path.find(|n| intermediates.get(*n).is_some_and(|sent| *sent == der))
                };
                Ok(used.filter_map(|issuer| index(issuer.der())).collect())
            }
        }
    }

    /// Checks what webpki did not reach for a CA's certificate that a peer presents as its own.
    fn check_ca_as_peer(&self, certificate: &CertificateDer<'_>) -> Result<(), webpki::Error> {
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| webpki::Error::BadDer)?;
        let usage = parsed.extended_key_usage();
        let is_meant = match usage.map_err(|_| webpki::Error::BadDer)? {
            None => true,
            Some(usage) if self.usage == KeyUsage::server_auth() => usage.value.server_auth,
            Some(usage) => usage.value.client_auth,
        };
        // A CA's key that may only sign certificates must not sign handshakes (RFC 5280, 4.2.1.3).
        let key_usage = parsed.key_usage().map_err(|_| webpki::Error::BadDer)?;
        let may_sign = key_usage.is_none_or(|usage| usage.value.digital_signature());
        if is_meant && may_sign {
            Ok(())
        } else {
            Err(webpki::Error::CaUsedAsEndEntity)
        }
    }

    /// Finds paths by name alone, the likeliest first. A path ends at the first name that a CA has, unless
    /// the peer sent a certificate of that name with another key.
    fn paths(
        &self,
        end_entity: &EndEntityCert<'_>,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Vec<Vec<usize>>, Error> {
        let mut search = PathSearch {
            anchors: &self.subjects,
            sent: self.candidates(leaf, intermediates, now),
            paths: Vec::new(),
            is_too_long: false,
        };
        search.from(end_entity.issuer(), &mut Vec::new());
        if search.paths.is_empty() {
            if search.is_too_long {
                return Err(CertificateError::Other(OtherError(Arc::new(TooLong))).into());
            }
            // The missing intermediate may be one that webpki cannot read.
            let unreadable = intermediates.iter().find_map(|der| {
                EndEntityCert::try_from(der).err().filter(|error| {
                    use webpki::Error as E;
                    matches!(
                        error,
                        E::UnsupportedCertVersion | E::UnsupportedCriticalExtension
                    )
                })
            });
            if let Some(error) = unreadable {
                return Err(classify::from_webpki(error));
            }
            // The empty path does not verify, but webpki's error may say more about the certificate.
            return Ok(vec![Vec::new()]);
        }
        search.go_on_through_a_renewed_ca(end_entity.issuer());
        Ok(search.paths)
    }

    /// The intermediates that a path may contain: at most two of one name, and one with the name of a CA.
    fn candidates<'a>(
        &self,
        leaf: &'a CertificateDer<'_>,
        intermediates: &'a [CertificateDer<'_>],
        now: UnixTime,
    ) -> Intermediates<'a> {
        let mut seen = HashSet::new();
        let mut sent = Intermediates {
            issuers: Vec::new(),
            by_subject: HashMap::new(),
        };
        for (n, der) in intermediates.iter().enumerate() {
            let outline = Outline::of(der).filter(|_| seen.insert(der.as_ref()));
            sent.issuers
                .push(outline.map_or(&[], |outline| outline.issuer));
            if let Some(outline) = outline
                && !(self.subjects.contains(outline.subject)
                    && self.authorities.has_key_of(&outline))
            {
                sent.by_subject.entry(outline.subject).or_default().push(n);
            }
        }
        let mut named = None;
        for (subject, same_name) in &mut sent.by_subject {
            let is_of_ca = self.subjects.contains(*subject);
            if same_name.len() > 1 || is_of_ca {
                let named = named.get_or_insert_with(|| {
                    let all = std::iter::once(leaf).chain(intermediates);
                    all.filter_map(named_key).collect::<HashSet<_>>()
                });
                let doubts = |n: &usize| intermediates.get(*n).map(|der| doubts(der, named, now));
                same_name.sort_by_cached_key(doubts);
                // webpki's errors about it would hide those about the CA.
                same_name
                    .retain(|n| !is_of_ca || doubts(n).is_some_and(|doubts| doubts.is_valid()));
            }
            same_name.truncate(if is_of_ca { 1 } else { SAME_NAME_MAX });
        }
        sent
    }
}

/// The names of the intermediates that a peer sent.
struct Intermediates<'a> {
    issuers: Vec<&'a [u8]>,
    by_subject: HashMap<&'a [u8], Vec<usize>>,
}

struct PathSearch<'a> {
    anchors: &'a HashSet<Vec<u8>>,
    sent: Intermediates<'a>,
    paths: Vec<Vec<usize>>,
    is_too_long: bool,
}

impl PathSearch<'_> {
    /// Searches depth first from an issuer's name. With at most two certificates of each name and six
    /// levels, it visits at most 127 nodes.
    fn from(&mut self, issuer: &[u8], path: &mut Vec<usize>) {
        if self.paths.len() == PATHS_MAX {
            return;
        }
        if self.anchors.contains(issuer) {
            self.paths.push(path.clone());
            return;
        }
        let same_name = self.sent.by_subject.get(issuer).cloned();
        for n in same_name.unwrap_or_default() {
            if path.contains(&n) {
                continue;
            }
            if path.len() == INTERMEDIATES_MAX {
                self.is_too_long = true;
                return;
            }
            path.push(n);
            let next = self.sent.issuers.get(n).copied().unwrap_or_default();
            self.from(next, path);
            path.pop();
        }
    }

    /// Continues the only path through the certificate, if the peer sent one, that has the name of the CA
    /// at its end and another key. The CA itself is still tried first.
    fn go_on_through_a_renewed_ca(&mut self, issuer: &[u8]) {
        let [path] = self.paths.as_slice() else {
            return;
        };
        let mut path = path.clone();
        let last = path.last().and_then(|n| self.sent.issuers.get(*n).copied());
        let renewed = self.sent.by_subject.get(last.unwrap_or(issuer));
        let Some(renewed) = renewed.and_then(|same_name| same_name.first()).copied() else {
            return;
        };
        if path.len() == INTERMEDIATES_MAX {
            return;
        }
        path.push(renewed);
        let next = self.sent.issuers.get(renewed).copied().unwrap_or_default();
        self.from(next, &mut path);
        // What continues the first path contains it.
        if self.paths.len() > 1 {
            self.paths.remove(0);
        }
    }
}

/// Name and key identifier of a certificate's issuer, if it has an AuthorityKeyIdentifier.
fn named_key<'a>(certificate: &'a CertificateDer<'_>) -> Option<(&'a [u8], &'a [u8])> {
    let outline = Outline::of(certificate)?;
    let named = der::only(outline.extension(AUTHORITY_KEY_ID)?, der::SEQUENCE)?;
    let id = der::Elements(named).expect(KEY_ID)?;
    Some((outline.issuer, id))
}

/// Sort key of certificates that share a subject: those that are not valid now come last, then those
/// that signed themselves and are no CA of ours, then those whose key no other certificate names as its
/// issuer's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Doubts {
    is_invalid: bool,
    is_selfsigned: bool,
    is_unnamed: bool,
}

impl Doubts {
    const fn is_valid(self) -> bool {
        !self.is_invalid
    }
}

fn doubts(
    candidate: &CertificateDer<'_>,
    named: &HashSet<(&[u8], &[u8])>,
    now: UnixTime,
) -> Doubts {
    let Some(outline) = Outline::of(candidate) else {
        return Doubts {
            is_invalid: true,
            is_selfsigned: true,
            is_unnamed: true,
        };
    };
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let is_valid = outline.validity().is_some_and(|valid| valid.contains(&now));
    let id = outline.key_id();
    let issuer = named_key(candidate).map(|(_, id)| id);
    Doubts {
        is_invalid: !is_valid,
        is_selfsigned: outline.issuer == outline.subject && (issuer.is_none() || issuer == id),
        is_unnamed: !id.is_some_and(|id| named.contains(&(outline.subject, id))),
    }
}

/// The more specific of two errors: every forgery yields a signature mismatch.
fn more_specific(first: Option<webpki::Error>, second: webpki::Error) -> webpki::Error {
    use webpki::Error as E;
    match first {
        None | Some(E::UnknownIssuer | E::InvalidSignatureForPublicKey) => second,
        Some(first) => first,
    }
}
