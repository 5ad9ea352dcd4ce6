//! The origin sessions that may be resumed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;

/// How many origin names keep sessions to resume.
const SESSION_NAMES: usize = 256;

/// Origin sessions, none older than `max_age` counted from its full handshake: all of them are
/// dropped once in that time, so a renewed one can descend only from a full handshake since then.
#[derive(Debug)]
pub(super) struct AgedSessions {
    max_age: Duration,
    current: Mutex<(Instant, Arc<ClientSessionMemoryCache>)>,
}

impl AgedSessions {
    pub(super) fn new(max_age: Duration) -> Self {
        Self {
            max_age,
            current: Mutex::new((Instant::now(), fresh())),
        }
    }

    fn sessions(&self) -> Arc<ClientSessionMemoryCache> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0.elapsed() >= self.max_age {
            *current = (Instant::now(), fresh());
        }
        Arc::clone(&current.1)
    }
}

fn fresh() -> Arc<ClientSessionMemoryCache> {
    Arc::new(ClientSessionMemoryCache::new(SESSION_NAMES))
}

impl ClientSessionStore for AgedSessions {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.sessions().set_kx_hint(server_name, group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions().kx_hint(server_name)
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.sessions().set_tls12_session(server_name, value);
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.sessions().tls12_session(server_name)
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.sessions().remove_tls12_session(server_name);
    }

    fn insert_tls13_ticket(
        &self,
        server_name: ServerName<'static>,
        value: Tls13ClientSessionValue,
    ) {
        self.sessions().insert_tls13_ticket(server_name, value);
    }

    fn take_tls13_ticket(
        &self,
        server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        self.sessions().take_tls13_ticket(server_name)
    }
}
