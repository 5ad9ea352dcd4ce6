//! Certificate revocation lists, and what to do where they do not answer.
//!
//! webpki verifies a list's signature at every handshake, compares names as bytes and takes a list that
//! is not in force yet; so the question is answered here, of each path that webpki found good. What a
//! list may hold is what webpki reads: no delta and no indirect lists.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use webpki::{
    BorrowedCertRevocationList, Cert, EndEntityCert, Error, RawPublicKeyEntity,
    UnsupportedSignatureAlgorithmContext,
};
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::names::ComparableName;
use crate::tls::der::{self, Elements};
use crate::tls::digest::sha256;
use crate::tls::words;

/// A list ends soon when it does within so many seconds.
pub const ENDS_SOON: i64 = 24 * 3600;

/// How far up a chain revocation is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Every certificate of the chain but the trust anchor.
    Chain,
    /// The peer's own certificate alone.
    Leaf,
}

/// What to do where no list can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnknown {
    /// Refuse.
    Deny,
    /// Go on as if the certificate were not revoked.
    Allow,
}

/// The revocation policy of a route or upstream that has lists.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// The lists.
    pub lists: Arc<RevocationLists>,
    /// How far up.
    pub depth: Depth,
    /// Where no list is of the certificate's issuer.
    pub unknown: OnUnknown,
    /// Where the list should have been replaced by a newer one.
    pub expired: OnUnknown,
}

/// Lists, newest first: of those that are in force the newest of each issuer, key and distribution
/// point, and all that are of the future.
#[derive(Debug)]
pub struct RevocationLists {
    lists: Vec<RevocationList>,
    /// Whether a list, by its place, is signed by a key: each pair is looked at once.
    signatures: Mutex<HashMap<(usize, [u8; 32]), bool>>,
}

/// How many answers [`RevocationLists`] remembers on signatures. They are few: keys of authorities that
/// verified paths lead through.
const SIGNATURES: usize = 4096;

/// One list that was read.
#[derive(Clone, Debug)]
pub struct RevocationList {
    der: CertificateRevocationListDer<'static>,
    /// The file it is from.
    pub source: Arc<str>,
    /// Its issuer, as text.
    pub issuer: String,
    /// When it was made, in seconds of unix time; it is not used before.
    pub this_update: i64,
    /// When a newer one is to be there, in seconds of unix time.
    pub next_update: Option<i64>,
    /// The certificates that it revokes.
    pub revoked: usize,
    number: Vec<u8>,
    place: Place,
    scope: Option<Scope>,
    serials: HashSet<Box<[u8]>>,
}

/// What lists have in common of which the newest replaces the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Place {
    issuer: ComparableName,
    /// The extension on the issuer's key: two authorities may have one name.
    key: Option<Vec<u8>>,
    /// The extension on the distribution point, where a list is not on all certificates.
    part: Option<Vec<u8>>,
}

/// Which of its issuer's certificates a list is about.
#[derive(Clone, Debug)]
struct Scope {
    only_leaves: bool,
    only_authorities: bool,
    uris: Vec<String>,
}

const AUTHORITY_KEY_ID: &str = "2.5.29.35";
const DISTRIBUTION_POINTS: &str = "2.5.29.31";

