//! Checks on a chain that is presented: each certificate must have signed one before it, and the whole
//! must not be longer than peers accept.

use der::asn1::AnyRef;
use der::{Decode, Reader, SliceReader};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::SIGNATURES;
use super::validity::Validity;

/// The longest Certificate message that Java accepts (`jdk.tls.maxHandshakeMessageSize`), in bytes. No
/// other peer in wide use has a lower limit.
pub(super) const MESSAGE_SMALL: usize = 32 * 1024;

/// The longest Certificate message that OpenSSL accepts (`max_cert_list`), in bytes: nearly every peer
/// refuses a longer one.
pub(super) const MESSAGE_MAX: usize = 100 * 1024;

/// The least size of an RSA key: AWS-LC does not sign with a shorter one, and clients refuse it in a
/// chain.
pub(super) const RSA_BITS_MIN: usize = 2048;

/// The bytes of a TLS 1.3 Certificate message besides its entries: type and length, empty context,
/// length of the list (RFC 8446, section 4.4.2).
const MESSAGE_HEAD: usize = 4 + 1 + 3;

/// The bytes of an entry besides the certificate: its length, and that of its extensions.
const ENTRY_HEAD: usize = 3 + 2;

/// The length of the Certificate message with this chain and a stapled response of this length: that of
/// TLS 1.3, the longest.
pub(super) fn message_len(chain: &[CertificateDer<'_>], stapled: Option<usize>) -> usize {
    let entries = chain.iter().map(|der| ENTRY_HEAD + der.len());
    // An extension: type, length, status type, length of the response.
    let staple = stapled.map_or(0, |len| 2 + 2 + 1 + 3 + len);
    MESSAGE_HEAD + entries.sum::<usize>() + staple
}

/// The validities of a chain's certificates, the leaf first, without malformed ones: they have been
/// reported before.
pub(super) fn validities(chain: &[CertificateDer<'_>]) -> Vec<Validity> {
    let parsed = chain.iter().map(|der| X509Certificate::from_der(der));
    parsed
        .flatten()
        .map(|(_, certificate)| Validity::of(&certificate))
        .collect()
}

/// Reasons for which peers refuse a chain or find no path in it. Dates, names and usage of the leaf are
/// checked elsewhere.
pub(super) fn faults(chain: &[CertificateDer<'_>]) -> Vec<String> {
    let parsed: Result<Vec<_>, _> = chain
        .iter()
        .map(|der| X509Certificate::from_der(der))
        .collect();
    let Ok(parsed) = parsed else {
        return Vec::new();
    };
    let parsed: Vec<_> = chain
        .iter()
        .zip(&parsed)
        .map(|(der, (_, parsed))| Link { der, parsed })
        .collect();
    let mut faults: Vec<_> = parsed
        .first()
        .and_then(|leaf| weak_signature(leaf.parsed))
        .map(str::to_owned)
        .into_iter()
        .collect();
    for (n, link) in parsed.iter().enumerate().skip(1) {
        let subject = Validity::of(link.parsed).subject;
        let what = format!("certificate {}, {subject},", n + 1);
        let (before, after) = (parsed.get(..n), parsed.get(n + 1..));
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        if let Some(fault) = link.fault(before, after) {
            faults.push(format!("{what} {fault}"));
        }
        // Peers do not verify the signature of a root: they trust it or not.
        let is_root = link.parsed.issuer() == link.parsed.subject();
        if let Some(fault) = weak_signature(link.parsed).filter(|_| !is_root) {
            faults.push(format!("{what} has a {fault}"));
        }
        if let Some(bits) = rsa_bits(link.parsed).filter(|bits| *bits < RSA_BITS_MIN) {
            faults.push(format!("{what} has a weak key: RSA of {bits} bits"));
        }
    }
    faults
}

/// A certificate of a chain.
#[derive(Clone, Copy)]
struct Link<'a> {
    der: &'a [u8],
    parsed: &'a X509Certificate<'a>,
}

impl Link<'_> {
    /// What is wrong with its position in the chain. It may have signed any certificate before it: of a
    /// cross-signed intermediate, both certificates may be present.
    fn fault(&self, before: &[Self], after: &[Self]) -> Option<String> {
        if before.iter().any(|other| other.der == self.der) {
            return Some("is there twice".to_owned());
        }
        if before.iter().any(|other| self.has_signed(other)) {
            let is_ca = match self.parsed.basic_constraints() {
                Ok(Some(constraints)) => constraints.value.ca,
                // A CA without basic constraints (RFC 5280, section 4.2.1.9) must be of version 1.
                _ => self.parsed.version().0 == 0,
            };
            return (!is_ca)
                .then(|| "is no CA, so that what it has signed is not accepted".to_owned());
        }
        let is_named = |other: &Self| other.parsed.issuer() == self.parsed.subject();
        Some(if after.iter().any(|other| self.has_signed(other)) {
            "stands before a certificate that it has signed: \
             each is to stand behind what it has signed"
                .to_owned()
        } else if before.iter().any(is_named) {
            "has the name of the issuer of one before it, but another key: it has signed none of them"
                .to_owned()
        } else {
            "has signed none of the certificates before it".to_owned()
        })
    }

    fn has_signed(&self, other: &Self) -> bool {
        other.parsed.issuer() == self.parsed.subject() && self.verifies(other).unwrap_or(true)
    }

    /// Whether this certificate's key verifies the signature of `other`; `None` if rustls does not
    /// support the algorithm.
    fn verifies(&self, other: &Self) -> Option<bool> {
        let signature_algorithm = signature_algorithm(other.der)?;
        let key = self.parsed.public_key();
        let key_algorithm = AnyRef::from_der(key.raw).ok()?;
        let mut reader = SliceReader::new(key_algorithm.value()).ok()?;
        let key_algorithm: AnyRef<'_> = reader.decode().ok()?;
        let mut known = SIGNATURES
            .all
            .iter()
            .filter(|algorithm| {
                *algorithm.signature_alg_id() == *signature_algorithm
                    && *algorithm.public_key_alg_id() == *key_algorithm.value()
            })
            .peekable();
        known.peek()?;
        let tbs: &[u8] = other.parsed.tbs_certificate.as_ref();
        let signature = &other.parsed.signature_value.data;
        Some(known.any(|algorithm| {
            algorithm
                .verify_signature(&key.subject_public_key.data, tbs, signature)
                .is_ok()
        }))
    }
}

/// The content of a certificate's AlgorithmIdentifier, which x509-parser does not keep.
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let outer = AnyRef::from_der(certificate).ok()?;
    let mut reader = SliceReader::new(outer.value()).ok()?;
    let _tbs: AnyRef<'_> = reader.decode().ok()?;
    let algorithm: AnyRef<'_> = reader.decode().ok()?;
    Some(algorithm.value())
}

