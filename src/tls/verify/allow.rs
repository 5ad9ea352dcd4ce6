//! Allow rules: which valid certificates are admitted.
//!
//! The keys of a rule are ANDed, the values of a key ORed, and one matching rule admits. A value is
//! compared only with names of its own type, on all bytes: a DNS rule never matches a common name, a
//! name with a NUL matches nothing, and neither does text in an encoding other than ASCII or UTF-8. A
//! malformed or ambiguous certificate is not admitted.

mod names;
mod patterns;
#[cfg(test)]
mod tests;

use std::fmt;

use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use self::names::PeerNames;
pub use self::patterns::{Email, UriPattern};
use crate::hostname::HostPattern;
use crate::tls::digest::sha256;
use crate::tls::info::hex;

/// The rules of a policy; one that matches admits. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules(pub Vec<Rule>);

/// One rule: for each key with values, one value must match. At least one key has values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// A DNS name among the SANs.
    pub dns: Vec<HostPattern>,
    /// A URI among the SANs, such as a SPIFFE ID.
    pub uri: Vec<UriPattern>,
    /// A mail address among the SANs.
    pub email: Vec<Email>,
    /// An address among the SANs, in one of these networks.
    pub ip: Vec<IpNet>,
    /// The common name of the subject, which must be the only one.
    pub common_name: Vec<String>,
    /// An organizational unit of the subject.
    pub organizational_unit: Vec<String>,
    /// SHA-256 of the whole certificate.
    pub sha256: Vec<[u8; 32]>,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki_sha256: Vec<[u8; 32]>,
}

impl Rules {
    /// The index of the first rule that admits this certificate.
    pub fn admitting(&self, certificate: &CertificateDer<'_>) -> Option<usize> {
        let names = PeerNames::of(certificate)?;
        self.0.iter().position(|rule| rule.admits(&names))
    }
}

impl Rule {
    /// Whether no key has values; such a rule would admit every certificate.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The keys of which no value matches a certificate; empty if it cannot be read.
    pub fn unmet(&self, certificate: &CertificateDer<'_>) -> Vec<&'static str> {
        let names = PeerNames::of(certificate);
        let keys = names.as_ref().map(|names| self.keys(names));
        let unmet = keys.into_iter().flatten().filter(|(_, is_met)| !is_met);
        unmet.map(|(key, _)| key).collect()
    }

    fn admits(&self, names: &PeerNames<'_>) -> bool {
        !self.is_empty() && self.keys(names).iter().all(|(_, is_met)| *is_met)
    }

    fn keys(&self, names: &PeerNames<'_>) -> [(&'static str, bool); 8] {
        // A key that is left out here would admit everybody.
        let Self {
            dns,
            uri,
            email,
            ip,
            common_name,
            organizational_unit,
            sha256,
            spki_sha256,
        } = self;
        [
            ("dns", met(dns, |pattern| names.has_dns(pattern))),
            ("uri", met(uri, |pattern| names.has_uri(pattern))),
            ("email", met(email, |email| names.emails.contains(email))),
            ("ip", met(ip, |net| names.has_ip(net))),
            ("common_name", met(common_name, |name| names.is_named(name))),
            (
                "organizational_unit",
                met(organizational_unit, |unit| names.has_unit(unit)),
            ),
            ("sha256", met(sha256, |hash| names.sha256 == *hash)),
            ("spki_sha256", met(spki_sha256, |hash| names.spki == *hash)),
        ]
    }
}

/// Whether one of a key's values matches, or it has none.
fn met<T>(values: &[T], is_met: impl Fn(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(is_met)
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo; `None` if the certificate is malformed.
pub fn spki_sha256(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(sha256(parsed.public_key().raw))
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The fingerprint of a policy is made of this text: a session must not outlive a key.
        let Self {
            dns,
            uri,
            email,
            ip,
            common_name,
            organizational_unit,
            sha256,
            spki_sha256,
        } = self;
        let mut keys = Vec::new();
        let mut key = |name: &str, values: Vec<String>| {
            if !values.is_empty() {
                keys.push(format!("{name}: [{}]", values.join(", ")));
            }
        };
        key("dns", dns.iter().map(HostPattern::to_string).collect());
        key("uri", uri.iter().map(UriPattern::to_string).collect());
        key("email", email.iter().map(Email::to_string).collect());
        key("ip", ip.iter().map(IpNet::to_string).collect());
        key("common_name", quoted(common_name));
        key("organizational_unit", quoted(organizational_unit));
        key("sha256", sha256.iter().map(|h| hex(h)).collect());
        key("spki_sha256", spki_sha256.iter().map(|h| hex(h)).collect());
        write!(f, "{{ {} }}", keys.join(", "))
    }
}

fn quoted(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| format!("{text:?}")).collect()
}
