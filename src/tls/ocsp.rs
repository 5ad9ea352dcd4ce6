//! What an OCSP response says, as far as whoever staples it has to know (RFC 6960).

use der::Decode;
use x509_ocsp::{
    BasicOcspResponse, CertStatus, OcspGeneralizedTime, OcspResponse, OcspResponseStatus,
    SingleResponse,
};

/// What a response says of a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is good, until this moment in seconds of unix time.
    Good { until: i64 },
    /// Nothing that clients should be shown, and why.
    Useless(&'static str),
}

/// What `response` says of the certificate with this serial number. The error says why it cannot be
/// read. Its signature is the clients' to check.
pub(super) fn read(response: &[u8], serial: &[u8]) -> Result<Answer, String> {
    let outer =
        OcspResponse::from_der(response).map_err(|_| "it is no OCSP response in DER".to_owned())?;
    if outer.response_status != OcspResponseStatus::Successful {
        return Ok(Answer::Useless("it reports a failure"));
    }
    let Some(body) = outer.response_bytes else {
        return Ok(Answer::Useless("it is empty"));
    };
    let basic = BasicOcspResponse::from_der(body.response.as_bytes())
        .map_err(|_| "its content is no basic OCSP response".to_owned())?;
    let about =
        |single: &&SingleResponse| plain(single.cert_id.serial_number.as_bytes()) == plain(serial);
    let Some(single) = basic.tbs_response_data.responses.iter().find(about) else {
        return Ok(Answer::Useless("it is about another certificate"));
    };
    Ok(match (&single.cert_status, &single.next_update) {
        (CertStatus::Good(_), Some(next)) => Answer::Good {
            until: seconds(next),
        },
        (CertStatus::Good(_), None) => Answer::Useless("it does not say until when it holds"),
        (CertStatus::Revoked(_), _) => Answer::Useless("it says that the certificate is revoked"),
        (CertStatus::Unknown(_), _) => Answer::Useless("it does not know the certificate"),
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