impl RevocationList {
    /// Reads a list from DER; the error says what is wrong with it.
    pub fn read(
        der: CertificateRevocationListDer<'static>,
        source: &Arc<str>,
    ) -> Result<Self, String> {
        let (rest, list) = CertificateRevocationList::from_der(&der)
            .map_err(|_| "it is no revocation list in DER".to_owned())?;
        if !rest.is_empty() {
            return Err("there is something behind its end".to_owned());
        }
        // webpki reads more strictly: it wants version 2, and knows neither delta nor indirect lists.
        let strict = BorrowedCertRevocationList::from_der(&der).map_err(|e| unusable(&e))?;
        let serials = strict
            .into_iter()
            .map(|revoked| revoked.map(|revoked| integer(revoked.serial_number).into()))
            .collect::<Result<HashSet<_>, _>>()
            .map_err(|e| unusable(&e))?;
        let number = list.crl_number().map(|n| n.to_bytes_be());
        let (mut part, mut key, mut scope) = (None, None, None);
        for extension in list.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::IssuingDistributionPoint(point) => {
                    part = Some(extension.value.to_vec());
                    scope = Some(Scope {
                        only_leaves: point.only_contains_user_certs,
                        only_authorities: point.only_contains_ca_certs,
                        uris: uris(point.distribution_point.as_ref()),
                    });
                }
                _ if extension.oid.to_id_string() == AUTHORITY_KEY_ID => {
                    key = Some(extension.value.to_vec());
                }
                ParsedExtension::ParseError { .. } => {
                    return Err(format!("its extension {} is broken", extension.oid));
                }
                _ => {}
            }
        }
        let issuer = der::only(list.issuer().as_raw(), der::SEQUENCE);
        Ok(Self {
            source: Arc::clone(source),
            issuer: list.issuer().to_string(),
            this_update: list.last_update().timestamp(),
            next_update: list.next_update().map(|time| time.timestamp()),
            revoked: list.iter_revoked_certificates().count(),
            number: number.unwrap_or_default(),
            place: Place {
                issuer: ComparableName::of(issuer.unwrap_or_default()),
                key,
                part,
            },
            scope,
            serials,
            der,
        })
    }

    /// Whether its issuer has this name: the content of an X.509 `Name`, as a trust anchor holds it.
    pub fn is_of(&self, subject: &[u8]) -> bool {
        self.place.issuer == ComparableName::of(subject)
    }

    /// Whether it is used at this moment, in seconds of unix time.
    pub const fn is_in_force(&self, now: i64) -> bool {
        self.this_update <= now
    }

    /// What is greater for a newer list: it is later, or has a higher number where two were made at the
    /// same time.
    fn newness(&self) -> (i64, usize, &[u8]) {
        (self.this_update, self.number.len(), &self.number)
    }

    /// Whether it speaks of a certificate of its issuer.
    fn covers(&self, certificate: &CertificateDer<'_>, is_leaf: bool) -> bool {
        let Some(scope) = &self.scope else {
            return true;
        };
        if scope.only_authorities && is_leaf || scope.only_leaves && !is_leaf {
            return false;
        }
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return false;
        };
        let extensions = parsed.extensions().iter();
        let mut points = extensions
            .filter(|extension| extension.oid.to_id_string() == DISTRIBUTION_POINTS)
            .map(|extension| extension.parsed_extension())
            .peekable();
        // One without distribution points is meant by any list of its issuer; of one whose points cannot
        // be read it is not known.
        points.peek().is_none()
            || points.any(|points| {
                let ParsedExtension::CRLDistributionPoints(points) = points else {
                    return false;
                };
                points.iter().any(|point| {
                    let is_plain = point.crl_issuer.is_none() && point.reasons.is_none();
                    let own = uris(point.distribution_point.as_ref());
                    is_plain && own.iter().any(|uri| scope.uris.contains(uri))
                })
            })
    }

    /// What is signed, with what algorithm, and the signature.
    fn signed(&self) -> Option<(&[u8], &[u8], &[u8])> {
        let mut parts = Elements(der::only(&self.der, der::SEQUENCE)?);
        let signed = parts.next()?.whole;
        let algorithm = parts.expect(der::SEQUENCE)?;
        // Behind a count of unused bits, of which there are none.
        let signature = parts.expect(der::BIT_STRING)?.strip_prefix(&[0])?;
        Some((signed, algorithm, signature))
    }

    /// The algorithm that it is signed with, where that is none that is accepted.
    fn strange_algorithm(&self) -> Option<&[u8]> {
        let (_, algorithm, _) = self.signed()?;
        let mut known = crate::tls::SIGNATURES.all.iter();
        let is_known = known.any(|known| known.signature_alg_id().as_ref() == algorithm);
        (!is_known).then_some(algorithm)
    }

    /// Why it counts for nobody, where that is not its issuer's doing.
    pub fn unusable_signature(&self) -> Option<String> {
        self.strange_algorithm().map(words::algorithm)
    }

    /// Whether this key signed it.
    fn is_signed_by(&self, key: &SubjectPublicKeyInfoDer<'_>) -> bool {
        let (Some((signed, algorithm, signature)), Ok(key)) =
            (self.signed(), RawPublicKeyEntity::try_from(key))
        else {
            return false;
        };
        crate::tls::SIGNATURES
            .all
            .iter()
            .filter(|known| known.signature_alg_id().as_ref() == algorithm)
            .any(|known| key.verify_signature(*known, signed, signature).is_ok())
    }
}

