//! What a handshake and a certificate say about themselves, in the field's own words.

use rustls::pki_types::CertificateDer;
use rustls::{CommonState, HandshakeKind, NamedGroup, ProtocolVersion};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The facts of one finished handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: Option<&'static str>,
    /// The suite's IANA name.
    pub cipher: Option<String>,
    /// The key exchange group's IANA name; absent on a TLS 1.2 resumption.
    pub group: Option<String>,
    /// The application protocol selected.
    pub alpn: Option<Vec<u8>>,
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
                .map(|suite| iana_suite(&format!("{:?}", suite.suite()))),
            group: conn
                .negotiated_key_exchange_group()
                .map(|group| group_name(group.name())),
            alpn: conn.alpn_protocol().map(<[u8]>::to_vec),
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

/// rustls spells the suites of TLS 1.3 with a `TLS13_` that IANA does not have.
fn iana_suite(name: &str) -> String {
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name.to_owned(),
    }
}

fn group_name(group: NamedGroup) -> String {
    match group {
        NamedGroup::X25519 => "x25519".to_owned(),
        other => format!("{other:?}"),
    }
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
        let sha256 =
            hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate).as_ref());
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return Self {
                sha256,
                ..Self::default()
            };
        };
        Self {
            subject: parsed.subject().to_string(),
            sans: alternative_names(&parsed),
            serial: hex(parsed.raw_serial()),
            sha256,
            not_after: parsed.validity().not_after.timestamp(),
        }
    }
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
