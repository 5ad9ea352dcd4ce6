//! Allow rules: which valid certificates are admitted.
//!
//! The keys of a rule are ANDed, the values of a key ORed, and one matching rule admits. A value is
//! compared only with names of its own type, on all bytes: a DNS rule never matches a common name, a
//! name with a NUL matches nothing, and neither does text in an encoding other than ASCII or UTF-8. A
//! malformed or ambiguous certificate is not admitted.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::{Oid, Tag};
use x509_parser::oid_registry::{OID_X509_COMMON_NAME, OID_X509_ORGANIZATIONAL_UNIT};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::hostname::{HostName, HostPattern};
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

/// A URI in which `*` matches exactly one whole segment of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriPattern(String);

impl UriPattern {
    /// Parses a pattern; the error says why it can never match.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once(':').ok_or("a URI begins with a scheme")?;
        let letters = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        if scheme.is_empty() || !scheme.chars().all(letters) {
            return Err("a URI begins with a scheme");
        }
        if !rest.chars().all(|c| c.is_ascii_graphic()) {
            return Err("a URI is printable ASCII");
        }
        let authority = rest
            .strip_prefix("//")
            .and_then(|rest| rest.split('/').next());
        if authority.is_some_and(|authority| authority.contains('*')) {
            return Err("`*` stands for a segment of the path, not for a part of the authority");
        }
        if text.split('/').any(|s| s.contains('*') && s != "*") {
            return Err("`*` stands for a whole segment of the path, between slashes");
        }
        Ok(Self(text.to_owned()))
    }

    fn matches(&self, uri: &str) -> bool {
        let mut wanted = self.0.split('/');
        let mut found = uri.split('/');
        loop {
            match (wanted.next(), found.next()) {
                (None, None) => return true,
                (Some("*"), Some(segment)) if is_segment(segment) => {}
                (Some(wanted), Some(found)) if wanted == found && wanted != "*" => {}
                _ => return false,
            }
        }
    }
}

impl fmt::Display for UriPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a wildcard matches this segment: not an empty one, and none that another parser could take
/// for something else than a segment.
fn is_segment(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..")
        && segment
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'%' | b'\\'))
}

/// A mail address; the case of its domain is ignored (RFC 5280 section 7.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    local: String,
    domain: String,
}

impl Email {
    /// Parses an address; `None` if no certificate can have it.
    pub fn parse(text: &str) -> Option<Self> {
        let (local, domain) = text.rsplit_once('@')?;
        let graphic = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic());
        (graphic(local) && graphic(domain)).then(|| Self {
            local: local.to_owned(),
            domain: domain.to_ascii_lowercase(),
        })
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
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
        [
            ("dns", met(&self.dns, |pattern| names.has_dns(pattern))),
            ("uri", met(&self.uri, |pattern| names.has_uri(pattern))),
            (
                "email",
                met(&self.email, |email| names.emails.contains(email)),
            ),
            ("ip", met(&self.ip, |net| names.has_ip(net))),
            (
                "common_name",
                met(&self.common_name, |name| names.is_named(name)),
            ),
            (
                "organizational_unit",
                met(&self.organizational_unit, |unit| names.has_unit(unit)),
            ),
            ("sha256", met(&self.sha256, |hash| names.sha256 == *hash)),
            (
                "spki_sha256",
                met(&self.spki_sha256, |hash| names.spki == *hash),
            ),
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

/// The names and fingerprints of a certificate, by type.
struct PeerNames<'a> {
    dns: Vec<HostName>,
    uris: Vec<&'a str>,
    emails: Vec<Email>,
    ips: Vec<IpAddr>,
    common_names: Vec<Option<String>>,
    units: Vec<Option<String>>,
    sha256: [u8; 32],
    spki: [u8; 32],
}

impl<'a> PeerNames<'a> {
    /// `None` for a malformed certificate.
    fn of(certificate: &'a CertificateDer<'_>) -> Option<Self> {
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

    fn has_dns(&self, pattern: &HostPattern) -> bool {
        self.dns.iter().any(|name| pattern.matches(name))
    }

    /// A SPIFFE ID must be the only URI of its certificate (X509-SVID section 2).
    fn has_uri(&self, pattern: &UriPattern) -> bool {
        let is_doubtful = self.uris.len() > 1 && self.uris.iter().any(|uri| is_spiffe(uri));
        !is_doubtful && self.uris.iter().any(|uri| pattern.matches(uri))
    }

    fn has_ip(&self, net: &IpNet) -> bool {
        self.ips.iter().any(|ip| net.contains(ip))
    }

    /// Several common names are ambiguous, and match nothing.
    fn is_named(&self, name: &str) -> bool {
        matches!(self.common_names.as_slice(), [Some(only)] if only == name)
    }

    fn has_unit(&self, unit: &str) -> bool {
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

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut keys = Vec::new();
        let mut key = |name: &str, values: Vec<String>| {
            if !values.is_empty() {
                keys.push(format!("{name}: [{}]", values.join(", ")));
            }
        };
        key("dns", self.dns.iter().map(HostPattern::to_string).collect());
        key("uri", self.uri.iter().map(UriPattern::to_string).collect());
        key("email", self.email.iter().map(Email::to_string).collect());
        key("ip", self.ip.iter().map(IpNet::to_string).collect());
        key("common_name", quoted(&self.common_name));
        key("organizational_unit", quoted(&self.organizational_unit));
        key("sha256", self.sha256.iter().map(|h| hex(h)).collect());
        key(
            "spki_sha256",
            self.spki_sha256.iter().map(|h| hex(h)).collect(),
        );
        write!(f, "{{ {} }}", keys.join(", "))
    }
}

fn quoted(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| format!("{text:?}")).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType};

