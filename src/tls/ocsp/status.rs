//! Reads the parts of an OCSP response that stapling needs.

use aws_lc_rs::digest::{self, Algorithm};
use der::Decode;
use rustls::pki_types::CertificateDer;
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspResponse, OcspResponseStatus,
    SingleResponse,
};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The longest response that fits into the Certificate message of TLS 1.3, in bytes: the length of a
/// certificate's extensions has two bytes, and the headers of the response take eight bytes.
const RESPONSE_MAX: usize = 0xffff - 8;

/// The status of a certificate in a response.
#[derive(Debug, PartialEq, Eq)]
pub enum Status {
    /// Good in this period, in seconds of unix time.
    Good {
        /// The start.
        from: i64,
        /// The end, exclusive.
        until: i64,
    },
    /// Not worth stapling, and why.
    Unusable(&'static str),
}

/// The certificate whose status a response must contain.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The certificate.
    pub certificate: &'a X509Certificate<'a>,
    /// Its issuer's certificate, if known; without it only the issuer's name is compared.
    pub issuer: Option<&'a CertificateDer<'a>>,
}

/// Reads the status of a certificate from a response. The signature is not verified; clients do that.
///
/// # Errors
///
/// Why the response cannot be read.
pub fn read(response: &[u8], subject: Subject<'_>) -> Result<Status, String> {
    let outer =
        OcspResponse::from_der(response).map_err(|_| "it is no OCSP response in DER".to_owned())?;
    if response.len() > RESPONSE_MAX {
        return Ok(Status::Unusable("it is longer than TLS 1.3 can carry"));
    }
    if outer.response_status != OcspResponseStatus::Successful {
        return Ok(Status::Unusable("it reports a failure"));
    }
    let Some(body) = outer.response_bytes else {
        return Ok(Status::Unusable("it is empty"));
    };
    let basic = BasicOcspResponse::from_der(body.response.as_bytes())
        .map_err(|_| "its content is no basic OCSP response".to_owned())?;
    let singles = &basic.tbs_response_data.responses;
    let single = singles.iter().find(|s| subject.is_named(&s.cert_id));
    let Some(single) = single else {
        return Ok(Status::Unusable(subject.why_not(singles)));
    };
    Ok(match (&single.cert_status, &single.next_update) {
        (CertStatus::Good(_), Some(next)) => Status::Good {
            from: seconds(&single.this_update),
            until: seconds(next),
        },
        (CertStatus::Good(_), None) => Status::Unusable("it does not say until when it holds"),
        (CertStatus::Revoked(_), _) => Status::Unusable("it says that the certificate is revoked"),
        (CertStatus::Unknown(_), _) => Status::Unusable("it does not know the certificate"),
    })
}

impl Subject<'_> {
    /// Whether this identifier (RFC 6960, section 4.1.1) is the certificate's: serial number, and the
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

    /// Why none of these is the certificate's status.
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

/// The hash algorithm of an identifier.
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

/// A number without leading zeros, which DER adds to keep it positive.
fn plain(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}
