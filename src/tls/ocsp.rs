//! What an OCSP response says, as far as whoever staples it has to know (RFC 6960).

use aws_lc_rs::digest::{self, Algorithm};
use der::Decode;
use rustls::pki_types::CertificateDer;
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspResponse, OcspResponseStatus,
    SingleResponse,
};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The longest response that fits into the Certificate message of TLS 1.3, in bytes: the extensions of
/// a certificate have two bytes for their length, and of theirs the response's own takes eight.
const RESPONSE_MAX: usize = 0xffff - 8;

/// What a response says of a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is good, from one moment to another, in seconds of unix time.
    Good { from: i64, until: i64 },
    /// Nothing that clients should be shown, and why.
    Useless(&'static str),
}

/// Which certificate a response has to be about.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    /// The certificate.
    pub(super) certificate: &'a X509Certificate<'a>,
    /// Its issuer's, where it is known: without it the issuer's name alone is compared.
    pub(super) issuer: Option<&'a CertificateDer<'a>>,
}

/// What `response` says of a certificate. The error says why it cannot be read. Its signature is the
/// clients' to check.
pub(super) fn read(response: &[u8], about: About<'_>) -> Result<Answer, String> {
    let outer =
        OcspResponse::from_der(response).map_err(|_| "it is no OCSP response in DER".to_owned())?;
    if response.len() > RESPONSE_MAX {
        return Ok(Answer::Useless("it is longer than TLS 1.3 can carry"));
    }
    if outer.response_status != OcspResponseStatus::Successful {
        return Ok(Answer::Useless("it reports a failure"));
    }
    let Some(body) = outer.response_bytes else {
        return Ok(Answer::Useless("it is empty"));
    };
    let basic = BasicOcspResponse::from_der(body.response.as_bytes())
        .map_err(|_| "its content is no basic OCSP response".to_owned())?;
    let singles = &basic.tbs_response_data.responses;
    let single = singles.iter().find(|s| about.is_named(&s.cert_id));
    let Some(single) = single else {
        return Ok(Answer::Useless(about.why_not(singles)));
    };
    Ok(match (&single.cert_status, &single.next_update) {
        (CertStatus::Good(_), Some(next)) => Answer::Good {
            from: seconds(&single.this_update),
            until: seconds(next),
        },
        (CertStatus::Good(_), None) => Answer::Useless("it does not say until when it holds"),
        (CertStatus::Revoked(_), _) => Answer::Useless("it says that the certificate is revoked"),
        (CertStatus::Unknown(_), _) => Answer::Useless("it does not know the certificate"),
    })
}

impl About<'_> {
    /// Whether this is the certificate's identifier (RFC 6960, section 4.1.1): serial number, and the
    /// hashes of its issuer's name and key.
    fn is_named(&self, id: &CertId) -> bool {
        self.has_serial(id) && self.is_of_issuer(id)
    }

    fn has_serial(&self, id: &CertId) -> bool {
        plain(id.serial_number.as_bytes()) == plain(self.certificate.raw_serial())
    }

    fn is_of_issuer(&self, id: &CertId) -> bool {
        let Some(algorithm) = hash(id) else {
            return false;
        };
        let is_hash = |hash: &[u8], of: &[u8]| digest::digest(algorithm, of).as_ref() == hash;
        let name = self.certificate.issuer().as_raw();
        if !is_hash(id.issuer_name_hash.as_bytes(), name) {
            return false;
        }
        let Some(issuer) = self.issuer else {
            return true;
        };
        X509Certificate::from_der(issuer).is_ok_and(|(_, issuer)| {
            let key = &issuer.public_key().subject_public_key.data;
            is_hash(id.issuer_key_hash.as_bytes(), key)
        })
    }

    /// Why none of these is about the certificate.
    fn why_not(&self, singles: &[SingleResponse]) -> &'static str {
        let same_serial = singles
            .iter()
            .find(|single| self.has_serial(&single.cert_id));
        match same_serial {
            Some(single) if hash(&single.cert_id).is_none() => {
                "it names the certificate by a hash other than SHA-1 and SHA-2"
            }
            Some(_) => "it is about a certificate of another issuer",
            None => "it is about another certificate",
        }
    }
}

/// The hash that an identifier is made with.
fn hash(id: &CertId) -> Option<&'static Algorithm> {
    Some(match id.hash_algorithm.oid.to_string().as_str() {
        "1.3.14.3.2.26" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "2.16.840.1.101.3.4.2.1" => &digest::SHA256,
        "2.16.840.1.101.3.4.2.2" => &digest::SHA384,
        "2.16.840.1.101.3.4.2.3" => &digest::SHA512,
        _ => return None,
    })
}

fn seconds(time: &OcspGeneralizedTime) -> i64 {
    i64::try_from(time.0.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}

/// A number without the zeros that DER puts before it to keep it positive.
fn plain(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}