    use super::*;

    fn certificate(shape: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        shape(&mut params);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn with_san(san: SanType) -> CertificateDer<'static> {
        certificate(|params| params.subject_alt_names.push(san))
    }

    fn admits(rule: &Rule, certificate: &CertificateDer<'_>) -> bool {
        Rules(vec![rule.clone()]).admitting(certificate).is_some()
    }

    fn dns(name: &str) -> Rule {
        Rule {
            dns: vec![HostPattern::parse(name).unwrap()],
            ..Rule::default()
        }
    }

    fn common_name(name: &str) -> Rule {
        Rule {
            common_name: vec![name.to_owned()],
            ..Rule::default()
        }
    }

    fn uri(pattern: &str) -> Rule {
        Rule {
            uri: vec![UriPattern::parse(pattern).unwrap()],
            ..Rule::default()
        }
    }

    #[test]
    fn a_name_matches_its_own_type_alone() {
        let text = "a.ops.test";
        let as_dns = with_san(SanType::DnsName(text.try_into().unwrap()));
        let as_uri = with_san(SanType::URI(text.try_into().unwrap()));
        let as_email = with_san(SanType::Rfc822Name(text.try_into().unwrap()));
        let as_common_name = certificate(|p| p.distinguished_name.push(DnType::CommonName, text));
        for (rule, own) in [
            (dns(text), &as_dns),
            (dns("*.ops.test"), &as_dns),
            (common_name(text), &as_common_name),
        ] {
            for other in [&as_dns, &as_uri, &as_email, &as_common_name] {
                assert_eq!(admits(&rule, other), std::ptr::eq(own, other), "{rule}");
            }
        }
    }

    #[test]
    fn a_dns_pattern_is_anchored_and_its_star_is_one_label() {
        let holds = |name: &str| with_san(SanType::DnsName(name.try_into().unwrap()));
        for name in [
            "ops.test",
            "a.b.ops.test",
            "a.ops.test.evil.test",
            "aops.test",
            "*.ops.test",
        ] {
            assert!(!admits(&dns("*.ops.test"), &holds(name)), "{name}");
        }
        assert!(admits(&dns("*.ops.test"), &holds("A.ops.TEST")));
    }

    #[test]
    fn a_uri_star_is_one_whole_segment() {
        let holds = |uri: &str| with_san(SanType::URI(uri.try_into().unwrap()));
        let rule = uri("spiffe://example.com/ns/*/sa/web");
        assert!(admits(&rule, &holds("spiffe://example.com/ns/prod/sa/web")));
        for other in [
            "spiffe://example.com/ns/prod/x/sa/web",
            "spiffe://example.com/ns//sa/web",
            "spiffe://example.com/ns/../sa/web",
            "spiffe://example.com/ns/%2e%2e/sa/web",
            "spiffe://example.com/ns/prod/sa/web/",
            "spiffe://example.com/ns/prod/sa/webs",
            "spiffe://EXAMPLE.com/ns/prod/sa/web",
            "xspiffe://example.com/ns/prod/sa/web",
        ] {
            assert!(!admits(&rule, &holds(other)), "{other}");
        }
    }

    #[test]
    fn patterns_that_can_never_match_are_errors() {
        for never in [
            "",
            "example.com/x",
            "spiffe://*/x",
            "spiffe://a/x*",
            "spiffe://a/ä",
            "urn:*",
        ] {
            assert!(UriPattern::parse(never).is_err(), "{never}");
        }
        assert!(Email::parse("nobody").is_none() && Email::parse("@a.test").is_none());
    }

    #[test]
    fn a_mail_domain_has_no_case_and_its_local_part_has() {
        let rule = Rule {
            email: vec![Email::parse("Ops@Example.test").unwrap()],
            ..Rule::default()
        };
        let holds = |mail: &str| with_san(SanType::Rfc822Name(mail.try_into().unwrap()));
        assert!(admits(&rule, &holds("Ops@EXAMPLE.test")));
        assert!(!admits(&rule, &holds("ops@example.test")));
    }

