//! When certificates are valid: those that are presented, those behind them in their chain, and CAs.

use x509_parser::prelude::X509Certificate;

use super::info::distinguished_name;

/// A certificate ends soon when it does within so many seconds.
pub const ENDS_SOON: i64 = 14 * 24 * 3600;

/// The longest name of a certificate in a message or label, in bytes: a name can have megabytes.
const SUBJECT_MAX: usize = 256;

/// A certificate by its name, and when it is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its subject, cut where it is very long. From a file: escape it before use.
    pub subject: String,
    /// The start, in seconds of unix time.
    pub not_before: i64,
    /// The end, in seconds of unix time.
    pub not_after: i64,
}

/// What is to be told of a validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateFault {
    /// It is over.
    Expired,
    /// It has not begun.
    Early,
    /// It ends within [`ENDS_SOON`].
    EndsSoon,
}

impl Validity {
    /// That of a certificate.
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

    /// What is to be told of it at this moment, in seconds of unix time.
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
