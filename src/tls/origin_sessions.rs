//! The sessions that an origin has issued, and whether to offer them.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;

use crate::sync::Mutex;
use crate::transport::Transport;

/// After this many consecutive handshakes that failed while a session was offered, no session is
/// offered for [`PAUSE`]: else each connection to an origin that cannot resume would need two handshakes.
const FAILURES_MAX: u32 = 3;

/// How long no session is offered then. After it one is tried: the origin may have been restarting.
const PAUSE: Duration = Duration::from_secs(60);

/// The sessions of one origin. rustls takes a session while it creates a connection, in one synchronous
/// call; thread-locals carry the permission into that call and the result out of it.
#[derive(Debug)]
pub(super) struct OriginSessions {
    cache: ClientSessionMemoryCache,
    failures: Mutex<Failures>,
}

/// The consecutive handshakes that failed while a session was offered.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    last: Option<Instant>,
}

impl Failures {
    fn add(&mut self, now: Instant) {
        self.count = self.count.saturating_add(1);
        self.last = Some(now);
    }

    fn is_pause(&self, now: Instant) -> bool {
        let is_recent = |last| now.saturating_duration_since(last) < PAUSE;
        self.count >= FAILURES_MAX && self.last.is_some_and(is_recent)
    }
}

thread_local! {
    /// Whether the connection that is being created may offer a session.
    static MAY_OFFER: Cell<bool> = const { Cell::new(false) };
    /// Whether it took a session to offer.
    static OFFERED: Cell<bool> = const { Cell::new(false) };
}

impl OriginSessions {
    /// Without sessions, for at most `capacity` of them.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            cache: ClientSessionMemoryCache::new(capacity),
            failures: Mutex::default(),
        }
    }

    /// Calls `create`, which creates a connection, and lets it take a session if it `may` offer one.
    /// Returns its result, and whether it took a session.
    pub(super) fn with_offer<T>(&self, may: bool, create: impl FnOnce() -> T) -> (T, bool) {
        MAY_OFFER.set(may && !self.failures.lock().is_pause(Instant::now()));
        OFFERED.set(false);
        let created = create();
        MAY_OFFER.set(false);
        (created, OFFERED.take())
    }
}

/// The session that a handshake offers. If it is dropped without [`OfferedSession::settle`], it alone is
/// discarded: a handshake that is abandoned because the client has gone says nothing about the origin.
#[derive(Debug)]
pub struct OfferedSession {
    sessions: Arc<OriginSessions>,
    name: ServerName<'static>,
    is_settled: bool,
}

impl OfferedSession {
    pub(super) const fn new(sessions: Arc<OriginSessions>, name: ServerName<'static>) -> Self {
        Self {
            sessions,
            name,
            is_settled: false,
        }
    }

    /// Notes how the handshake ended: the transport has TLS if it succeeded. After a failure, also by a
    /// deadline, all sessions of the name are forgotten, as any of them may be the cause.
    pub fn settle(mut self, transport: &Transport) {
        self.is_settled = true;
        let Some(tls) = &transport.tls else {
            self.sessions.failures.lock().add(Instant::now());
            let cache = &self.sessions.cache;
            cache.remove_tls12_session(&self.name);
            while cache.take_tls13_ticket(&self.name).is_some() {}
            return;
        };
        if tls.is_resumed() {
            *self.sessions.failures.lock() = Failures::default();
        }
    }
}

impl Drop for OfferedSession {
    fn drop(&mut self) {
        // Taking a ticket of TLS 1.3 has removed it. A session of TLS 1.2 stays in the cache, and would
        // be offered again and again to an origin that does not answer it.
        if !self.is_settled {
            self.sessions.cache.remove_tls12_session(&self.name);
        }
    }
}

/// Takes a session for the connection that is being created, if it may offer one.
fn offered<T>(session: impl FnOnce() -> Option<T>) -> Option<T> {
    let session = MAY_OFFER.get().then(session).flatten()?;
    OFFERED.set(true);
    Some(session)
}

impl ClientSessionStore for OriginSessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.cache.set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.cache.kx_hint(name)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.cache.set_tls12_session(name, session);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        offered(|| self.cache.tls12_session(name))
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.cache.remove_tls12_session(name);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.cache.insert_tls13_ticket(name, ticket);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        offered(|| self.cache.take_tls13_ticket(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_stop_the_offer_of_sessions_for_a_minute() {
        let mut failures = Failures::default();
        let mut now = Instant::now();
        for _ in 0..FAILURES_MAX {
            assert!(!failures.is_pause(now));
            failures.add(now);
        }
        assert!(failures.is_pause(now));
        now += PAUSE;
        assert!(!failures.is_pause(now), "a session is tried again");
        failures.add(now);
        assert!(failures.is_pause(now), "and one more failure is enough");
    }
}
