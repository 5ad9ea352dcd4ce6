//! Recognises files in other formats than PEM, and names the command that converts them.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::labels::Use;
use super::refusal::Refusal;

/// The content of a file in DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Der {
    Certificate,
    List,
    Key,
    EncryptedKey,
    Pkcs12,
    Pkcs7,
    Request,
    PublicKey,
    Ocsp,
    Other,
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const SEQUENCE: u8 = 0x30;

/// The magic numbers of Java keystores, JKS and JCEKS.
const KEYSTORES: [&[u8]; 2] = [&[0xfe, 0xed, 0xfe, 0xed], &[0xce, 0xce, 0xce, 0xce]];

/// Whether a file is in DER: one element as long as the file, or the start of a long-form SEQUENCE,
/// with which no text begins.
pub fn is_der(bytes: &[u8]) -> bool {
    let is_long = matches!(bytes, [SEQUENCE, 0x80..=0x84, ..]);
    is_long || matches!(element(bytes), Some((SEQUENCE, _, [])))
}

/// Refuses PEM where `what` must be in DER.
///
/// # Errors
///
/// The refusal, if these bytes look like PEM or are empty.
pub fn refuse_pem(bytes: &[u8], what: &str) -> Result<(), Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::new(None, "is empty", "it must not be"));
    }
    let pem = b"-----BEGIN";
    if !is_der(bytes) && bytes.windows(pem.len()).any(|window| window == pem) {
        let reason = format!("is PEM; {what} must be in DER");
        return Err(Refusal::new(
            None,
            reason,
            "take the text off: grep -v ^- FILE | openssl base64 -d -out FILE.der",
        ));
    }
    Ok(())
}

/// Refuses bytes that are not text in a supported encoding.
pub(super) fn refuse(bytes: &[u8], of: Use) -> Result<(), Refusal> {
    let wanted = of.wanted();
    let refuse = |reason: String, help: &str| Err(Refusal::new(None, reason, help));
    if bytes.trim_ascii().is_empty() {
        return refuse(format!("holds no {wanted}: it is empty"), of.must_hold());
    }
    if is_der(bytes) {
        let (what, help) = der(bytes, of);
        return refuse(format!("holds no {wanted} in PEM: it is {what}"), help);
    }
    if KEYSTORES.iter().any(|magic| bytes.starts_with(magic)) {
        return refuse(
            format!("holds no {wanted} in PEM: it is a Java keystore"),
            "convert it to PKCS#12: keytool -importkeystore -srckeystore FILE -destkeystore FILE.p12 \
             -deststoretype PKCS12; it is read as `cert` beside `password_file`",
        );
    }
    if bytes.starts_with(b"PuTTY-User-Key-File") {
        return refuse(
            format!("holds no {wanted} in PEM: it is a key in PuTTY's own format"),
            "convert it: puttygen FILE -O private-openssh -o FILE.pem",
        );
    }
    let is_wide = |pattern: &[u8]| bytes.windows(pattern.len()).any(|window| window == pattern);
    if bytes.starts_with(b"\xff\xfe")
        || bytes.starts_with(b"\xfe\xff")
        || is_wide(b"-\0-\0")
        || is_wide(b"\0-\0-")
    {
        return refuse(
            "is text in UTF-16".to_owned(),
            "convert it: iconv -f UTF-16 -t UTF-8 FILE >FILE.pem",
        );
    }
    if bytes.contains(&0) {
        return refuse(
            format!("holds no {wanted} in PEM: it is no text"),
            of.must_hold(),
        );
    }
    Ok(())
}

/// The description of a file in DER, and the remedy.
fn der(bytes: &[u8], of: Use) -> (&'static str, &'static str) {
    match (kind(bytes), of) {
        (Der::Certificate, Use::Chain | Use::Authorities) => (
            "a certificate in DER",
            "convert it: openssl x509 -inform der -in FILE -out FILE.pem",
        ),
        (Der::Certificate, _) => ("a certificate in DER", of.must_hold()),
        (Der::List, _) => ("a revocation list in DER", of.must_hold()),
        (Der::Key, Use::Key) => (
            "a private key in DER",
            "convert it: openssl pkey -inform der -in FILE -out FILE.pem",
        ),
        (Der::Key, _) => ("a private key in DER", of.must_hold()),
        (Der::EncryptedKey, _) => (
            "an encrypted private key in DER",
            "convert it: openssl pkcs8 -topk8 -v2 aes-256-cbc -inform der -in FILE -out FILE.pem",
        ),
        (Der::Pkcs12, Use::Key) => (
            "PKCS#12",
            "it is read with its chain: name it by `cert` beside `password_file`, without `key`; or take the key \
             out of it: openssl pkcs12 -in FILE -nocerts -nodes -out FILE.key",
        ),
        (Der::Pkcs12, Use::Chain) => (
            "PKCS#12",
            "as `cert`, beside `password_file`, it is read with its key; or take the certificates out of it: \
             openssl pkcs12 -in FILE -nokeys -out FILE.pem",
        ),
        (Der::Pkcs12, _) => (
            "PKCS#12",
            "take the certificates out of it: openssl pkcs12 -in FILE -nokeys -out FILE.pem",
        ),
        (Der::Pkcs7, _) => (
            "PKCS#7 in DER",
            "take the certificates out of it: openssl pkcs7 -inform der -print_certs -in FILE -out FILE.pem",
        ),
        (Der::Request, _) => (
            "a request for a certificate",
            "a request is sent to a CA, which answers with the certificate",
        ),
        (Der::PublicKey, _) => ("a public key in DER", of.must_hold()),
        (Der::Ocsp, _) => (
            "an OCSP response",
            "a response is named by `ocsp: FILE` beside its certificate",
        ),
        (Der::Other, _) => ("something else in DER, or damaged", of.must_hold()),
    }
}

fn kind(bytes: &[u8]) -> Der {
    let Some((SEQUENCE, inner, _)) = element(bytes) else {
        return Der::Other;
    };
    let Some((tag, first, rest)) = element(inner) else {
        return Der::Other;
    };
    let next = element(rest).map(|(tag, ..)| tag);
    match (tag, next) {
        (INTEGER, Some(SEQUENCE)) if first == [3] => Der::Pkcs12,
        (INTEGER, Some(SEQUENCE | OCTET_STRING | INTEGER)) => Der::Key,
        (OID, _) => Der::Pkcs7,
        (ENUMERATED, _) => Der::Ocsp,
        (SEQUENCE, Some(OCTET_STRING)) => Der::EncryptedKey,
        (SEQUENCE, Some(BIT_STRING)) => Der::PublicKey,
        _ if X509Certificate::from_der(bytes).is_ok() => Der::Certificate,
        _ if CertificateRevocationList::from_der(bytes).is_ok() => Der::List,
        _ if X509CertificationRequest::from_der(bytes).is_ok() => Der::Request,
        _ => Der::Other,
    }
}

/// Tag and content of the first element, and the bytes after it. Tags above 30 and lengths above 4 GiB
/// do not occur here.
pub(super) fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (short, rest) = rest.split_first()?;
    let (length, rest) = if *short < 0x80 {
        (usize::from(*short), rest)
    } else {
        let octets = usize::from(*short & 0x7f);
        let (octets, rest) = rest.split_at_checked(octets).filter(|_| octets <= 4)?;
        let length = octets
            .iter()
            .fold(0, |length, octet| length << 8 | usize::from(*octet));
        (length, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}
