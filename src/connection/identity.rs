//! Who the client of a live connection is, for as long as it lives: a policy may change under it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};

use crate::tls::acceptor::TlsAcceptor;
use crate::tls::info::not_after;
use crate::tls::verify::client::AtExpiry;

/// The certificate that the client has shown, and proven to hold the key of, and the way from it to an
/// authority. What else the client sent is not kept here.
#[derive(Debug)]
pub struct Identity {
    path: Box<[CertificateDer<'static>]>,
    /// End of validity of its own certificate, in seconds of unix time.
    not_after: i64,
    at_expiry: AtExpiry,
    noted: AtomicBool,
}

impl Identity {
    /// The identity behind a chain, under the policy of the connection's route; none without one.
    pub(super) fn of(chain: &[CertificateDer<'static>], side: &TlsAcceptor) -> Option<Box<Self>> {
        let path = side.verifier().path(chain, UnixTime::now());
        Some(Box::new(Self {
            not_after: not_after(path.first()?).unwrap_or_default(),
            path: path.into_iter().cloned().collect(),
            at_expiry: side.verifier().at_expiry(),
            noted: AtomicBool::new(false),
        }))
    }

    /// Its own certificate, then those between it and an authority.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.path
    }

    /// The ends of validity in the chain that are past, the latest first.
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

    /// What is to become of the connection then.
    pub const fn at_expiry(&self) -> AtExpiry {
        self.at_expiry
    }

    /// Whether something is to be noted about it now: once.
    pub fn note(&self) -> bool {
        !self.noted.swap(true, Ordering::Relaxed)
    }
}
