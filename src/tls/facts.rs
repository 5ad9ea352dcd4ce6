//! What a handshake and a certificate say about themselves, in the field's own words.

use rustls::pki_types::{CertificateDer, TrustAnchor};
use rustls::{CipherSuite, CommonState, HandshakeKind, NamedGroup, ProtocolVersion};
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{
    AttributeTypeAndValue, FromDer, GeneralName, X509Certificate, X509Name,
};

use super::digest;

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
    /// Reads them off a connection whose handshake is done.
    pub fn of(conn: &CommonState) -> Self {
        Self {
            version: conn.protocol_version().and_then(version),
            cipher: conn
                .negotiated_cipher_suite()
                .and_then(|suite| cipher(suite.suite())),
            group: conn
                .negotiated_key_exchange_group()
                .and_then(|group| group_name(group.name())),
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

/// The suites that we speak, by their IANA names.
const fn cipher(suite: CipherSuite) -> Option<&'static str> {
    use CipherSuite as S;
    Some(match suite {
        S::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        S::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        S::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
        }
        S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => {
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"
        }
        _ => return None,
    })
}

/// The groups that we speak, by their IANA names.
const fn group_name(group: NamedGroup) -> Option<&'static str> {
    Some(match group {
        NamedGroup::X25519MLKEM768 => "X25519MLKEM768",
        NamedGroup::X25519 => "x25519",
        NamedGroup::secp256r1 => "secp256r1",
        NamedGroup::secp384r1 => "secp384r1",
        _ => return None,
    })
}

/// What a certificate says of its holder. The texts come from the wire: escape them before use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The subject, in the order of the certificate.
    pub subject: String,
    /// The subject alternative names, each with its type.
    pub sans: Vec<String>,
    /// The serial number in hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate, in hexadecimal.
    pub sha256: String,
    /// End of validity, in seconds of unix time.
    pub not_after: i64,
}

impl CertificateFacts {
    /// Reads a certificate; one that cannot be read has its fingerprint alone.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let sha256 = hex(&digest::sha256(certificate));
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return Self {
                sha256,
                ..Self::default()
            };
        };
        Self {
            subject: distinguished_name(parsed.subject()),
            sans: alternative_names(&parsed),
            serial: hex(parsed.raw_serial()),
            sha256,
            not_after: parsed.validity().not_after.timestamp(),
        }
    }
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
    let [high, low] = u16::try_from(content.len())
        .unwrap_or_default()
        .to_be_bytes();
    // The length in DER: in one byte up to 127, else behind a count of its bytes.
    let length: &[u8] = match content.len() {
        0..128 => &[low],
        128..256 => &[0x81, low],
        _ => &[0x82, high, low],
    };
    let der = [&[0x30], length, content].concat();
    X509Name::from_der(&der).map_or_else(|_| hex(content), |(_, name)| distinguished_name(&name))
}

/// A name as RFC 4514 writes it, but in the order of the certificate.
fn distinguished_name(name: &X509Name<'_>) -> String {
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
        // What is no text is given as its bytes.
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

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
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
    extension
        .value
        .general_names
        .iter()
        .filter_map(describe)
        .collect()
}

/// Lower case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
