//! What the PEM reader accepts, and what it refuses with which message.

mod boundaries;
mod kinds;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use super::{Refusal, authorities, chain, key, lists, refuse_pem};

/// A certificate, its key, and a list that it has signed, in PEM and DER.
struct Samples {
    cert: String,
    key: String,
    list: String,
    cert_der: Vec<u8>,
    key_der: Vec<u8>,
    list_der: Vec<u8>,
}

fn samples() -> Samples {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let now = OffsetDateTime::now_utc();
    let list = CertificateRevocationListParams {
        this_update: now,
        next_update: now + Duration::days(1),
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&ca).unwrap();
    Samples {
        cert: ca.as_ref().pem().replace("\r\n", "\n"),
        key: ca.key().serialize_pem().replace("\r\n", "\n"),
        list: list.pem().unwrap().replace("\r\n", "\n"),
        cert_der: ca.as_ref().der().to_vec(),
        key_der: ca.key().serialize_der(),
        list_der: list.der().to_vec(),
    }
}

fn count(text: impl AsRef<[u8]>) -> usize {
    authorities(text.as_ref()).unwrap().len()
}

#[track_caller]
fn refused<T>(read: Result<T, Refusal>, line: impl Into<Option<usize>>, words: &str) {
    let Err(refusal) = read else {
        panic!("it was read, and not refused for {words:?}")
    };
    assert_eq!(refusal.line, line.into(), "{refusal:?}");
    assert!(refusal.reason.contains(words), "{refusal:?}");
    assert!(!refusal.help.is_empty(), "{refusal:?}");
}

/// A block with this label and content.
fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
}

/// The text with its block called something else.
fn relabelled(pem: &str, from: &str, to: &str) -> String {
    pem.replace(&format!("BEGIN {from}-"), &format!("BEGIN {to}-"))
        .replace(&format!("END {from}-"), &format!("END {to}-"))
}
