//! One certificate revocation list: what it covers, and who signed it.

use std::collections::HashSet;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, SubjectPublicKeyInfoDer};
use webpki::{BorrowedCertRevocationList, Error};
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::issuer::Issuer;
use crate::tls::der::{self, Elements};
use crate::tls::validity;
use crate::tls::verify::names::ComparableName;
use crate::tls::verify::signed::Signed;
use crate::tls::words;

/// A parsed list.
#[derive(Clone, Debug)]
pub struct RevocationList {
    der: CertificateRevocationListDer<'static>,
    /// The file it was read from.
    pub source: Arc<str>,
    /// Its issuer, as text.
    pub issuer: String,
    /// When it was issued, in seconds of unix time; it is not used before.
    pub this_update: i64,
    /// By when its issuer will have issued a newer one, in seconds of unix time.
    pub next_update: Option<i64>,
    number: Vec<u8>,
    pub(super) series: Series,
    scope: Option<Scope>,
    pub(super) serials: HashSet<Box<[u8]>>,
}

/// Identifies lists of which the newest replaces the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Series {
    pub(super) issuer: ComparableName,
    /// AuthorityKeyIdentifier: two CAs may have the same name.
    key: Option<Vec<u8>>,
    /// IssuingDistributionPoint, if the list covers only a part of the certificates.
    part: Option<Vec<u8>>,
}

/// Which of its issuer's certificates a list covers.
#[derive(Clone, Debug)]
struct Scope {
    only_leaves: bool,
    only_authorities: bool,
    uris: Vec<String>,
}

/// Whether a list covers a certificate of its issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coverage {
    /// It does not.
    None,
    /// It may: the certificate has no distribution points, so that it does not say which of the partial
    /// lists of its issuer covers it.
    Possible,
    /// It does.
    Full,
}

/// The key identifier within AuthorityKeyIdentifier.
const KEY_ID: u8 = 0x80;
const AUTHORITY_KEY_ID: &str = "2.5.29.35";
const DISTRIBUTION_POINTS: &str = "2.5.29.31";

/// How many seconds before its `nextUpdate` a list is reported as ending soon, if it is in force for at
/// least three times as long.
const ENDS_SOON: i64 = 24 * 3600;

impl RevocationList {
    /// Parses a list in DER. The error is a sentence about the list.
    pub fn read(
        der: CertificateRevocationListDer<'static>,
        source: &Arc<str>,
    ) -> Result<Self, String> {
        let (rest, list) = CertificateRevocationList::from_der(&der)
            .map_err(|_| "it is no revocation list in DER".to_owned())?;
        if !rest.is_empty() {
            return Err("there is something behind its end".to_owned());
        }
        // webpki is stricter: it requires version 2, and refuses delta and indirect lists.
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
                // x509-parser skips fields that are out of order, and with them their restrictions.
                ParsedExtension::IssuingDistributionPoint(point)
                    if point.distribution_point.is_some() && are_in_order(extension.value) =>
                {
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
                ParsedExtension::ParseError { .. }
                | ParsedExtension::IssuingDistributionPoint(_) => {
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
            number: number.unwrap_or_default(),
            series: Series {
                issuer: ComparableName::of(issuer.unwrap_or_default()),
                key,
                part,
            },
            scope,
            serials,
            der,
        })
    }

    /// What tells it from any other: its file and its bytes.
    pub(super) fn parts(&self) -> [&[u8]; 2] {
        [self.source.as_bytes(), &self.der]
    }

    /// Whether its issuer has this name: the content of an X.509 `Name`, as in a trust anchor.
    pub fn is_of(&self, subject: &[u8]) -> bool {
        self.series.issuer == ComparableName::of(subject)
    }

    /// When its replacement is due, in seconds of unix time: a day before its next update, or a third of
    /// the time that it is in force if that is less.
    pub fn renewal_due(&self) -> Option<i64> {
        let next = self.next_update?;
        Some(validity::due(self.this_update, next, ENDS_SOON))
    }

    /// Whether it is in force at `now`, in seconds of unix time.
    pub const fn is_in_force(&self, now: i64) -> bool {
        self.this_update <= now
    }

    /// Whether it is on the same certificates of the same issuer as another one.
    pub fn is_about_the_same_as(&self, other: &Self) -> bool {
        let (own, other) = (&self.series, &other.series);
        own.issuer == other.issuer && own.part == other.part
    }

