//! Facts about a handshake and about a certificate, as the log, metrics and the admin API show them.

use rustls::pki_types::{CertificateDer, TrustAnchor};
use rustls::{CommonState, HandshakeKind, ProtocolVersion};
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{
    AttributeTypeAndValue, FromDer, GeneralName, X509Certificate, X509Name,
};

use super::der::{Elements, Outline, SEQUENCE, only, sequence};
use super::digest;
use super::suites::{Group, Suite};

/// The facts of one finished handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: Option<&'static str>,
    /// The suite's IANA name.
    pub cipher: Option<&'static str>,
    /// The key exchange group's IANA name; absent on a TLS 1.2 resumption.
    pub group: Option<&'static str>,
    /// The application protocol selected.
    pub alpn: Option<Box<[u8]>>,
    /// Whether a session was resumed.
    pub resumed: bool,
}

impl TlsFacts {
    /// Reads them from a connection after its handshake.
    pub fn of(conn: &CommonState) -> Self {
        Self {
            version: conn.protocol_version().and_then(version),
            cipher: conn
                .negotiated_cipher_suite()
                .and_then(|suite| Suite::of(suite.suite()))
                .map(|suite| suite.iana),
            group: conn
                .negotiated_key_exchange_group()
                .and_then(|group| Group::of(group.name()))
                .map(|group| group.iana),
            alpn: conn.alpn_protocol().map(Into::into),
            resumed: conn.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

const fn version(version: ProtocolVersion) -> Option<&'static str> {
    match version {
        ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
        ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
        _ => None,
    }
}

/// How many alternative names are kept: the number that the log shows.
pub const SANS_MAX: usize = 16;

/// The most bytes read of a subject, in whole attributes, and of one alternative name.
const NAME_MAX: usize = 2048;

/// The names and identifiers of a certificate. The texts come from the wire: escape them before use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The subject, in the order of the certificate; its first 2 KiB.
    pub subject: String,
    /// The name of the CA that issued it, likewise.
    pub issuer: String,
    /// The first [`SANS_MAX`] subject alternative names, each with its type.
    pub sans: Vec<String>,
    /// The serial number in hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate, in hexadecimal.
    pub sha256: String,
    /// End of validity, in seconds of unix time.
    pub not_after: i64,
}

impl CertificateFacts {
    /// Reads a certificate; a malformed one has only its fingerprint. The cost does not grow with the
    /// number of names, as refused certificates are read, too.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let sha256 = hex(&digest::sha256(certificate));
        let read =
            Outline::of(certificate).and_then(|outline| Some((outline, outline.validity()?)));
        let Some((outline, validity)) = read else {
            return Self {
                sha256,
                ..Self::default()
            };
        };
        Self {
            subject: subject(outline.subject),
            issuer: subject(outline.issuer),
            sans: alternative_names(&outline),
            serial: hex(outline.serial.get(..SERIAL_MAX).unwrap_or(outline.serial)),
            sha256,
            not_after: *validity.end(),
        }
    }
}

/// The most bytes kept of a serial number: more than RFC 5280 allows (section 4.1.2.2).
const SERIAL_MAX: usize = 64;

/// The end of a certificate's validity, in seconds of unix time.
pub fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    Some(*Outline::of(certificate)?.validity()?.end())
}

/// The beginning of a name as text.
fn subject(name: &[u8]) -> String {
    let mut read = Vec::new();
    for attribute in Elements(name) {
        if read.len() + attribute.whole.len() > NAME_MAX {
            break;
        }
        read.extend(attribute.whole);
    }
    let der = sequence(&read);
    X509Name::from_der(&der)
        .map(|(_, name)| distinguished_name(&name))
        .unwrap_or_default()
}

/// The first common name of a certificate's subject, if it is text.
pub fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

/// The subject of a trust anchor, which rustls keeps without its outermost tag and length.
pub fn authority_name(anchor: &TrustAnchor<'_>) -> String {
    let content = &*anchor.subject;
    let der = sequence(content);
    X509Name::from_der(&der).map_or_else(|_| hex(content), |(_, name)| distinguished_name(&name))
}

/// A name in the notation of RFC 4514, but in the order of the certificate.
pub(super) fn distinguished_name(name: &X509Name<'_>) -> String {
    let relative: Vec<_> = name
        .iter_rdn()
        .map(|rdn| {
            let parts: Vec<_> = rdn.iter().map(attribute).collect();
            parts.join("+")
        })
        .collect();
    relative.join(", ")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type();
    let key = oid2abbrev(oid, oid_registry()).map_or_else(|_| oid.to_id_string(), str::to_owned);
    match attribute.as_str() {
        Ok(value) => format!("{key}={}", escape_value(value)),
        // A value that is no text is shown as its bytes.
        Err(_) => format!("{key}=#{}", hex(attribute.as_slice())),
    }
}

fn escape_value(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn alternative_names(certificate: &Outline<'_>) -> Vec<String> {
    const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
    let names = certificate
        .extension(SUBJECT_ALT_NAME)
        .and_then(|value| only(value, SEQUENCE));
    let describe = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{name}")),
        GeneralName::URI(uri) => Some(format!("URI:{uri}")),
        GeneralName::RFC822Name(address) => Some(format!("email:{address}")),
        GeneralName::IPAddress(bytes) => match **bytes {
            [a, b, c, d] => Some(format!("IP:{a}.{b}.{c}.{d}")),
            ref bytes => <[u8; 16]>::try_from(bytes)
                .ok()
                .map(|v6| format!("IP:{}", std::net::Ipv6Addr::from(v6))),
        },
        _ => None,
    };
    Elements(names.unwrap_or_default())
        .take(SANS_MAX)
        .filter(|name| name.whole.len() <= NAME_MAX)
        .filter_map(|name| GeneralName::from_der(name.whole).ok())
        .filter_map(|(_, name)| describe(&name))
        .collect()
}

/// Lower case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(shape: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        shape(&mut params);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn only_the_first_names_are_kept() {
        let facts = CertificateFacts::of(&certificate(|params| {
            params.distinguished_name.push(DnType::CommonName, "many");
            params.subject_alt_names = (0..5000)
                .map(|n| SanType::DnsName(format!("{n}.test").try_into().unwrap()))
                .collect();
        }));
        assert_eq!(facts.sans.len(), SANS_MAX);
        assert_eq!(facts.sans[15], "DNS:15.test");
        assert_eq!(facts.subject, "CN=many");
    }

    #[test]
    fn a_long_subject_is_truncated() {
        let unit = |n: u64| DnType::CustomDnType(vec![1, 2, 3, n]);
        let facts = CertificateFacts::of(&certificate(|params| {
            for n in 0..1000 {
                params.distinguished_name.push(unit(n), "x".repeat(30));
            }
        }));
        assert!(facts.subject.starts_with("1.2.3.0=xxx"), "{facts:?}");
        assert!(facts.subject.len() < 2 * NAME_MAX, "{facts:?}");
    }
}