    #[test]
    fn an_address_is_in_a_network_of_its_own_family() {
        let rule = |net: &str| Rule {
            ip: vec![net.parse().unwrap()],
            ..Rule::default()
        };
        let holds = |ip: &str| with_san(SanType::IpAddress(ip.parse().unwrap()));
        assert!(admits(&rule("10.0.0.0/8"), &holds("10.1.2.3")));
        assert!(!admits(&rule("10.0.0.0/8"), &holds("11.1.2.3")));
        assert!(!admits(&rule("10.0.0.0/8"), &holds("::ffff:10.1.2.3")));
    }

    #[test]
    fn texts_with_a_nul_or_in_another_encoding_equal_nothing() {
        let rule = common_name("deployer");
        let named =
            |value: DnValue| certificate(|p| p.distinguished_name.push(DnType::CommonName, value));
        assert!(admits(
            &rule,
            &named(DnValue::Utf8String("deployer".into()))
        ));
        assert!(admits(
            &rule,
            &named(DnValue::PrintableString("deployer".try_into().unwrap()))
        ));
        assert!(!admits(
            &rule,
            &named(DnValue::BmpString("deployer".try_into().unwrap()))
        ));
        assert!(!admits(
            &rule,
            &named(DnValue::Utf8String("deployer\0.evil".into()))
        ));
        assert!(!admits(
            &rule,
            &named(DnValue::Utf8String("Deployer".into()))
        ));
        assert!(!admits(
            &rule,
            &named(DnValue::Utf8String("deployer ".into()))
        ));
    }

    #[test]
    fn keys_are_anded_values_and_rules_ored() {
        let names = certificate(|p| {
            p.distinguished_name
                .push(DnType::OrganizationalUnitName, "platform");
            p.subject_alt_names
                .push(SanType::DnsName("a.ops.test".try_into().unwrap()));
        });
        let both = |unit: &str| Rule {
            organizational_unit: vec!["other".to_owned(), unit.to_owned()],
            ..dns("*.ops.test")
        };
        assert!(admits(&both("platform"), &names));
        assert!(!admits(&both("platforms"), &names));
        let rules = Rules(vec![both("nobody"), dns("a.ops.test")]);
        assert_eq!(rules.admitting(&names), Some(1));
        assert!(
            !admits(&Rule::default(), &names),
            "an empty rule admits nobody"
        );
    }

    #[test]
    fn fingerprints_are_of_the_certificate_and_of_its_key() {
        let names = certificate(|_| {});
        let other = certificate(|_| {});
        let by_certificate = Rule {
            sha256: vec![sha256(&names)],
            ..Rule::default()
        };
        let by_key = Rule {
            spki_sha256: vec![spki_sha256(&names).unwrap()],
            ..Rule::default()
        };
        for rule in [by_certificate, by_key] {
            assert!(admits(&rule, &names) && !admits(&rule, &other));
        }
    }

    #[test]
    fn a_spiffe_id_beside_another_uri_is_none() {
        let with = |uris: &[&str]| {
            certificate(|params| {
                let san = |uri: &&str| SanType::URI((*uri).try_into().unwrap());
                params.subject_alt_names.extend(uris.iter().map(san));
            })
        };
        let spiffe = "spiffe://example.com/ns/a";
        let rule = uri(spiffe);
        assert!(admits(&rule, &with(&[spiffe])));
        for more in ["spiffe://example.com/ns/b", "https://a.test/", spiffe] {
            assert!(!admits(&rule, &with(&[spiffe, more])), "{more}");
            assert!(!admits(&rule, &with(&[more, spiffe])), "{more}");
        }
        let upper = with(&["https://a.test/", "SPIFFE://example.com/ns/b"]);
        assert!(!admits(&uri("https://a.test/"), &upper));
        // Other URIs may be several.
        let several = with(&["urn:a", "urn:b"]);
        assert!(admits(&uri("urn:a"), &several) && admits(&uri("urn:b"), &several));
    }

    #[test]
    fn a_certificate_with_a_non_ascii_alternative_name_is_not_admitted() {
        const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];
        for (tag, text) in [
            (0x82, "ä.test".as_bytes()),
            (0x82, b"\xe4.test"),
            (0x86, "urn:ä".as_bytes()),
            (0x81, b"\xe4@a.test"),
        ] {
            let names = certificate(|params| {
                params.distinguished_name.push(DnType::CommonName, "ops");
                let name = [&[tag, text.len() as u8], text].concat();
                let names = [&[0x30, name.len() as u8], &name[..]].concat();
                let names = rcgen::CustomExtension::from_oid_content(SUBJECT_ALT_NAME, names);
                params.custom_extensions.push(names);
            });
            assert!(!admits(&common_name("ops"), &names), "{text:?}");
        }
    }

    #[test]
    fn a_malformed_certificate_is_not_admitted() {
        let names = with_san(SanType::DnsName("a.ops.test".try_into().unwrap()));
        let cut = CertificateDer::from(names[..names.len() - 1].to_vec());
        let longer = CertificateDer::from([&names[..], b"x"].concat());
        assert!(!admits(&dns("a.ops.test"), &cut));
        assert!(!admits(&dns("a.ops.test"), &longer));
    }
}
