//! Session stores of a client that offer sessions to any server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;

/// Offers the sessions of any server to every other one, as a hostile client may.
#[derive(Debug)]
pub struct NamelessSessions(ClientSessionMemoryCache);

impl NamelessSessions {
    pub fn new() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self(ClientSessionMemoryCache::new(8)))
    }

    fn one_name() -> ServerName<'static> {
        ServerName::try_from("any.test").unwrap()
    }
}

impl ClientSessionStore for NamelessSessions {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(Self::one_name(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&Self::one_name())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(Self::one_name(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&Self::one_name())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&Self::one_name());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(Self::one_name(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&Self::one_name())
    }
}

/// A session store that can be frozen: it then stores nothing more and offers its sessions to any server. A
/// TLS 1.2 session is offered repeatedly, each TLS 1.3 ticket once.
#[derive(Debug, Default)]
pub struct FrozenSessions {
    frozen: AtomicBool,
    tls12: Mutex<Option<Tls12ClientSessionValue>>,
    tls13: Mutex<Vec<Tls13ClientSessionValue>>,
}

impl FrozenSessions {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Stores no more sessions.
    pub fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
    }

    /// The number of handshakes that it has sessions for.
    pub fn len(&self) -> usize {
        let tls12 = self.tls12.lock().unwrap().as_ref().map(|_| usize::MAX);
        tls12.unwrap_or_else(|| self.tls13.lock().unwrap().len())
    }

    fn learns(&self) -> bool {
        !self.frozen.load(Ordering::SeqCst)
    }
}

impl ClientSessionStore for FrozenSessions {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        if self.learns() {
            *self.tls12.lock().unwrap() = Some(value);
        }
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        let session = self.tls12.lock().unwrap();
        session.clone().filter(|_| !self.learns())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        if self.learns() {
            *self.tls12.lock().unwrap() = None;
        }
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        if self.learns() {
            self.tls13.lock().unwrap().push(value);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        // Until it is frozen, each handshake must be a full one.
        if self.learns() {
            return None;
        }
        self.tls13.lock().unwrap().pop()
    }
}
