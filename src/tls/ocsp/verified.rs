//! Whether a response is to be believed (RFC 6960, section 3.2): it is about the certificate, the issuer or
//! somebody that the issuer has authorized has signed it, and it is of this time.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use der::{Decode, Encode};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use x509_ocsp::{BasicOcspResponse, OcspResponse, ResponderId};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::status::{Status, Subject, read};
use crate::tls::der::{self as own_der, Elements, Outline};
use crate::tls::verify::signed::Signed;

/// How many certificates of a response are looked at.
const CERTIFICATES_MAX: usize = 4;

/// The tag of the certificates in a response.
const CERTIFICATES: u8 = 0xa0;

/// Verifies that a response says that a certificate is good at `now`, in seconds of unix time. Returns from
/// when and until when, exclusive, it does.
///
/// # Errors
///
/// One sentence.
pub fn verified(
    response: &[u8],
    certificate: &CertificateDer<'_>,
    issuer: &CertificateDer<'_>,
    now: i64,
) -> Result<(i64, i64), String> {
    let (_, leaf) =
        X509Certificate::from_der(certificate).map_err(|_| "the certificate is broken")?;
    let subject = Subject {
        certificate: &leaf,
        issuer: Some(issuer),
    };
    let (from, until) = match read(response, subject)? {
        Status::Good { from, until } => (from, until),
        Status::Unusable(why) => return Err(why.to_owned()),
    };
    if !is_authentic(response, issuer, now) {
        return Err(
            "neither the issuer nor a responder that it has authorized has signed it".to_owned(),
        );
    }
    if from > now {
        return Err("it is not valid yet: compare the clocks".to_owned());
    }
    if until <= now {
        return Err("it has ended".to_owned());
    }
    Ok((from, until))
}

/// Whether the responder that a response names has signed it, and may.
fn is_authentic(response: &[u8], issuer: &CertificateDer<'_>, now: i64) -> bool {
    let Some(body) = OcspResponse::from_der(response)
        .ok()
        .and_then(|outer| outer.response_bytes)
    else {
        return false;
    };
    let basic = body.response.as_bytes();
    let (Some(signed), Ok(parsed)) = (Signed::of(basic), BasicOcspResponse::from_der(basic)) else {
        return false;
    };
    let responder = &parsed.tbs_response_data.responder_id;
    let mut certificates = signed.rest.clone();
    let certificates = certificates.expect(CERTIFICATES);
    let certificates = certificates.and_then(|list| own_der::only(list, own_der::SEQUENCE));
    let delegated = Elements(certificates.unwrap_or_default()).map(|certificate| certificate.whole);
    let delegated = delegated
        .take(CERTIFICATES_MAX)
        .filter(|certificate| may_respond(certificate, issuer, now));
    let mut candidates = std::iter::once(&**issuer).chain(delegated);
    candidates.any(|candidate| {
        names(responder, candidate) && key(candidate).is_some_and(|key| signed.is_by(&key))
    })
}

/// Whether a response names this certificate's owner as its responder.
fn names(responder: &ResponderId, candidate: &[u8]) -> bool {
    let Ok((_, candidate)) = X509Certificate::from_der(candidate) else {
        return false;
    };
    match responder {
        ResponderId::ByName(name) => {
            let name = name.to_der();
            name.is_ok_and(|name| name == candidate.subject().as_raw())
        }
        ResponderId::ByKey(hash) => {
            let key = &candidate.public_key().subject_public_key.data;
            hash.as_bytes() == digest(&SHA1_FOR_LEGACY_USE_ONLY, key).as_ref()
        }
    }
}

/// Whether the issuer has authorized the owner of a certificate to respond (RFC 6960, section 4.2.2.2).
/// Whether the certificate is revoked is not looked up.
fn may_respond(certificate: &[u8], issuer: &CertificateDer<'_>, now: i64) -> bool {
    let (Ok((_, parsed)), Some(issued)) =
        (X509Certificate::from_der(certificate), Outline::of(issuer))
    else {
        return false;
    };
    let purposes = parsed.extended_key_usage();
    let usage = parsed.key_usage();
    let validity = parsed.validity();
    let is_valid =
        (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now);
    let is_issued = Outline::of(certificate).is_some_and(|own| own.issuer == issued.subject);
    let is_signed = || {
        let signed = Signed::of(certificate);
        signed
            .zip(key(issuer))
            .is_some_and(|(signed, key)| signed.is_by(&key))
    };
    purposes.is_ok_and(|purposes| purposes.is_some_and(|purposes| purposes.value.ocsp_signing))
        && usage.is_ok_and(|usage| usage.is_none_or(|usage| usage.value.digital_signature()))
        && is_valid
        && is_issued
        && is_signed()
}

/// The public key of a certificate.
fn key(certificate: &[u8]) -> Option<SubjectPublicKeyInfoDer<'static>> {
    let outline = Outline::of(certificate)?;
    Some(own_der::sequence(outline.key).into())
}
