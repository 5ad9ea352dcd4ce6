//! The sessions that an origin has given, and whether it is any use to offer them.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;

/// After so many handshakes in a row that failed while a session was offered, none is offered any
/// more: an origin that can resume nothing is not to cost each connection a second one.
const FAILURES_MAX: u32 = 3;

/// The sessions of one origin. rustls asks for one while a connection is made, in one synchronous call;
/// what is to be known of that call is noted on the thread.
#[derive(Debug)]
pub(super) struct OriginSessions {
    cache: ClientSessionMemoryCache,
    failures: AtomicU32,
}

thread_local! {
    /// Whether the connection that is being made may offer a session.
    static MAY_OFFER: Cell<bool> = const { Cell::new(false) };
    /// Whether it has been given one to offer.
    static OFFERED: Cell<bool> = const { Cell::new(false) };
}

impl OriginSessions {
    /// None yet, and room for so many.
    pub(super) fn new(room: usize) -> Self {
        Self {
            cache: ClientSessionMemoryCache::new(room),
            failures: AtomicU32::new(0),
        }
    }

    /// Calls `make`, which makes a connection, and lends it a session if it `may` offer one and there
    /// is any. What it made, and whether it offers one.
    pub(super) fn lent<T>(&self, may: bool, make: impl FnOnce() -> T) -> (T, bool) {
        MAY_OFFER.set(may && self.failures.load(Ordering::Relaxed) < FAILURES_MAX);
        OFFERED.set(false);
        let made = make();
        MAY_OFFER.set(false);
        (made, OFFERED.take())
    }

    /// A handshake that offered a session failed: forgets the sessions of this name.
    pub(super) fn forget(&self, name: &ServerName<'static>) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.cache.remove_tls12_session(name);
        while self.cache.take_tls13_ticket(name).is_some() {}
    }

    /// A session was resumed.
    pub(super) fn prove(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }
}

/// A session on its way to a connection.
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
