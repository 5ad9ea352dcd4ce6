//! Verification of chains: from a peer's certificate, by way of those that it sent, to an authority.
//!
//! A peer may send any pile of certificates, and webpki would try every order of those that have one
//! name. So the ways are found here, by names alone, and webpki is asked about two of them at most.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error, OtherError};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authorities::Authorities;
use super::cache::VerdictCache;
use super::crl::Revocation;
use crate::tls::SIGNATURES;
use crate::tls::classify;
use crate::tls::der::{self, Outline};

/// How many intermediates may stand between a certificate and an authority. webpki follows no more.
const INTERMEDIATES_MAX: usize = 6;

/// How many intermediates of one name are looked at: a CA's certificate and its renewal, or one of
/// each of two authorities that signed it.
const NAMESAKES_MAX: usize = 2;

/// How many ways webpki is asked about. A forged way costs it one check of a signature, of a
/// certificate that claims to be an authority's; so a refusal costs at most twice a plain one.
const WAYS_MAX: usize = 2;

const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 14];
const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 35];
/// The identifier of a key within AuthorityKeyIdentifier.
const KEY_ID: u8 = 0x80;

/// Every way to an authority is longer than [`INTERMEDIATES_MAX`].
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

/// Verifies chains for one policy, and remembers those that it found good.
#[derive(Debug)]
pub(in crate::tls) struct ChainVerifier {
    authorities: Arc<Authorities>,
    subjects: HashSet<Vec<u8>>,
    revocation: Option<Revocation>,
    usage: KeyUsage,
    verdicts: VerdictCache,
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
            verdicts: VerdictCache::default(),
        }
    }

    /// Whether a way leads from a certificate to an authority: the places in `intermediates` of those
    /// on it, the certificate's issuer first.
    pub(in crate::tls) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Vec<usize>, Error> {
        if let Some(way) = self.verdicts.recall(leaf, intermediates, now) {
            return Ok(way);
        }
        let way = self.find(leaf, intermediates, now)?;
        let on_it = way.iter().filter_map(|n| intermediates.get(*n));
        let until = self.revocation.as_ref().map_or(i64::MAX, |r| r.until(now));
        self.verdicts.remember(leaf, on_it, now, until);
        Ok(way)
    }

    fn find(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Vec<usize>, Error> {
        let end_entity = EndEntityCert::try_from(leaf).map_err(classify::from_webpki)?;
        let ways = self.ways(&end_entity, leaf, intermediates, now)?;
        let mut refusal = None;
        for way in ways {
            let on_it = way.iter().filter_map(|n| intermediates.get(*n));
            let on_it: Vec<_> = on_it
                .map(|der| CertificateDer::from(der.as_ref()))
                .collect();
            match self.ask(&end_entity, leaf, &on_it, now) {
                Ok(()) => return Ok(way),
                Err(error) => refusal = Some(more_telling(refusal, error)),
            }
        }
        Err(refusal.map_or(
            CertificateError::UnknownIssuer.into(),
            classify::from_webpki,
        ))
    }

    /// What webpki says of one way.
    fn ask(
        &self,
        end_entity: &EndEntityCert<'_>,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        let is_unrevoked = |path: &webpki::VerifiedPath<'_>| match &self.revocation {
            Some(revocation) => revocation.check(path, now),
            None => Ok(()),
        };
        let verified = end_entity.verify_for_usage(
            SIGNATURES.all,
            self.authorities.anchors(),
            intermediates,
            now,
            self.usage,
            None,
            Some(&is_unrevoked),
        );
        match verified {
            // What webpki says before it looks at anything but the validity.
            Err(webpki::Error::CaUsedAsEndEntity) if self.authorities.hold(leaf) => {
                self.is_for_use(leaf)?;
                match &self.revocation {
                    Some(revocation) => revocation.check_selfsigned(end_entity, now),
                    None => Ok(()),
                }
            }
            verified => verified.map(|_| ()),
        }
    }

    /// Whether an authority's own certificate may be a peer's, as far as webpki did not get to say.
    fn is_for_use(&self, certificate: &CertificateDer<'_>) -> Result<(), webpki::Error> {
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| webpki::Error::BadDer)?;
        let usage = parsed.extended_key_usage();
        let is_meant = match usage.map_err(|_| webpki::Error::BadDer)? {
            None => true,
            Some(usage) if self.usage == KeyUsage::server_auth() => usage.value.server_auth,
            Some(usage) => usage.value.client_auth,
        };
        // A CA's key that may sign certificates alone is no key for handshakes (RFC 5280, 4.2.1.3).
        let key_usage = parsed.key_usage().map_err(|_| webpki::Error::BadDer)?;
        let may_sign = key_usage.is_none_or(|usage| usage.value.digital_signature());
        if is_meant && may_sign {
            Ok(())
        } else {
            Err(webpki::Error::CaUsedAsEndEntity)
        }
    }

    /// The ways by names alone, the likeliest first. A certificate with an authority's subject is on
    /// none: the authority itself stands there.
    fn ways(
        &self,
        end_entity: &EndEntityCert<'_>,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Vec<Vec<usize>>, Error> {
        if self.subjects.contains(end_entity.issuer()) {
            return Ok(vec![Vec::new()]);
        }
        let mut seen = HashSet::new();
        let mut pile = Pile {
            issuers: Vec::new(),
            by_subject: HashMap::new(),
        };
        for (n, der) in intermediates.iter().enumerate() {
            let outline = Outline::of(der).filter(|_| seen.insert(der.as_ref()));
            pile.issuers
                .push(outline.map_or(&[], |outline| outline.issuer));
            if let Some(outline) = outline
                && !self.subjects.contains(outline.subject)
            {
                pile.by_subject.entry(outline.subject).or_default().push(n);
            }
        }
        let mut named = None;
        for namesakes in pile.by_subject.values_mut().filter(|same| same.len() > 1) {
            let named = named.get_or_insert_with(|| {
                let all = std::iter::once(leaf).chain(intermediates);
                all.filter_map(named_key).collect::<HashSet<_>>()
            });
            namesakes
                .sort_by_cached_key(|n| intermediates.get(*n).map(|der| doubts(der, named, now)));
            namesakes.truncate(NAMESAKES_MAX);
        }
        let mut search = Search {
            anchors: &self.subjects,
            pile,
            ways: Vec::new(),
            is_long: false,
        };
        search.from(end_entity.issuer(), &mut Vec::new());
        if search.ways.is_empty() {
            if search.is_long {
                return Err(CertificateError::Other(OtherError(Arc::new(TooLong))).into());
            }
            // One that webpki cannot take may have been the missing one.
            let prefetched = intermediates.iter().find_map(|der| {
                EndEntityCert::try_from(der).err().filter(|error| {
                    use webpki::Error as E;
                    matches!(
                        error,
                        E::UnsupportedCertVersion | E::UnsupportedCriticalExtension
                    )
                })
            });
            if let Some(error) = prefetched {
                return Err(classify::from_webpki(error));
            }
            // Leads nowhere, but webpki has more to say about the certificate itself.
            return Ok(vec![Vec::new()]);
        }
        Ok(search.ways)
    }
}