/// The certificate of the chain that signed the leaf, if present.
pub(super) fn issuer_of_leaf(chain: &[CertificateDer<'_>]) -> Option<CertificateDer<'static>> {
    let (leaf, rest) = chain.split_first()?;
    let (_, leaf_parsed) = X509Certificate::from_der(leaf).ok()?;
    let leaf = Link {
        der: leaf,
        parsed: &leaf_parsed,
    };
    // A self-signed leaf is its own issuer.
    let candidates = rest.iter().chain(chain.first());
    for der in candidates {
        let Ok((_, parsed)) = X509Certificate::from_der(der) else {
            continue;
        };
        let link = Link {
            der,
            parsed: &parsed,
        };
        if link.has_signed(&leaf) {
            return Some(der.clone().into_owned());
        }
    }
    None
}

/// The chain of a leaf out of certificates in any order, each behind what it has signed, without the root
/// that peers have; and how many of the others are in no such place.
pub(super) fn ordered(
    leaf: CertificateDer<'static>,
    mut others: Vec<CertificateDer<'static>>,
) -> (Vec<CertificateDer<'static>>, usize) {
    let mut chain = vec![leaf];
    let mut last = chain.clone();
    loop {
        last.truncate(1);
        last.extend(others.iter().cloned());
        let issuer = issuer_of_leaf(&last).filter(|issuer| last.first() != Some(issuer));
        let Some(issuer) = issuer else { break };
        others.retain(|other| *other != issuer);
        last = vec![issuer.clone()];
        // A root has signed itself.
        if issuer_of_leaf(&last).is_some() {
            break;
        }
        chain.push(issuer);
    }
    others.retain(|other| issuer_of_leaf(std::slice::from_ref(other)).is_none());
    (chain, others.len())
}

/// Why clients and auditors reject a signature as weak.
fn weak_signature(certificate: &X509Certificate<'_>) -> Option<&'static str> {
    const SHA1_WITH_RSA: &str = "1.2.840.113549.1.1.5";
    const SHA1_WITH_ECDSA: &str = "1.2.840.10045.4.1";
    let signature = certificate.signature_algorithm.algorithm.to_id_string();
    (signature == SHA1_WITH_RSA || signature == SHA1_WITH_ECDSA).then_some("weak signature: SHA-1")
}

/// The size of a certificate's key, if it is RSA.
pub(super) fn rsa_bits(certificate: &X509Certificate<'_>) -> Option<usize> {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(rsa)) => Some(rsa.key_size()),
        _ => None,
    }
}
