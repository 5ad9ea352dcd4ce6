//! Session resumption for clients: tickets, stored sessions and their limits.
//!
//! rustls resumes every session that its ticketer or session store returns, if the server name is the
//! same. This module adds two limits. Ticket keys and stored sessions belong to one [`Scope`], so no
//! session crosses from one policy to another. And each session carries the time of its original full
//! handshake through every renewal, so it expires at its maximum age. Client auth is not checked here:
//! the caller verifies the client again before it answers a resumption.

mod keys;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use rustls::pki_types::UnixTime;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};

pub use self::keys::TicketSecret;
use self::keys::{Key, KeyName, LocalKeys, SharedKeys};
use super::digest;
use crate::revoked::Revoked;
use crate::sync::Mutex;

/// The maximum age of any session (RFC 8446 section 4.6.1).
pub const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// The tolerated clock difference of instances that share ticket keys, in seconds.
const CLOCK_SKEW: u64 = 60;

/// The largest session that is stored or put into a ticket, in bytes. A session contains the client's
/// chain, which may be long.
const SESSION_MAX: usize = 8 * 1024;

/// How many sessions of one scope are stored, for TLS 1.2 clients that resume by session id.
const STORED_SESSIONS: usize = 1024;

/// A digest of the policy that a session was created under. It must be the same for a resumption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scope([u8; 32]);

impl Scope {
    /// The scope of a policy with these parts in this order.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self(digest::parts(parts))
    }
}

/// The sessions of every scope, for the life of the process: a scope that a reload does not change
/// keeps its keys.
#[derive(Debug, Default)]
pub struct Sessions {
    /// Whose sessions are not resumed, and who gets none.
    revoked: Arc<Revoked>,
    tickets: Arc<TicketCounts>,
    scopes: Mutex<Scopes>,
}

#[derive(Debug, Default)]
struct Scopes {
    by_id: HashMap<[u8; 32], Weak<ScopedSessions>>,
    /// How many were added since those that are not in use were removed.
    added: usize,
}

impl Scopes {
    fn add(&mut self, id: [u8; 32], sessions: &Arc<ScopedSessions>) {
        // With a look at all for each one, a start would take a time that grows with the square of the
        // routes.
        if self.added * 2 >= self.by_id.len() {
            self.by_id.retain(|_, sessions| sessions.strong_count() > 0);
            self.added = 0;
        }
        self.by_id.insert(id, Arc::downgrade(sessions));
        self.added += 1;
    }
}

/// The tickets of all scopes so far.
#[derive(Debug, Default)]
pub struct TicketCounts {
    /// Those that clients were sent.
    pub issued: AtomicU64,
    /// Those that clients offered, and that could be used.
    pub accepted: AtomicU64,
    /// Those that clients offered, and that could not be read or were too old.
    pub refused: AtomicU64,
}

impl Sessions {
    /// Who is revoked by an operator.
    pub const fn revoked(&self) -> &Arc<Revoked> {
        &self.revoked
    }

    /// The counts of tickets, over all scopes.
    pub fn tickets(&self) -> &Arc<TicketCounts> {
        &self.tickets
    }

    /// The sessions of one scope. They expire `max_age` after their full handshake, at most after seven
    /// days. With `secrets`, tickets are encrypted under the first and accepted under all of them.
    pub fn scope(
        &self,
        scope: Scope,
        max_age: Duration,
        secrets: &[TicketSecret],
    ) -> Arc<ScopedSessions> {
        let max_age = max_age.clamp(Duration::from_secs(1), AGE_MAX);
        let age = max_age.as_secs().to_le_bytes();
        let parts = [&scope.0[..], &age].into_iter();
        let id = Scope::of(parts.chain(secrets.iter().map(|secret| &secret.id[..]))).0;
        let mut scopes = self.scopes.lock();
        if let Some(existing) = scopes.by_id.get(&id).and_then(Weak::upgrade) {
            return existing;
        }
        let created = Arc::new(ScopedSessions {
            tickets: Arc::clone(&self.tickets),
            max_age: max_age.as_secs(),
            created: Instant::now(),
            keys: if secrets.is_empty() {
                Keys::LocalKeys(Mutex::default())
            } else {
                Keys::Shared(SharedKeys::new(scope.0, secrets))
            },
            stored: OnceLock::new(),
        });
        scopes.add(id, &created);
        created
    }
}

/// The sessions of one scope.
#[derive(Debug)]
pub struct ScopedSessions {
    tickets: Arc<TicketCounts>,
    /// In seconds.
    max_age: u64,
    created: Instant,
    keys: Keys,
    /// Made for the first session: it takes 120 KiB at once, and most routes never store one.
    stored: OnceLock<Arc<ServerSessionMemoryCache>>,
}