fn uris(point: Option<&DistributionPointName<'_>>) -> Vec<String> {
    let names = match point {
        Some(DistributionPointName::FullName(names)) => names.as_slice(),
        _ => &[],
    };
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    };
    names.iter().filter_map(uri).collect()
}

/// An INTEGER's content without the zeros before it, which some encoders add and some leave out.
fn integer(content: &[u8]) -> &[u8] {
    let zeros = content.iter().take_while(|b| **b == 0).count();
    content.get(zeros..).unwrap_or_default()
}

/// Why a list that can be read cannot be used.
fn unusable(error: &Error) -> String {
    match error {
        Error::UnsupportedDeltaCrl => "it is a delta list; give the whole one".to_owned(),
        Error::UnsupportedIndirectCrl => {
            "it is an indirect list, on certificates of others than its issuer".to_owned()
        }
        // How the lack of extensions, or of a next update, comes out.
        Error::UnsupportedCrlVersion | Error::MalformedExtensions | Error::BadDer => {
            "it is not of version 2 (openssl ca: crl_extensions), or has no next update".to_owned()
        }
        other => words::webpki(other),
    }
}

impl RevocationLists {
    /// Keeps the newest list of each issuer and distribution point that is in force `now`, in seconds of
    /// unix time, and those that will be; the others are returned beside.
    pub fn newest(mut lists: Vec<RevocationList>, now: i64) -> (Self, Vec<RevocationList>) {
        // What one distribution point says may be in a list of all, too: of those the newest is asked.
        lists.sort_by(|a, b| (b.newness(), &a.place).cmp(&(a.newness(), &b.place)));
        let mut places = HashSet::new();
        let (lists, older) = lists
            .into_iter()
            .partition(|list| !list.is_in_force(now) || places.insert(list.place.clone()));
        let signatures = Mutex::default();
        (Self { lists, signatures }, older)
    }

    /// The lists that are used, or will be.
    pub fn iter(&self) -> impl Iterator<Item = &RevocationList> {
        self.lists.iter()
    }

