//! Verification of chains: from a peer's certificate through the intermediates it sent to a CA.
//!
//! A peer may send any set of certificates, and webpki would try every order of those that share a
//! name. So this module finds paths by name alone, and lets webpki verify at most two of them.
//!
//! A CA may have got a new key under its old name (AD CS renews CAs so). If the old certificate is
//! trusted and the new one is not, but another trusted CA, or the old key, has signed the new one, then
//! the path does not end at the name of the trusted CA: it goes on through the new certificate. webpki
//! tries the trusted CA first, so a chain of the old key costs nothing more.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error, OtherError};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authorities::Authorities;
use super::cache::PathCache;
use super::crl::Revocation;
use crate::tls::SIGNATURES;
use crate::tls::classify;
use crate::tls::der::{self, Outline};

/// How many intermediates may be between a certificate and a CA: webpki's limit.
const INTERMEDIATES_MAX: usize = 6;

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

/// The error for a certificate whose every path to a CA exceeds [`INTERMEDIATES_MAX`].
#[derive(Debug)]
pub(in crate::tls) struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "more than {INTERMEDIATES_MAX} intermediates stand between the certificate and a trusted CA"
        )
    }
}

impl std::error::Error for TooLong {}

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    use rustls::RootCertStore;

    use super::*;
    use crate::tls::words;

    type Ca = CertifiedIssuer<'static, KeyPair>;

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        params
    }

    fn authority(name: &str) -> CertificateParams {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn root(name: &str) -> Ca {
        Ca::self_signed(authority(name), KeyPair::generate().unwrap()).unwrap()
    }

    fn below(issuer: &Ca, name: &str) -> Ca {
        Ca::signed_by(authority(name), KeyPair::generate().unwrap(), issuer).unwrap()
    }

    fn leaf(issuer: &Ca) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        params("leaf")
            .signed_by(&key, issuer)
            .unwrap()
            .der()
            .clone()
    }

    fn verifier(roots: &[&Ca]) -> ChainVerifier {
        let mut authorities = Authorities::of_anchors(RootCertStore::empty());
        for root in roots {
            authorities.add(root.der().clone()).unwrap();
        }
        ChainVerifier::new(Arc::new(authorities), None, KeyUsage::client_auth())
    }

    fn now() -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000))
    }

    fn sent(chain: &[&Ca]) -> Vec<CertificateDer<'static>> {
        chain.iter().map(|ca| ca.der().clone()).collect()
    }

    #[test]
    fn the_path_through_what_was_sent_is_returned() {
        let root = root("root");
        let (one, two, junk) = (below(&root, "1"), below(&root, "2"), below(&root, "junk"));
        let three = below(&one, "3");
        let leaf = leaf(&three);
        let verifier = verifier(&[&root]);
        let sent = sent(&[&junk, &one, &two, &three, &root, &one]);
        for _ in 0..2 {
            assert_eq!(verifier.verify(&leaf, &sent, now()), Ok(vec![3, 1]));
        }
    }

    #[test]
    fn among_equal_names_the_one_whose_key_is_named_comes_first() {
        let root = root("root");
        let mut sent: Vec<_> = (0..20).map(|_| below(&root, "A")).collect();
        let leaf = leaf(&sent[17]);
        let verifier = verifier(&[&root]);
        let chain: Vec<_> = sent.iter().map(|ca| ca.der().clone()).collect();
        assert_eq!(verifier.verify(&leaf, &chain, now()), Ok(vec![17]));
        sent.remove(17);
        let chain: Vec<_> = sent.iter().map(|ca| ca.der().clone()).collect();
        let again = verifier.verify(&leaf, &chain, now());
        assert!(again.is_err(), "it is missing");
    }

    /// A CA with this name and key, signed by another.
    fn renewed(by: &Ca, of: &Ca, name: &str) -> CertificateDer<'static> {
        let der = authority(name)
            .signed_by(of.key(), by)
            .unwrap()
            .der()
            .clone();
        assert_eq!(
            Outline::of(&der).unwrap().subject,
            Outline::of(of.der()).unwrap().subject
        );
        der
    }

    #[test]
    fn a_ca_with_a_new_key_that_a_trusted_ca_signed_is_followed() {
        let forged = root("issuing");
        let root = root("root");
        let (old, new) = (below(&root, "issuing"), below(&root, "issuing"));
        let verifier = verifier(&[&root, &old]);
        let verify = |leaf: &_, chain: &[&Ca]| verifier.verify(leaf, &sent(chain), now());
        assert_eq!(verify(&leaf(&new), &[&old, &new]), Ok(vec![1]));
        assert_eq!(verify(&leaf(&old), &[&new]), Ok(vec![]));
        let below_new = below(&new, "department");
        assert_eq!(
            verify(&leaf(&below_new), &[&new, &below_new]),
            Ok(vec![1, 0])
        );
        let below_old = below(&old, "department");
        assert_eq!(verify(&leaf(&below_old), &[&new, &below_old]), Ok(vec![1]));
        for chain in [&[&forged][..], &[&old], &[&old, &forged], &[&new]] {
            let reason = CertificateError::BadSignature;
            let refusal = Err(Error::InvalidCertificate(reason));
            assert_eq!(verify(&leaf(&forged), chain), refusal);
        }
    }

    #[test]
    fn a_root_whose_old_key_signed_its_new_one_is_followed() {
        let (old, new) = (root("root"), root("root"));
        let cross = renewed(&old, &new, "root");
        let verifier = verifier(&[&old]);
        let leaf = leaf(&new);
        for (chain, path) in [
            (vec![cross.clone()], vec![0]),
            (vec![new.der().clone(), cross.clone()], vec![1]),
            (vec![cross, new.der().clone(), old.der().clone()], vec![0]),
        ] {
            assert_eq!(verifier.verify(&leaf, &chain, now()), Ok(path));
        }
    }

    #[test]
    fn a_ca_with_a_new_key_may_be_below_an_intermediate() {
        let root = root("root");
        let policy = below(&root, "policy");
        let (old, new) = (below(&policy, "issuing"), below(&policy, "issuing"));
        let verifier = verifier(&[&root, &old]);
        let chain = sent(&[&policy, &new]);
        assert_eq!(verifier.verify(&leaf(&new), &chain, now()), Ok(vec![1, 0]));
        assert!(verifier.verify(&leaf(&new), &chain[1..], now()).is_err());
    }

    #[test]
    fn webpki_verifies_at_most_two_paths() {
        let root = root("root");
        let verifier = verifier(&[&root]);
        // Every certificate of a level has the names of all of the one above.
        let mut pile = Vec::new();
        let mut above = root;
        for level in 0..6 {
            let all: Vec<_> = (0..3).map(|_| below(&above, &level.to_string())).collect();
            pile.extend(all.iter().map(|ca| ca.der().clone()));
            above = all.into_iter().next().unwrap();
        }
        let leaf = leaf(&above);
        let parsed = EndEntityCert::try_from(&leaf).unwrap();
        let paths = verifier.paths(&parsed, &leaf, &pile, now()).unwrap();
        assert_eq!(paths.len(), PATHS_MAX);
        assert!(verifier.verify(&leaf, &pile, now()).is_ok());
    }

    #[test]
    fn a_certificate_of_version_1_is_refused_with_a_remedy() {
        let root = root("root");
        let mut first = leaf(&root).to_vec();
        const VERSION_3: &[u8] = &[0xa0, 3, 2, 1, 2];
        let place = first.windows(5).position(|bytes| bytes == VERSION_3);
        first[place.unwrap() + 4] = 0;
        let error = verifier(&[&root])
            .verify(&first.into(), &[], now())
            .unwrap_err();
        let said = words::tls(&error);
        for word in ["version 1", "version 3 is needed", "-extfile"] {
            assert!(said.contains(word), "{said}");
        }
    }
}
