//! Revocation by CRLs, and the policy where no CRL covers a certificate.
//!
//! webpki's own check verifies a list's signature in every handshake, compares names as bytes and uses
//! a list before its `thisUpdate`. So this module checks each path that webpki has verified. Lists are
//! limited to what webpki reads: no delta and no indirect lists.

mod issuer;
mod list;
mod lists;

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use webpki::{Cert, EndEntityCert, Error, UnsupportedSignatureAlgorithmContext};

use issuer::Issuer;
use list::{Coverage, integer};
pub use list::{RevocationList, distribution_points};
pub use lists::RevocationLists;

use super::names::ComparableName;
use crate::tls::der::{self, Outline};

/// Which certificates of a chain are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Every certificate of the chain but the trust anchor.
    Chain,
    /// The peer's own certificate alone.
    Leaf,
}

/// What to do if no valid list covers a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnknown {
    /// Refuse the certificate.
    Deny,
    /// Accept it as not revoked.
    Allow,
}

/// The revocation policy of a route or upstream that has lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The lists.
    pub lists: Arc<RevocationLists>,
    /// Which certificates of a chain are checked.
    pub depth: Depth,
    /// If the certificate's issuer has no list.
    pub unknown: OnUnknown,
    /// If the list's `nextUpdate` has passed.
    pub expired: OnUnknown,
}

impl Revocation {
    /// When the next list expires or comes into force after `now`, in seconds of unix time: until then
    /// a check gives the same result.
    pub(in crate::tls) fn until(&self, now: UnixTime) -> i64 {
        let now = seconds(now);
        let ends = self.lists.iter().filter_map(|list| list.next_update);
        let ends = ends.filter(|_| self.expired == OnUnknown::Deny);
        let begins = self.lists.iter().map(|list| list.this_update);
        let changes = ends.chain(begins).filter(|change| *change > now);
        changes.min().unwrap_or(i64::MAX)
    }

    /// Checks that no certificate of a verified path is revoked. The subject key identifier of its trust
    /// anchor tells a list of that CA from one of a CA with the same name and another key.
    pub(in crate::tls) fn check(
        &self,
        path: &webpki::VerifiedPath<'_>,
        anchor_key_id: Option<&[u8]>,
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
            let der = issuer.map(|issuer| issuer.der());
            let issuer = Issuer {
                key_id: match &der {
                    Some(der) => Outline::of(der).and_then(|outline| outline.key_id()),
                    None => anchor_key_id,
                },
                key: match issuer {
                    Some(issuer) => issuer.subject_public_key_info(),
                    None => der::sequence(&path.anchor().subject_public_key_info).into(),
                },
                certificate: der.clone(),
            };
            self.check_certificate(certificate, n == 0, &issuer, now)?;
        }
        Ok(())
    }

    /// Checks a self-signed certificate against its own list.
    pub(in crate::tls) fn check_selfsigned(
        &self,
        certificate: &EndEntityCert<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let der = certificate.der();
        let issuer = Issuer {
            key: certificate.subject_public_key_info(),
            certificate: None,
            key_id: Outline::of(&der).and_then(|outline| outline.key_id()),
        };
        self.check_certificate(certificate, true, &issuer, now)
    }

    /// Checks a certificate against the newest list in force that covers it, and against every newer one
    /// that may cover it.
    fn check_certificate(
        &self,
        certificate: &Cert<'_>,
        is_leaf: bool,
        issuer: &Issuer<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let name = ComparableName::of(certificate.issuer());
        let (mut is_early, mut is_checked, mut is_foreign) = (false, false, false);
        for (n, list) in self.lists.iter().enumerate() {
            if list.series.issuer != name {
                continue;
            }
            let coverage = list.covers(&certificate.der(), is_leaf);
            if coverage == Coverage::None {
                continue;
            }
            if !list.is_in_force(seconds(now)) {
                is_early = true;
                continue;
            }
            if let Some(algorithm) = list.unsupported_algorithm() {
                let context = UnsupportedSignatureAlgorithmContext {
                    signature_algorithm_id: algorithm.to_vec(),
                    supported_algorithms: Vec::new(),
                };
                return Err(Error::UnsupportedCrlSignatureAlgorithmContext(context));
            }
            if !self.lists.is_signed_by(n, list, &issuer.key) {
                // A list of another CA with this name does not apply. A forged list is refused: it
                // replaced older ones, which may revoke the certificate.
                let names_other_key = list.names_other_key(issuer);
                if self.lists.has_signer(n) || names_other_key && issuer.certificate.is_some() {
                    continue;
                }
                // The CA of a list beside a trust anchor may never be seen: it is a list of a renewed CA
                // only if there is one of the anchor's own, too.
                if names_other_key {
                    is_foreign = true;
                    continue;
                }
                return Err(Error::InvalidCrlSignatureForPublicKey);
            }
            self.check_in(list, certificate, issuer, now)?;
            if coverage == Coverage::Full {
                return Ok(());
            }
            is_checked = true;
        }
        if is_checked {
            return Ok(());
        }
        if is_foreign {
            return Err(Error::InvalidCrlSignatureForPublicKey);
        }
        let is_out_of_time = is_early && self.expired == OnUnknown::Deny;
        if self.unknown == OnUnknown::Allow && !is_out_of_time {
            return Ok(());
        }
        Err(Error::UnknownRevocationStatus)
    }

    /// Checks a certificate against a list that is in force and signed.
    fn check_in(
        &self,
        list: &RevocationList,
        certificate: &Cert<'_>,
        issuer: &Issuer<'_>,
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
        if !issuer.may_sign_lists() {
            return Err(Error::IssuerNotCrlSigner);
        }
        if list.serials.contains(integer(certificate.serial())) {
            return Err(Error::CertRevoked);
        }
        Ok(())
    }
}

fn seconds(now: UnixTime) -> i64 {
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
