//! Clients that an operator has revoked by name, until a given time: certificates, beside the revocation lists of
//! their CAs, and addresses. Knows neither who says so nor TLS.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use ipnet::IpNet;

/// Who is revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevokedSet {
    /// Serial numbers in lower case hexadecimal, without leading zeros.
    pub serials: HashSet<String>,
    /// SHA-256 of certificates in lower case hexadecimal.
    pub sha256: HashSet<String>,
    /// URIs in subject alternative names.
    pub uris: HashSet<String>,
    /// Common names of subjects.
    pub common_names: HashSet<String>,
    /// Networks of clients.
    pub sources: Vec<IpNet>,
}

/// What there is to know of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// As in [`RevokedSet::serials`].
    pub serial: String,
    /// As in [`RevokedSet::sha256`].
    pub sha256: String,
    /// All URIs.
    pub uris: Vec<String>,
    /// All common names.
    pub common_names: Vec<String>,
    /// Whether the certificate was understood.
    pub is_read: bool,
}

impl RevokedSet {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it has certificates.
    fn has_certificates(&self) -> bool {
        let sets = [&self.serials, &self.sha256, &self.uris, &self.common_names];
        sets.iter().any(|set| !set.is_empty())
    }

    /// Whether a certificate is revoked. One that is not understood is, since it cannot be compared.
    fn has_certificate(&self, names: &CertificateNames) -> bool {
        !names.is_read
            || self.serials.contains(&names.serial)
            || self.sha256.contains(&names.sha256)
            || names.uris.iter().any(|uri| self.uris.contains(uri))
            || names
                .common_names
                .iter()
                .any(|name| self.common_names.contains(name))
    }
}

/// Who is revoked now.
#[derive(Debug, Default)]
pub struct Revoked {
    set: ArcSwapOption<RevokedSet>,
    /// Counts the changes, from 0.
    version: AtomicU64,
}

impl Revoked {
    /// Replaces the whole set. Returns whether that changes anything.
    pub fn replace(&self, set: RevokedSet) -> bool {
        let set = (!set.is_empty()).then(|| Arc::new(set));
        if *self.set.load() == set {
            return false;
        }
        self.set.store(set);
        self.version.fetch_add(1, Ordering::Release);
        true
    }

    /// The number of the set in force. Connections that were compared with an earlier one are compared again.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Whether a certificate is revoked. `names` reads it, if there is anything to compare it with.
    pub fn has_certificate(&self, names: impl FnOnce() -> CertificateNames) -> bool {
        let set = self.set.load();
        let set = set.as_ref().filter(|set| set.has_certificates());
        set.is_some_and(|set| set.has_certificate(&names()))
    }

    /// Whether an address is revoked.
    pub fn has_source(&self, address: IpAddr) -> bool {
        let set = self.set.load();
        let address = address.to_canonical();
        set.as_ref()
            .is_some_and(|set| set.sources.iter().any(|net| net.contains(&address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[&str]) -> HashSet<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn a_certificate_is_revoked_by_any_of_its_names_and_read_only_if_need_be() {
        let revoked = Revoked::default();
        assert!(!revoked.has_certificate(|| panic!("there is nothing to compare with")));
        let names = CertificateNames {
            serial: "7b".to_owned(),
            sha256: "ab".to_owned(),
            uris: vec!["spiffe://a/b".to_owned()],
            common_names: vec!["ada".to_owned()],
            is_read: true,
        };
        let none = RevokedSet::default;
        for by in [
            RevokedSet {
                serials: set(&["7b"]),
                ..none()
            },
            RevokedSet {
                sha256: set(&["ab"]),
                ..none()
            },
            RevokedSet {
                uris: set(&["spiffe://a/b"]),
                ..none()
            },
            RevokedSet {
                common_names: set(&["ada"]),
                ..none()
            },
        ] {
            assert!(revoked.replace(by.clone()) && !revoked.replace(by));
            assert!(revoked.has_certificate(|| names.clone()));
            let other = CertificateNames {
                is_read: true,
                ..CertificateNames::default()
            };
            assert!(!revoked.has_certificate(|| other));
            assert!(
                revoked.has_certificate(CertificateNames::default),
                "not understood"
            );
        }
        assert_eq!(revoked.version(), 4);
    }

    #[test]
    fn an_address_is_revoked_in_either_form() {
        let revoked = Revoked::default();
        let sources = vec!["192.0.2.0/24".parse().unwrap()];
        revoked.replace(RevokedSet {
            sources,
            ..RevokedSet::default()
        });
        for (address, expected) in [
            ("192.0.2.9", true),
            ("::ffff:192.0.2.9", true),
            ("192.0.3.9", false),
        ] {
            assert_eq!(
                revoked.has_source(address.parse().unwrap()),
                expected,
                "{address}"
            );
        }
    }
}