/// The certificates that a peer sent beside its own, by their names.
struct Pile<'a> {
    issuers: Vec<&'a [u8]>,
    by_subject: HashMap<&'a [u8], Vec<usize>>,
}

struct Search<'a> {
    anchors: &'a HashSet<Vec<u8>>,
    pile: Pile<'a>,
    ways: Vec<Vec<usize>>,
    is_long: bool,
}

impl Search<'_> {
    /// Follows the names from an issuer's. With at most two of each name and six steps, this ends
    /// after 127 of them at the latest.
    fn from(&mut self, issuer: &[u8], way: &mut Vec<usize>) {
        if self.ways.len() == WAYS_MAX {
            return;
        }
        if self.anchors.contains(issuer) {
            self.ways.push(way.clone());
            return;
        }
        let namesakes = self.pile.by_subject.get(issuer).cloned();
        for n in namesakes.unwrap_or_default() {
            if way.contains(&n) {
                continue;
            }
            if way.len() == INTERMEDIATES_MAX {
                self.is_long = true;
                return;
            }
            way.push(n);
            let next = self.pile.issuers.get(n).copied().unwrap_or_default();
            self.from(next, way);
            way.pop();
        }
    }
}

/// Name and key identifier of the one who signed a certificate, as far as it says so.
fn named_key<'a>(certificate: &'a CertificateDer<'_>) -> Option<(&'a [u8], &'a [u8])> {
    let outline = Outline::of(certificate)?;
    let named = der::only(outline.extension(AUTHORITY_KEY_ID)?, der::SEQUENCE)?;
    let id = der::Elements(named).expect(KEY_ID)?;
    Some((outline.issuer, id))
}

/// What speaks against one of several certificates of one subject: that it is not valid now, and that
/// no other certificate names its key as the one that signed it.
fn doubts(
    candidate: &CertificateDer<'_>,
    named: &HashSet<(&[u8], &[u8])>,
    now: UnixTime,
) -> (bool, bool) {
    let Some(outline) = Outline::of(candidate) else {
        return (true, true);
    };
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let is_valid = outline.validity().is_some_and(|valid| valid.contains(&now));
    let id = outline
        .extension(SUBJECT_KEY_ID)
        .and_then(|id| der::only(id, der::OCTET_STRING));
    let is_named = id.is_some_and(|id| named.contains(&(outline.subject, id)));
    (!is_valid, !is_named)
}

/// Of two refusals the one that says more: that a signature does not fit is what any forgery yields.
fn more_telling(first: Option<webpki::Error>, second: webpki::Error) -> webpki::Error {
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
    fn of_what_was_sent_the_way_is_named() {
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
    fn of_namesakes_the_one_whose_key_is_named_comes_first() {
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

    #[test]
    fn webpki_is_asked_about_two_ways_at_most_whatever_is_sent() {
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
        let ways = verifier.ways(&parsed, &leaf, &pile, now()).unwrap();
        assert_eq!(ways.len(), WAYS_MAX);
        assert!(verifier.verify(&leaf, &pile, now()).is_ok());
    }

    #[test]
    fn a_certificate_of_version_1_is_refused_with_the_way_to_version_3() {
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
