//! The sessions that an origin has issued, and whether to offer them.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;

/// After this many consecutive handshakes that failed while a session was offered, no session is
/// offered any more: else each connection to an origin that cannot resume would need two handshakes.
const FAILURES_MAX: u32 = 3;

/// The sessions of one origin. rustls takes a session while it creates a connection, in one synchronous
/// call; thread-locals carry the permission into that call and the result out of it.
#[derive(Debug)]
pub(super) struct OriginSessions {
    cache: ClientSessionMemoryCache,
    failures: AtomicU32,
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
            failures: AtomicU32::new(0),
        }
    }

    /// Calls `create`, which creates a connection, and lets it take a session if it `may` offer one.
    /// Returns its result, and whether it took a session.
    pub(super) fn with_offer<T>(&self, may: bool, create: impl FnOnce() -> T) -> (T, bool) {
        MAY_OFFER.set(may && self.failures.load(Ordering::Relaxed) < FAILURES_MAX);
        OFFERED.set(false);
        let created = create();
        MAY_OFFER.set(false);
        (created, OFFERED.take())
    }

    /// Counts a failed handshake that offered a session, and forgets the sessions of this name.
    pub(super) fn forget(&self, name: &ServerName<'static>) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.cache.remove_tls12_session(name);
        while self.cache.take_tls13_ticket(name).is_some() {}
    }

    /// Resets the count of failures after a resumption.
    pub(super) fn resumed(&self) {
        self.failures.store(0, Ordering::Relaxed);
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
