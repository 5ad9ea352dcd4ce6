//! The status of a certificate that has come: whether it may be stapled.

use hyper::Request;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::http::request::Builder;

use super::source::Staple;
use crate::tls::ocsp;

/// The most bytes of a response: more do not fit into a handshake of TLS 1.3.
pub(super) const BYTES_MAX: usize = 64 * 1024;

/// The request for a status, without its body (RFC 6960, appendix A.1).
pub(super) fn request(url: &str) -> Builder {
    Request::post(url)
        .header(CONTENT_TYPE, "application/ocsp-request")
        .header(ACCEPT, "application/ocsp-response")
}

/// The body of a request for the status of a certificate.
pub(super) fn body(staple: &Staple) -> Result<Vec<u8>, String> {
    let body = ocsp::request(&staple.leaf, &staple.issuer);
    body.ok_or_else(|| "the certificate or that of its issuer is broken".to_owned())
}

/// Whether a response may replace the one before it, and when it is to be fetched again: halfway to its end,
/// so that a responder may be away for as long again.
pub(super) fn judge(
    staple: &Staple,
    bytes: &[u8],
    before: Option<&[u8]>,
    now: i64,
) -> Result<i64, String> {
    let verified = |response| ocsp::verified(response, &staple.leaf, &staple.issuer, now);
    let (from, until) =
        verified(bytes).map_err(|why| format!("the response is of no use: {why}"))?;
    let before = before.and_then(|before| verified(before).ok());
    if before.is_some_and(|(before, _)| before > from) {
        return Err("the response is older than the one in use".to_owned());
    }
    Ok(from.midpoint(until))
}
