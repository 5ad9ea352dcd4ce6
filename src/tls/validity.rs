//! Validity dates of the certificates that are presented, of the others in their chain, and of CAs.

use x509_parser::prelude::X509Certificate;

use super::info::distinguished_name;

/// How many seconds before its end a certificate is reported: time for a renewal by hand. One of a short
/// life is renewed by a machine, usually after two thirds of it, and reported after that.
const ENDS_SOON: i64 = 14 * 24 * 3600;

/// The same for a CA in the metrics: replacing one takes longer, as others have to learn of it.
const AUTHORITY_ENDS_SOON: i64 = 30 * 24 * 3600;

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
    /// Its renewal is due ([`Validity::renewal_due`]).
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
        } else if self.renewal_due() < now {
            Some(DateFault::EndsSoon)
        } else {
            None
        }
    }

    /// When its renewal is due, in seconds of unix time: 14 days before its end, or a third of its
    /// lifetime if that is less.
    pub const fn renewal_due(&self) -> i64 {
        due(self.not_before, self.not_after, ENDS_SOON)
    }

    /// When the renewal of a CA is due, in seconds of unix time: 30 days before its end, or
    /// a third of its lifetime if that is less. The metrics export it.
    pub const fn authority_renewal_due(&self) -> i64 {
        due(self.not_before, self.not_after, AUTHORITY_ENDS_SOON)
    }
}

/// `longest` before the end of a life, or a third of that life if that is less.
pub(super) const fn due(from: i64, until: i64, longest: i64) -> i64 {
    let third = until.saturating_sub(from) / 3;
    until.saturating_sub(if third < longest { third } else { longest })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    #[test]
    fn a_renewal_is_due_14_days_or_a_third_of_the_life_before_the_end() {
        for (life, left) in [
            (3650 * DAY, 14 * DAY),
            (90 * DAY, 14 * DAY),
            (45 * DAY, 14 * DAY),
            (6 * DAY, 2 * DAY),
            (HOUR, HOUR / 3),
            (0, 0),
        ] {
            let validity = Validity {
                subject: String::new(),
                not_before: 1_000_000,
                not_after: 1_000_000 + life,
            };
            let end = validity.not_after;
            assert_eq!(end - validity.renewal_due(), left, "{life}");
            assert_eq!(validity.fault(end - left), None, "{life}");
            let then = validity.fault(end - left + 1);
            assert!(matches!(
                then,
                Some(DateFault::EndsSoon | DateFault::Expired)
            ));
            assert_eq!(validity.fault(end + 1), Some(DateFault::Expired));
        }
    }

    #[test]
    fn absurd_dates_do_no_harm() {
        for (not_before, not_after) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MIN), (0, i64::MIN)] {
            let subject = String::new();
            let validity = Validity {
                subject,
                not_before,
                not_after,
            };
            let _ = (validity.fault(0), validity.authority_renewal_due());
        }
    }
}