#[derive(Debug)]
enum Keys {
    LocalKeys(Mutex<LocalKeys>),
    Shared(SharedKeys),
}

impl ScopedSessions {
    /// The view of one connection.
    pub(super) fn connection(self: &Arc<Self>) -> Arc<ConnectionSessions> {
        Arc::new(ConnectionSessions {
            sessions: Arc::clone(self),
            since: AtomicU64::new(NONE),
            closed: AtomicBool::new(false),
        })
    }

    /// Seconds on the clock of session ages: the monotonic clock, or unix time if instances share keys.
    fn now(&self) -> u64 {
        match self.keys {
            Keys::LocalKeys(_) => self.created.elapsed().as_secs(),
            Keys::Shared(_) => UnixTime::now().as_secs(),
        }
    }

    fn is_fresh(&self, since: u64) -> bool {
        let now = self.now();
        since <= now.saturating_add(CLOCK_SKEW) && now.saturating_sub(since) < self.max_age
    }

    fn encryption_key(&self) -> Option<Arc<Key>> {
        match &self.keys {
            Keys::LocalKeys(local) => local.lock().encryption_key(self.max_age),
            Keys::Shared(shared) => shared.key(0, self.now() / self.max_age),
        }
    }

    fn decryption_key(&self, name: &KeyName) -> Option<Arc<Key>> {
        match &self.keys {
            Keys::LocalKeys(local) => local.lock().decryption_key(name, self.max_age),
            Keys::Shared(shared) => shared.decryption_key(name, self.now() / self.max_age),
        }
    }
}

/// `since` of a connection that has resumed no session: its full handshake is now.
const NONE: u64 = u64::MAX;

/// The sessions as one connection sees them. It records the time of the original full handshake of the
/// session that it resumed, for the sessions that it issues in turn.
#[derive(Debug)]
pub(super) struct ConnectionSessions {
    sessions: Arc<ScopedSessions>,
    since: AtomicU64,
    closed: AtomicBool,
}

impl ConnectionSessions {
    /// Refuses all further resumptions.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Starts a full handshake: a session that was offered before was not resumed, so the age of new
    /// sessions counts from now.
    pub(super) fn begin(&self) {
        self.since.store(NONE, Ordering::Relaxed);
    }

    /// The session in a ticket, if it may still be used.
    fn read(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, encrypted) = ticket.split_first_chunk()?;
        let key = self.sessions.decryption_key(name)?;
        self.unwrap(&key.decrypt(encrypted)?)
    }

    /// Prepends the time of its full handshake to a session.
    fn wrap(&self, session: &[u8]) -> Vec<u8> {
        let since = match self.since.load(Ordering::Relaxed) {
            NONE => self.sessions.now(),
            since => since,
        };
        [&since.to_le_bytes(), session].concat()
    }

    /// Removes that time, and returns the session if it has not expired.
    fn unwrap(&self, wrapped: &[u8]) -> Option<Vec<u8>> {
        let (since, session) = wrapped.split_first_chunk()?;
        let since = u64::from_le_bytes(*since);
        if self.closed.load(Ordering::Relaxed) || !self.sessions.is_fresh(since) {
            return None;
        }
        self.since.store(since, Ordering::Relaxed);
        Some(session.to_vec())
    }
}

impl ProducesTickets for ConnectionSessions {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.sessions.max_age).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let wrapped = self.wrap(plain);
        if wrapped.len() > SESSION_MAX {
            return None;
        }
        let ticket = self.sessions.encryption_key()?.encrypt(&wrapped)?;
        self.sessions.tickets.issued.fetch_add(1, Ordering::Relaxed);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let session = self.read(ticket);
        let TicketCounts {
            accepted, refused, ..
        } = &*self.sessions.tickets;
        let count = if session.is_some() { accepted } else { refused };
        count.fetch_add(1, Ordering::Relaxed);
        session
    }
}

impl StoresServerSessions for ConnectionSessions {
    fn put(&self, id: Vec<u8>, session: Vec<u8>) -> bool {
        let wrapped = self.wrap(&session);
        let stored = || ServerSessionMemoryCache::new(STORED_SESSIONS);
        wrapped.len() <= SESSION_MAX && self.sessions.stored.get_or_init(stored).put(id, wrapped)
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.unwrap(&self.sessions.stored.get()?.get(id)?)
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.unwrap(&self.sessions.stored.get()?.take(id)?)
    }

    fn can_cache(&self) -> bool {
        true
    }
}
