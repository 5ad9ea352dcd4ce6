//! The errors of verifiers that rustls has no name for.

use std::fmt;

use rustls::{CertificateError, OtherError};

/// How many intermediates may be between a certificate and a CA: webpki's limit.
pub(super) const INTERMEDIATES_MAX: usize = 6;

/// The error for a certificate whose every path to a CA exceeds [`INTERMEDIATES_MAX`].
#[derive(Debug)]
pub(in crate::tls) struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "more than {INTERMEDIATES_MAX} intermediates stand between the certificate and a trusted CA"
        )
    }
}

impl std::error::Error for TooLong {}

/// The error for an origin certificate whose key is not pinned.
#[derive(Debug)]
pub(in crate::tls) struct NotPinned;

impl fmt::Display for NotPinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key of the certificate is none of those pinned")
    }
}

impl std::error::Error for NotPinned {}

impl NotPinned {
    /// Whether `error` wraps this error.
    pub(in crate::tls) fn is(error: &CertificateError) -> bool {
        matches!(error, CertificateError::Other(OtherError(other)) if other.is::<Self>())
    }
}
