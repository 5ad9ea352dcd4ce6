//! The request for the status of one certificate (RFC 6960, section 4.1), and where it is sent.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::tls::der::{self, element, sequence};

/// AlgorithmIdentifier of SHA-1, which every responder knows (RFC 5019, section 2.1.1). The hashes only name
/// the issuer.
const SHA1: &[u8] = &[
    0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00,
];

const RESPONDER: &str = "1.3.6.1.5.5.7.48.1";

/// The request for the status of a certificate, in DER; `None` if it or its issuer is malformed. It has no
/// nonce: the response is for many clients.
pub fn request(certificate: &CertificateDer<'_>, issuer: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let (_, issuer) = X509Certificate::from_der(issuer).ok()?;
    let hash = |bytes: &[u8]| {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes);
        element(der::OCTET_STRING, hash.as_ref())
    };
    let key = &issuer.public_key().subject_public_key.data;
    let id = [
        SHA1.to_vec(),
        hash(certificate.issuer().as_raw()),
        hash(key),
        element(der::INTEGER, certificate.raw_serial()),
    ];
    let request = sequence(&sequence(&id.concat()));
    // The list of requests, what could be signed, and the whole.
    Some(sequence(&sequence(&sequence(&request))))
}

/// The URLs of responders that a certificate names (RFC 5280, section 4.2.2.1).
pub fn responders(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for extension in certificate.extensions() {
        let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else {
            continue;
        };
        for description in access.iter() {
            if let GeneralName::URI(url) = &description.access_location
                && description.access_method.to_id_string() == RESPONDER
            {
                found.push((*url).to_owned());
            }
        }
    }
    found
}
