//! What is kept on an established connection, and whether a policy still admits it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustls::pki_types::UnixTime;

use super::identity::Identity;
use super::progress::Progress;
use super::traffic::{CountedTraffic, traffic};
use crate::admission::SourceDenial;
use crate::observe::access_log::{AccessRecord, Client, Traffic};
use crate::outcome::Reason;
use crate::relay::ConnHandle;
use crate::revoked::Revoked;
use crate::snapshot::{Endpoint, Route};
use crate::tls::classify;
use crate::tls::verify::client::{ClientVerifier, Recheck};
use crate::tls::verify::revoked::names;

/// The information kept on an established connection.
#[derive(Debug)]
pub struct ConnInfo {
    /// Its record, without the fields that are known only at the end.
    pub record: AccessRecord,
    /// The client's verified identity.
    pub identity: Option<Box<Identity>>,
    /// The generation of the snapshot that was current at accept.
    pub generation: u64,
    /// The last generation that it was compared with.
    pub checked: AtomicU64,
    /// The revocations that it was last compared with, see [`Revoked::version`](crate::revoked::Revoked::version).
    pub revoked: AtomicU64,
    /// The policy on client certificates that last decided on it, see
    /// [`ClientVerifier::id`](crate::tls::verify::client::ClientVerifier::id).
    pub verifier: AtomicU64,
    /// The bytes that the metrics have counted so far.
    pub counted: CountedTraffic,
    /// Which records of its progress were written.
    pub progress: Progress,
    /// Whether it was logged that the rules on addresses now deny its client.
    pub is_denial_logged: AtomicBool,
}

impl ConnInfo {
    /// The bytes moved since the last call. Concurrent callers never get the same byte twice.
    pub(super) fn uncounted(&self, handle: &ConnHandle) -> Traffic {
        self.counted.advance(traffic(handle))
    }

    /// Whether `verifier` decides on this client at `now` as it last did.
    pub fn is_decided_by(&self, verifier: &ClientVerifier, now: UnixTime) -> bool {
        let is_expired = |identity: &Identity| identity.has_expired_path(now);
        verifier.decides_as(self.verifier.load(Ordering::Relaxed), now)
            && !self.identity.as_deref().is_some_and(is_expired)
    }

    /// Why the rules of a route and its endpoint deny the address of this client; with what happens to a live
    /// connection then. `None` if they do not deny it. A unix client has no address.
    pub fn denied_by(&self, endpoint: &Endpoint, route: &Route) -> Option<(Recheck, SourceDenial)> {
        let Client::Ip(address) = self.record.client else {
            return None;
        };
        let all = [&endpoint.sources, &route.sources].into_iter().flatten();
        let denied = all.filter_map(|sources| {
            let denial = sources.rules.check(address.ip()).err()?;
            Some((sources.recheck, denial))
        });
        // That of the endpoint and that of the route may differ: the stricter one decides.
        denied.min_by_key(|(recheck, _)| *recheck as u8)
    }

    /// Why this client is revoked by an operator, if it is.
    pub fn revoked_by(&self, revoked: &Revoked) -> Option<Reason> {
        let leaf = self
            .identity
            .as_ref()
            .and_then(|identity| identity.chain().first());
        if leaf.is_some_and(|leaf| revoked.has_certificate(|| names(leaf))) {
            return Some(Reason::ClientCertRevoked);
        }
        match self.record.client {
            Client::Ip(address) if revoked.has_source(address.ip()) => Some(Reason::DeniedSource),
            _ => None,
        }
    }

    /// Whether a route would admit this client at `now`; the reason, if not.
    pub fn admitted_by(&self, route: &Route, now: UnixTime) -> Result<(), Reason> {
        let Some(acceptor) = route.mode.acceptor() else {
            return Ok(());
        };
        let chain = self.identity.as_ref().map(|identity| identity.chain());
        match acceptor.verifier().admit(chain, now) {
            Ok(_) => Ok(()),
            Err(error) => Err(classify::client(&error)),
        }
    }

    /// The same for a client whose chain has expired by `now`: whether the route would have admitted it at
    /// the last moment before the expiry.
    pub fn admitted_but_for_expiry(&self, route: &Route, now: UnixTime) -> Result<(), Reason> {
        let ends = self.identity.iter().flat_map(|identity| identity.ends(now));
        for end in ends {
            match self.admitted_by(route, end) {
                Err(Reason::ClientCertExpired) => {}
                result => return result,
            }
        }
        Err(Reason::ClientCertExpired)
    }
}
