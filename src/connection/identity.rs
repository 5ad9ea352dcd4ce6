//! The verified identity of a live client, kept so that a changed policy can be applied to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};

use crate::tls::acceptor::TlsAcceptor;
use crate::tls::info::not_after;
use crate::tls::verify::client::AtExpiry;

/// The client's certificate, whose key it has proven to hold, and the path from it to a CA. Other
/// certificates that the client sent are not kept.
#[derive(Debug)]
pub struct Identity {
    path: Box<[CertificateDer<'static>]>,
    /// End of validity of its own certificate, in seconds of unix time.
    not_after: i64,
    /// The first end of validity on the path, in seconds of unix time.
    path_end: i64,
    at_expiry: AtExpiry,
    noted: AtomicBool,
}

impl Identity {
    /// The identity of a verified chain under the policy of the route; `None` if no path leads to a CA.
    pub(super) fn of(
        chain: &[CertificateDer<'static>],
        acceptor: &TlsAcceptor,
    ) -> Option<Box<Self>> {
        let path = acceptor.verifier().path(chain, UnixTime::now());
        let ends = path.iter().map(|der| not_after(der).unwrap_or_default());
        let path_end = ends.min().unwrap_or_default();
        Some(Box::new(Self {
            not_after: not_after(path.first()?).unwrap_or_default(),
            path_end,
            path: path.into_iter().cloned().collect(),
            at_expiry: acceptor.verifier().at_expiry(),
            noted: AtomicBool::new(false),
        }))
    }

    /// The client certificate, then the intermediates up to a CA.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.path
    }

    /// The past `notAfter` times of the chain, the latest first.
    pub fn ends(&self, now: UnixTime) -> Vec<UnixTime> {
        let ends = self.path.iter().filter_map(not_after);
        let ends = ends.filter_map(|end| u64::try_from(end).ok());
        let mut ends: Vec<_> = ends.filter(|end| *end < now.as_secs()).collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        let moment = |end| UnixTime::since_unix_epoch(Duration::from_secs(end));
        ends.into_iter().map(moment).collect()
    }

    /// Whether its certificate has expired.
    pub fn has_expired(&self, now: UnixTime) -> bool {
        i64::try_from(now.as_secs()).is_ok_and(|now| now > self.not_after)
    }

    /// Whether any certificate of the path has expired.
    pub fn has_expired_path(&self, now: UnixTime) -> bool {
        i64::try_from(now.as_secs()).map_or(true, |now| now > self.path_end)
    }

    /// What to do with the connection then.
    pub const fn at_expiry(&self) -> AtExpiry {
        self.at_expiry
    }

    /// Returns `true` the first time, so that an expiry is logged once.
    pub fn note(&self) -> bool {
        !self.noted.swap(true, Ordering::Relaxed)
    }
}
