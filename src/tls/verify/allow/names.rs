//! The names and fingerprints of a peer certificate, as rules are compared with them.

use std::net::IpAddr;

use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::{Oid, Tag};
use x509_parser::oid_registry::{OID_X509_COMMON_NAME, OID_X509_ORGANIZATIONAL_UNIT};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::patterns::{Email, UriPattern};
use crate::hostname::{HostName, HostPattern};
use crate::tls::digest::sha256;

/// The names and fingerprints of a certificate, by type.
pub(super) struct PeerNames<'a> {
    pub(super) dns: Vec<HostName>,
    pub(super) uris: Vec<&'a str>,
    pub(super) emails: Vec<Email>,
    pub(super) ips: Vec<IpAddr>,
    pub(super) common_names: Vec<Option<String>>,
    pub(super) units: Vec<Option<String>>,
    pub(super) sha256: [u8; 32],
    pub(super) spki: [u8; 32],
}

impl<'a> PeerNames<'a> {
    /// `None` for a malformed certificate.
    pub(super) fn of(certificate: &'a CertificateDer<'_>) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(certificate).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let mut names = Self {
            dns: Vec::new(),
            uris: Vec::new(),
            emails: Vec::new(),
            ips: Vec::new(),
            common_names: texts(&parsed, &OID_X509_COMMON_NAME),
            units: texts(&parsed, &OID_X509_ORGANIZATIONAL_UNIT),
            sha256: sha256(certificate),
            spki: sha256(parsed.public_key().raw),
        };
        // An error here is a repeated or malformed extension: the names are then ambiguous.
        if let Some(extension) = parsed.subject_alternative_name().ok()? {
            for name in &extension.value.general_names {
                if !is_readable(name) {
                    return None;
                }
                names.add(name);
            }
        }
        Some(names)
    }

    fn add(&mut self, name: &GeneralName<'a>) {
        match name {
            // Names in certificates have no trailing dot (RFC 5280 section 4.2.1.6).
            GeneralName::DNSName(name) if !name.ends_with('.') => {
                self.dns.extend(HostName::from_wire(name));
            }
            GeneralName::URI(uri) => self.uris.push(uri),
            GeneralName::RFC822Name(address) => self.emails.extend(Email::parse(address)),
            GeneralName::IPAddress(bytes) => self.ips.extend(ip(bytes)),
            _ => {}
        }
    }

    pub(super) fn has_dns(&self, pattern: &HostPattern) -> bool {
        self.dns.iter().any(|name| pattern.matches(name))
    }

    /// A SPIFFE ID must be the only URI of its certificate (X509-SVID section 2).
    pub(super) fn has_uri(&self, pattern: &UriPattern) -> bool {
        let is_doubtful = self.uris.len() > 1 && self.uris.iter().any(|uri| is_spiffe(uri));
        !is_doubtful && self.uris.iter().any(|uri| pattern.matches(uri))
    }

    pub(super) fn has_ip(&self, net: &IpNet) -> bool {
        self.ips.iter().any(|ip| net.contains(ip))
    }

    /// Several common names are ambiguous, and match nothing.
    pub(super) fn is_named(&self, name: &str) -> bool {
        matches!(self.common_names.as_slice(), [Some(only)] if only == name)
    }

    pub(super) fn has_unit(&self, unit: &str) -> bool {
        self.units.iter().flatten().any(|own| own == unit)
    }
}

/// Whether a name is valid for its type: names that are compared must be ASCII.
fn is_readable(name: &GeneralName<'_>) -> bool {
    match name {
        GeneralName::DNSName(text) | GeneralName::URI(text) | GeneralName::RFC822Name(text) => {
            text.is_ascii()
        }
        GeneralName::Invalid(..) => false,
        _ => true,
    }
}

fn is_spiffe(uri: &str) -> bool {
    const SCHEME: &str = "spiffe:";
    let scheme = uri.get(..SCHEME.len());
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// The values of an attribute of the subject; `None` for a value in an encoding that is not compared.
fn texts(certificate: &X509Certificate<'_>, oid: &Oid<'_>) -> Vec<Option<String>> {
    let is_text = |tag, bytes: &[u8]| match tag {
        Tag::Utf8String => true,
        Tag::PrintableString | Tag::Ia5String => bytes.is_ascii(),
        _ => false,
    };
    let subject = certificate.subject();
    let attributes = subject.iter_attributes();
    attributes
        .filter(|attribute| attribute.attr_type() == oid)
        .map(|attribute| {
            let value = attribute.attr_value();
            is_text(value.tag(), value.data)
                .then(|| String::from_utf8(value.data.to_vec()).ok())
                .flatten()
        })
        .collect()
}
