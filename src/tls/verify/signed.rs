//! What a CA has signed: certificates, revocation lists and OCSP responses all are a sequence of the signed
//! part, the algorithm and the signature.

use rustls::pki_types::SubjectPublicKeyInfoDer;
use webpki::RawPublicKeyEntity;

use crate::tls::SIGNATURES;
use crate::tls::der::{self, Elements};

/// The parts of what was signed.
#[derive(Clone, Debug)]
pub(in crate::tls) struct Signed<'a> {
    body: &'a [u8],
    /// The content of AlgorithmIdentifier.
    pub(in crate::tls) algorithm: &'a [u8],
    signature: &'a [u8],
    /// What follows the signature.
    pub(in crate::tls) rest: Elements<'a>,
}

impl<'a> Signed<'a> {
    /// Splits it into its parts; `None` if it is malformed.
    pub(in crate::tls) fn of(der: &'a [u8]) -> Option<Self> {
        let mut rest = Elements(der::only(der, der::SEQUENCE)?);
        let body = rest.next()?.whole;
        let algorithm = rest.expect(der::SEQUENCE)?;
        // The first byte counts unused bits, of which a signature has none.
        let signature = rest.expect(der::BIT_STRING)?.strip_prefix(&[0])?;
        Some(Self {
            body,
            algorithm,
            signature,
            rest,
        })
    }

    /// Whether the algorithm is accepted.
    pub(in crate::tls) fn is_supported(&self) -> bool {
        let mut known = SIGNATURES.all.iter();
        known.any(|known| known.signature_alg_id().as_ref() == self.algorithm)
    }

    /// Whether the signature verifies under this key.
    pub(in crate::tls) fn is_by(&self, key: &SubjectPublicKeyInfoDer<'_>) -> bool {
        let Ok(key) = RawPublicKeyEntity::try_from(key) else {
            return false;
        };
        let known = SIGNATURES.all.iter();
        known
            .filter(|known| known.signature_alg_id().as_ref() == self.algorithm)
            .any(|known| {
                key.verify_signature(*known, self.body, self.signature)
                    .is_ok()
            })
    }
}