    /// Checks the signatures of the lists of these authorities, so that no handshake has to.
    pub(in crate::tls) fn check_signatures(&self, anchors: &[TrustAnchor<'_>]) {
        for anchor in anchors {
            let name = ComparableName::of(&anchor.subject);
            let key = der::sequence(&anchor.subject_public_key_info).into();
            for (n, list) in self.lists.iter().enumerate() {
                if list.place.issuer == name {
                    self.is_signed_by(n, list, &key);
                }
            }
        }
    }

    /// The lists whose issuer has the name of none of these authorities; and those whose issuer has, but
    /// that none of them signed.
    pub fn strangers(
        &self,
        anchors: &[TrustAnchor<'_>],
    ) -> (Vec<&RevocationList>, Vec<&RevocationList>) {
        self.check_signatures(anchors);
        let names: HashSet<_> = anchors
            .iter()
            .map(|anchor| ComparableName::of(&anchor.subject))
            .collect();
        let (ours, of_nobody): (Vec<_>, Vec<_>) = self
            .lists
            .iter()
            .enumerate()
            .partition(|(_, list)| names.contains(&list.place.issuer));
        let unsigned = ours.into_iter().filter(|(n, _)| !self.has_signer(*n));
        (
            of_nobody.into_iter().map(|(_, list)| list).collect(),
            unsigned.map(|(_, list)| list).collect(),
        )
    }

    fn is_signed_by(
        &self,
        n: usize,
        list: &RevocationList,
        key: &SubjectPublicKeyInfoDer<'_>,
    ) -> bool {
        let pair = (n, sha256(key));
        let known = || {
            self.signatures
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(is_signed) = known().get(&pair) {
            return *is_signed;
        }
        let is_signed = list.is_signed_by(key);
        let mut known = known();
        if known.len() < SIGNATURES {
            known.insert(pair, is_signed);
        }
        is_signed
    }

    /// Whether it is known whose key signed a list.
    fn has_signer(&self, n: usize) -> bool {
        let known = self
            .signatures
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .any(|((of, _), is_signed)| *of == n && *is_signed)
    }
}

impl Revocation {
    /// Until when what is found at `now` holds as far as the lists are concerned, in seconds of unix
    /// time: one ends, or one begins.
    pub(in crate::tls) fn until(&self, now: UnixTime) -> i64 {
        let now = seconds(now);
        let ends = self.lists.iter().filter_map(|list| list.next_update);
        let ends = ends.filter(|_| self.expired == OnUnknown::Deny);
        let begins = self.lists.iter().map(|list| list.this_update);
        let changes = ends.chain(begins).filter(|change| *change > now);
        changes.min().unwrap_or(i64::MAX)
    }

    /// Whether nothing on a path that was found good is revoked, as far as the policy asks.
    pub(in crate::tls) fn check(
        &self,
        path: &webpki::VerifiedPath<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let leaf: &Cert<'_> = path.end_entity();
        let chain: Vec<_> = std::iter::once(leaf)
            .chain(path.intermediate_certificates())
            .collect();
        let issuers = chain.iter().skip(1).map(|issuer| Some(*issuer));
        let pairs: Vec<_> = chain
            .iter()
            .zip(issuers.chain([None]))
            .enumerate()
            .collect();
        for (n, (certificate, issuer)) in pairs.into_iter().rev() {
            if n > 0 && self.depth == Depth::Leaf {
                continue;
            }
            let key = match issuer {
                Some(issuer) => issuer.subject_public_key_info(),
                None => der::sequence(&path.anchor().subject_public_key_info).into(),
            };
            let may_sign = || issuer.is_none_or(|issuer| may_sign_lists(&issuer.der()));
            self.ask(certificate, n == 0, &key, may_sign, now)?;
        }
        Ok(())
    }

    /// The same for a certificate that is its own issuer.
    pub(in crate::tls) fn check_selfsigned(
        &self,
        certificate: &EndEntityCert<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let key = certificate.subject_public_key_info();
        self.ask(certificate, true, &key, || true, now)
    }

    /// Asks the newest list in force that is on a certificate.
    fn ask(
        &self,
        certificate: &Cert<'_>,
        is_leaf: bool,
        issuer_key: &SubjectPublicKeyInfoDer<'_>,
        issuer_may_sign: impl FnOnce() -> bool,
        now: UnixTime,
    ) -> Result<(), Error> {
        let issuer = ComparableName::of(certificate.issuer());
        let mut is_early = false;
        for (n, list) in self.lists.iter().enumerate() {
            if list.place.issuer != issuer || !list.covers(&certificate.der(), is_leaf) {
                continue;
            }
            if !list.is_in_force(seconds(now)) {
                is_early = true;
                continue;
            }
            if let Some(algorithm) = list.strange_algorithm() {
                let context = UnsupportedSignatureAlgorithmContext {
                    signature_algorithm_id: algorithm.to_vec(),
                    supported_algorithms: Vec::new(),
                };
                return Err(Error::UnsupportedCrlSignatureAlgorithmContext(context));
            }
            if !self.lists.is_signed_by(n, list, issuer_key) {
                // One of another authority of this name says nothing here; a forged one hides what
                // older ones say, and is not passed over.
                if self.lists.has_signer(n) {
                    continue;
                }
                return Err(Error::InvalidCrlSignatureForPublicKey);
            }
            return self.answer(list, certificate, issuer_may_sign, now);
        }
        let is_out_of_time = is_early && self.expired == OnUnknown::Deny;
        if self.unknown == OnUnknown::Allow && !is_out_of_time {
            return Ok(());
        }
        Err(Error::UnknownRevocationStatus)
    }

    /// What a list says that is in force and signed.
    fn answer(
        &self,
        list: &RevocationList,
        certificate: &Cert<'_>,
        issuer_may_sign: impl FnOnce() -> bool,
        now: UnixTime,
    ) -> Result<(), Error> {
        if let (Some(next), OnUnknown::Deny) = (list.next_update, self.expired)
            && seconds(now) >= next
        {
            let next = Duration::from_secs(u64::try_from(next).unwrap_or_default());
            return Err(Error::CrlExpired {
                time: now,
                next_update: UnixTime::since_unix_epoch(next),
            });
        }
        if !issuer_may_sign() {
            return Err(Error::IssuerNotCrlSigner);
        }
        if list.serials.contains(integer(certificate.serial())) {
            return Err(Error::CertRevoked);
        }
        Ok(())
    }
}

/// Whether an authority that says what its key is for says that it is for revocation lists.
fn may_sign_lists(authority: &CertificateDer<'_>) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(authority) else {
        return false;
    };
    let usage = parsed.key_usage();
    usage.is_ok_and(|usage| usage.is_none_or(|usage| usage.value.crl_sign()))
}

fn seconds(now: UnixTime) -> i64 {
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
        CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, CustomExtension, IsCa,
        KeyIdMethod, KeyPair,
    };
    use time::OffsetDateTime;

    use super::*;

    const HERE: &str = "http://a.test/1.crl";

    fn issuer() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// A list of one distribution point.
    fn partial(
        issuer: &CertifiedIssuer<'static, KeyPair>,
        scope: Option<CrlScope>,
    ) -> RevocationList {
        let uris = vec![HERE.to_owned()];
        let params = CertificateRevocationListParams {
            this_update: OffsetDateTime::now_utc(),
            next_update: OffsetDateTime::now_utc() + time::Duration::days(1),
            crl_number: 1.into(),
            issuing_distribution_point: Some(CrlIssuingDistributionPoint {
                distribution_point: CrlDistributionPoint { uris },
                scope,
            }),
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(issuer).unwrap();
        RevocationList::read(list.der().clone(), &"a.crl".into()).unwrap()
    }

    #[test]
    fn a_list_that_is_signed_in_a_strange_way_says_how() {
        const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
        let list = partial(&issuer(), None);
        assert_eq!(list.unusable_signature(), None);
        let mut der = list.der.to_vec();
        for at in 0..der.len() - ECDSA_SHA256.len() {
            if der[at..].starts_with(ECDSA_SHA256) {
                der[at + ECDSA_SHA256.len() - 1] = 1;
            }
        }
        let list = RevocationList::read(der.into(), &"a.crl".into()).unwrap();
        let said = list.unusable_signature().unwrap();
        assert!(
            said.to_lowercase().contains("sha224") || said.contains("1.2.840"),
            "{said}"
        );
    }

    #[test]
    fn a_partial_list_covers_what_it_is_about_and_nothing_in_doubt() {
        let issuer = issuer();
        let certificate = |shape: fn(&mut CertificateParams)| {
            let mut params = CertificateParams::default();
            shape(&mut params);
            let key = KeyPair::generate().unwrap();
            params.signed_by(&key, &issuer).unwrap().der().clone()
        };
        let plain = certificate(|_| {});
        let here = certificate(|params| {
            params.crl_distribution_points = vec![CrlDistributionPoint {
                uris: vec![HERE.to_owned()],
            }];
        });
        let elsewhere = certificate(|params| {
            params.crl_distribution_points = vec![CrlDistributionPoint {
                uris: vec!["http://a.test/2.crl".to_owned()],
            }];
        });
        let broken = certificate(|params| {
            let junk = CustomExtension::from_oid_content(&[2, 5, 29, 31], vec![0x30, 2, 5]);
            params.custom_extensions.push(junk);
        });
        for (what, scope, is_leaf, covered) in [
            (&plain, None, true, true),
            (&here, None, true, true),
            (&elsewhere, None, true, false),
            (&broken, None, true, false),
            (&here, Some(CrlScope::UserCertsOnly), true, true),
            (&here, Some(CrlScope::UserCertsOnly), false, false),
            (&here, Some(CrlScope::CaCertsOnly), true, false),
            (&plain, Some(CrlScope::CaCertsOnly), false, true),
        ] {
            let list = partial(&issuer, scope);
            assert_eq!(list.covers(what, is_leaf), covered, "{scope:?} {is_leaf}");
        }
    }
}