    /// Sort key that is greater for a newer list: by `thisUpdate`, then by CRL number.
    pub fn newness(&self) -> (i64, usize, &[u8]) {
        (self.this_update, self.number.len(), &self.number)
    }

    /// Whether it covers a certificate of its issuer.
    pub(super) fn covers(&self, certificate: &CertificateDer<'_>, is_leaf: bool) -> Coverage {
        let Some(scope) = &self.scope else {
            return Coverage::Full;
        };
        if scope.only_authorities && is_leaf || scope.only_leaves && !is_leaf {
            return Coverage::None;
        }
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return Coverage::None;
        };
        let extensions = parsed.extensions().iter();
        let mut points = extensions
            .filter(|extension| extension.oid.to_id_string() == DISTRIBUTION_POINTS)
            .map(|extension| extension.parsed_extension())
            .peekable();
        // Any list of its issuer may cover a certificate without distribution points. If the points are
        // malformed, it is not known which list does.
        if points.peek().is_none() {
            return Coverage::Possible;
        }
        let is_named = points.any(|points| {
            let ParsedExtension::CRLDistributionPoints(points) = points else {
                return false;
            };
            points.iter().any(|point| {
                let is_plain = point.crl_issuer.is_none() && point.reasons.is_none();
                let own = uris(point.distribution_point.as_ref());
                is_plain && own.iter().any(|uri| scope.uris.contains(uri))
            })
        });
        if is_named {
            Coverage::Full
        } else {
            Coverage::None
        }
    }

    /// Whether it identifies the key that signed it.
    pub(super) const fn names_key(&self) -> bool {
        self.series.key.is_some()
    }

    /// Whether it identifies another key than this issuer's as the one that signed it.
    pub(super) fn names_other_key(&self, issuer: &Issuer<'_>) -> bool {
        let key = self.series.key.as_deref();
        let key = key.and_then(|key| der::only(key, der::SEQUENCE));
        let id = key.and_then(|key| Elements(key).expect(KEY_ID));
        id.zip(issuer.key_id)
            .is_some_and(|(named, own)| named != own)
    }

    /// Its signature algorithm, if that is not accepted.
    pub(super) fn unsupported_algorithm(&self) -> Option<&[u8]> {
        let signed = Signed::of(&self.der)?;
        (!signed.is_supported()).then_some(signed.algorithm)
    }

    /// The name of its signature algorithm, if that is not accepted.
    pub fn unusable_signature(&self) -> Option<String> {
        self.unsupported_algorithm().map(words::algorithm)
    }

    /// Whether its signature verifies under this key.
    pub(super) fn is_signed_by(&self, key: &SubjectPublicKeyInfoDer<'_>) -> bool {
        Signed::of(&self.der).is_some_and(|signed| signed.is_by(key))
    }
}

/// Where a certificate says that the lists of its issuer are (RFC 5280, section 4.2.1.13).
pub fn distribution_points(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for extension in certificate.extensions() {
        if let ParsedExtension::CRLDistributionPoints(points) = extension.parsed_extension() {
            let plain = points.iter().filter(|point| point.crl_issuer.is_none());
            found.extend(plain.flat_map(|point| uris(point.distribution_point.as_ref())));
        }
    }
    found
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

/// Whether the fields of an IssuingDistributionPoint (RFC 5280 section 5.2.5) are in order, each once.
fn are_in_order(point: &[u8]) -> bool {
    let mut fields = Elements(der::only(point, der::SEQUENCE).unwrap_or_default());
    let numbers: Vec<_> = fields.by_ref().map(|field| field.tag & 0x1f).collect();
    fields.is_done() && numbers.is_sorted_by(|one, next| one < next)
}

/// The content of an INTEGER without leading zeros, which encoders do not agree on.
pub(super) fn integer(content: &[u8]) -> &[u8] {
    let zeros = content.iter().take_while(|b| **b == 0).count();
    content.get(zeros..).unwrap_or_default()
}

/// Why webpki refuses a list.
fn unusable(error: &Error) -> String {
    match error {
        Error::UnsupportedDeltaCrl => "it is a delta list; give the whole one".to_owned(),
        Error::UnsupportedIndirectCrl => {
            "it is an indirect list, on certificates of others than its issuer".to_owned()
        }
        // webpki's errors for a list without extensions or without `nextUpdate`.
        Error::UnsupportedCrlVersion | Error::MalformedExtensions | Error::BadDer => {
            "it is not of version 2 (openssl ca: crl_extensions), or has no next update".to_owned()
        }
        other => words::webpki(other),
    }
}

#[cfg(test)]
mod tests;
