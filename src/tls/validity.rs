//! Validity dates of the certificates that are presented, of the others in their chain, and of CAs.

use x509_parser::prelude::X509Certificate;

use super::info::distinguished_name;

/// How many seconds before its end a certificate is reported: time for a renewal by hand.
pub const ENDS_SOON: i64 = 14 * 24 * 3600;

/// The longest subject in a message or label, in bytes: a certificate's name can have megabytes.
const SUBJECT_MAX: usize = 256;

/// The subject of a certificate and its validity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its subject, truncated. It comes from a file: escape it before use.
    pub subject: String,
    /// The start, in seconds of unix time.
    pub not_before: i64,
    /// The end, in seconds of unix time.
    pub not_after: i64,
}

/// What to report about a validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateFault {
    /// It has ended.
    Expired,
    /// It has not begun.
    Early,
    /// It ends within [`ENDS_SOON`].
    EndsSoon,
}

impl Validity {
    /// Reads it from a certificate.
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let mut subject = distinguished_name(certificate.subject());
        if subject.len() > SUBJECT_MAX {
            let end = (0..=SUBJECT_MAX)
                .rev()
                .find(|n| subject.is_char_boundary(*n));
            subject.truncate(end.unwrap_or_default());
            subject.push('…');
        }
        Self {
            subject,
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        }
    }

    /// What to report about it at `now`, in seconds of unix time.
    pub const fn fault(&self, now: i64) -> Option<DateFault> {
        if self.not_after < now {
            Some(DateFault::Expired)
        } else if self.not_before > now {
            Some(DateFault::Early)
        } else if self.not_after - now < ENDS_SOON {
            Some(DateFault::EndsSoon)
        } else {
            None
        }
    }
}
