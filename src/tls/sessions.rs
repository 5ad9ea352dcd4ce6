//! Session resumption for clients: tickets, stored sessions and their limits.
//!
//! rustls resumes every session that its ticketer or session store returns, if the server name is the
//! same. This module adds two limits. Ticket keys and stored sessions belong to one [`Scope`], so no
//! session crosses from one policy to another. And each session carries the time of its original full
//! handshake through every renewal, so it expires at its maximum age. Client auth is not checked here:
//! the caller verifies the client again before it answers a resumption.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::rand;
use rustls::pki_types::UnixTime;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};

use super::digest;

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

/// A secret from a file, from which all instances with the file derive the same ticket keys. There is
/// no forward secrecy against a leak of the file: it decrypts sessions recorded before.
#[derive(Clone)]
pub struct TicketSecret {
    root: Arc<Prk>,
    id: [u8; 32],
}

impl TicketSecret {
    /// The least length of a secret, in bytes.
    pub const LEN_MIN: usize = 32;

    /// A secret of these bytes, unless they are fewer than [`TicketSecret::LEN_MIN`].
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= Self::LEN_MIN).then(|| Self {
            root: Arc::new(Salt::new(HKDF_SHA256, b"reseal ticket secret").extract(bytes)),
            id: digest::sha256(bytes),
        })
    }
}

impl fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketSecret")
    }
}

/// The sessions of every scope, for the life of the process: a scope that a reload does not change
/// keeps its keys.
#[derive(Debug, Default)]
pub struct Sessions {
    scopes: Mutex<HashMap<[u8; 32], Weak<ScopedSessions>>>,
}

impl Sessions {
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
        if let Some(existing) = scopes.get(&id).and_then(Weak::upgrade) {
            return existing;
        }
        scopes.retain(|_, sessions| sessions.strong_count() > 0);
        let created = Arc::new(ScopedSessions {
            max_age: max_age.as_secs(),
            created: Instant::now(),
            keys: if secrets.is_empty() {
                Keys::LocalKeys(Mutex::default())
            } else {
                Keys::Shared(Shared {
                    scope,
                    secrets: secrets.to_vec(),
                    derived: Mutex::default(),
                })
            },
            stored: ServerSessionMemoryCache::new(STORED_SESSIONS),
        });
        scopes.insert(id, Arc::downgrade(&created));
        created
    }
}

/// The sessions of one scope.
#[derive(Debug)]
pub struct ScopedSessions {
    /// In seconds.
    max_age: u64,
    created: Instant,
    keys: Keys,
    stored: Arc<ServerSessionMemoryCache>,
}

#[derive(Debug)]
enum Keys {
    LocalKeys(Mutex<LocalKeys>),
    Shared(Shared),
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

/// Random keys of this process, kept in memory only. Each encrypts new tickets for `max_age` and
/// decrypts for another `max_age`.
#[derive(Debug, Default)]
struct LocalKeys {
    current: Option<(Instant, Arc<Key>)>,
    previous: Option<(Instant, Arc<Key>)>,
}

impl LocalKeys {
    fn rotate(&mut self, max_age: u64) {
        let age = |(since, _): &(Instant, _)| since.elapsed().as_secs();
        if self.current.as_ref().is_some_and(|key| age(key) >= max_age) {
            self.previous = self.current.take();
        }
        if self
            .previous
            .as_ref()
            .is_some_and(|key| age(key) >= 2 * max_age)
        {
            self.previous = None;
        }
    }

    fn encryption_key(&mut self, max_age: u64) -> Option<Arc<Key>> {
        self.rotate(max_age);
        if self.current.is_none() {
            let mut material = [0; Material::LEN];
            rand::fill(&mut material).ok()?;
            self.current = Some((Instant::now(), Arc::new(Key::new(&material)?)));
        }
        self.current.as_ref().map(|(_, key)| Arc::clone(key))
    }

    fn decryption_key(&mut self, name: &KeyName, max_age: u64) -> Option<Arc<Key>> {
        self.rotate(max_age);
        let keys = self.current.iter().chain(&self.previous);
        let mut keys = keys.map(|(_, key)| key);
        keys.find(|key| key.name == *name).cloned()
    }
}

/// Keys that every instance with the same secrets derives: one for each epoch of `max_age` in unix time.
#[derive(Debug)]
struct Shared {
    scope: Scope,
    secrets: Vec<TicketSecret>,
    derived: Mutex<HashMap<(usize, u64), Arc<Key>>>,
}

impl Shared {
    fn key(&self, secret: usize, epoch: u64) -> Option<Arc<Key>> {
        let mut derived = self.derived.lock();
        if let Some(key) = derived.get(&(secret, epoch)) {
            return Some(Arc::clone(key));
        }
        derived.retain(|(_, known), _| known.abs_diff(epoch) <= 2);
        let mut material = [0; Material::LEN];
        let epoch_bytes = epoch.to_le_bytes();
        let info: [&[u8]; 3] = [b"reseal ticket key", &self.scope.0, &epoch_bytes];
        let root = &self.secrets.get(secret)?.root;
        root.expand(&info, Material)
            .and_then(|derived| derived.fill(&mut material))
            .ok()?;
        let key = Arc::new(Key::new(&material)?);
        derived.insert((secret, epoch), Arc::clone(&key));
        Some(key)
    }

    /// The key of this name from the previous, the current or the next epoch.
    fn decryption_key(&self, name: &KeyName, epoch: u64) -> Option<Arc<Key>> {
        let epochs = [epoch, epoch.saturating_sub(1), epoch.saturating_add(1)];
        (0..self.secrets.len())
            .flat_map(|secret| epochs.map(|epoch| (secret, epoch)))
            .filter_map(|(secret, epoch)| self.key(secret, epoch))
            .find(|key| key.name == *name)
    }
}

type KeyName = [u8; 16];

/// A ticket key, and the name by which tickets refer to it.
struct Key {
    name: KeyName,
    aead: RandomizedNonceKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// The derived bytes of a key: 16 bytes of name, 32 of key.
struct Material;

impl Material {
    const LEN: usize = 48;
}

impl KeyType for Material {
    fn len(&self) -> usize {
        Self::LEN
    }
}

impl Key {
    fn new(material: &[u8; Material::LEN]) -> Option<Self> {
        let (name, key) = material.split_first_chunk()?;
        Some(Self {
            name: *name,
            aead: RandomizedNonceKey::new(&AES_256_GCM, key).ok()?,
        })
    }

    /// Encrypts a ticket: key name, nonce, ciphertext.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut ciphertext = plain.to_vec();
        let nonce = self
            .aead
            .seal_in_place_append_tag(Aad::from(&self.name), &mut ciphertext)
            .ok()?;
        let mut ticket = Vec::with_capacity(self.name.len() + NONCE_LEN + ciphertext.len());
        ticket.extend_from_slice(&self.name);
        ticket.extend_from_slice(nonce.as_ref());
        ticket.extend_from_slice(&ciphertext);
        Some(ticket)
    }

    /// Decrypts the part of a ticket after the key name.
    fn decrypt(&self, encrypted: &[u8]) -> Option<Vec<u8>> {
        let (nonce, ciphertext) = encrypted.split_first_chunk::<NONCE_LEN>()?;
        let mut plain = ciphertext.to_vec();
        let nonce = Nonce::from(nonce);
        let len = self
            .aead
            .open_in_place(nonce, Aad::from(&self.name), &mut plain)
            .ok()?
            .len();
        plain.truncate(len);
        Some(plain)
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
        self.sessions.encryption_key()?.encrypt(&wrapped)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, encrypted) = ticket.split_first_chunk()?;
        let key = self.sessions.decryption_key(name)?;
        self.unwrap(&key.decrypt(encrypted)?)
    }
}

impl StoresServerSessions for ConnectionSessions {
    fn put(&self, id: Vec<u8>, session: Vec<u8>) -> bool {
        let wrapped = self.wrap(&session);
        wrapped.len() <= SESSION_MAX && self.sessions.stored.put(id, wrapped)
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.unwrap(&self.sessions.stored.get(id)?)
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.unwrap(&self.sessions.stored.take(id)?)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn scope(name: &str) -> Scope {
        Scope::of([name.as_bytes()])
    }

    fn ticket(sessions: &Arc<ScopedSessions>) -> Vec<u8> {
        sessions.connection().encrypt(b"a session").unwrap()
    }

    #[test]
    fn a_ticket_is_accepted_only_in_its_own_scope() {
        let sessions = Sessions::default();
        let a = sessions.scope(scope("a"), HOUR, &[]);
        let b = sessions.scope(scope("b"), HOUR, &[]);
        let issued = ticket(&a);
        assert_eq!(a.connection().decrypt(&issued).unwrap(), b"a session");
        assert_eq!(b.connection().decrypt(&issued), None);
    }

    #[test]
    fn a_scope_that_a_reload_does_not_change_keeps_its_keys() {
        let sessions = Sessions::default();
        let before = sessions.scope(scope("a"), HOUR, &[]);
        let after = sessions.scope(scope("a"), HOUR, &[]);
        assert!(after.connection().decrypt(&ticket(&before)).is_some());
        drop((before, after));
        let _other = sessions.scope(scope("b"), HOUR, &[]);
        assert_eq!(sessions.scopes.lock().len(), 1, "unused scopes are dropped");
    }

    #[test]
    fn scopes_with_differently_split_parts_differ() {
        let joined = Scope::of([&b"ab"[..], b"c"]);
        assert_ne!(joined, Scope::of([&b"a"[..], b"bc"]));
        assert_ne!(joined, Scope::of([&b"abc"[..]]));
    }

    #[test]
    fn instances_that_share_a_secret_resume_each_others_sessions() {
        let secret = |byte| TicketSecret::new(&[byte; 32]).unwrap();
        let (one, other) = (Sessions::default(), Sessions::default());
        let old = one.scope(scope("a"), HOUR, &[secret(1)]);
        let new = other.scope(scope("a"), HOUR, &[secret(2), secret(1)]);
        assert!(new.connection().decrypt(&ticket(&old)).is_some());
        // The old instance does not know the new secret yet.
        assert!(old.connection().decrypt(&ticket(&new)).is_none());
        let elsewhere = other.scope(scope("b"), HOUR, &[secret(1)]);
        assert!(elsewhere.connection().decrypt(&ticket(&old)).is_none());
    }

    #[test]
    fn a_session_ends_at_its_age_however_often_it_was_renewed() {
        let sessions = Sessions::default();
        let sessions = sessions.scope(scope("a"), HOUR, &[]);
        let renewed = sessions.connection();
        // As if its full handshake was at second 0.
        let first = Key::encrypt(
            &sessions.encryption_key().unwrap(),
            &[&0u64.to_le_bytes()[..], b"a session"].concat(),
        );
        assert!(renewed.decrypt(&first.unwrap()).is_some());
        let second = renewed.encrypt(b"a session").unwrap();
        let key = sessions.encryption_key().unwrap();
        let plain = key.decrypt(&second[16..]).unwrap();
        assert_eq!(plain[..8], [0; 8], "the age is the first handshake's");
        assert!(sessions.is_fresh(0) && !sessions.is_fresh(CLOCK_SKEW + 1 + sessions.now()));
    }

    #[test]
    fn a_closed_connection_resumes_nothing() {
        let sessions = Sessions::default();
        let sessions = sessions.scope(scope("a"), HOUR, &[]);
        let connection = sessions.connection();
        connection.put(vec![1], b"stored".to_vec());
        connection.close();
        assert_eq!(connection.decrypt(&ticket(&sessions)), None);
        assert_eq!(connection.get(&[1]), None);
        assert_eq!(sessions.connection().get(&[1]).unwrap(), b"stored");
    }

    #[test]
    fn truncated_and_modified_tickets_are_refused() {
        let sessions = Sessions::default();
        let sessions = sessions.scope(scope("a"), HOUR, &[]);
        let issued = ticket(&sessions);
        for cut in 0..issued.len() {
            assert_eq!(sessions.connection().decrypt(&issued[..cut]), None);
            let mut bent = issued.clone();
            bent[cut] ^= 1;
            assert_eq!(sessions.connection().decrypt(&bent), None);
        }
    }

    #[test]
    fn a_session_with_a_long_chain_is_neither_put_into_a_ticket_nor_stored() {
        let sessions = Sessions::default();
        let sessions = sessions.scope(scope("a"), HOUR, &[]);
        let long = vec![0; SESSION_MAX];
        assert_eq!(sessions.connection().encrypt(&long), None);
        assert!(!sessions.connection().put(vec![1], long));
        assert_eq!(sessions.connection().get(&[1]), None);
    }

    #[test]
    fn a_full_handshake_does_not_inherit_the_age_of_a_session_that_was_not_resumed() {
        let sessions = Sessions::default();
        let sessions = sessions.scope(scope("a"), HOUR, &[]);
        let offered = [&0u64.to_le_bytes()[..], b"a session"].concat();
        let offered = sessions
            .encryption_key()
            .unwrap()
            .encrypt(&offered)
            .unwrap();
        let connection = sessions.connection();
        assert!(connection.decrypt(&offered).is_some());
        connection.begin();
        assert_eq!(connection.since.load(Ordering::Relaxed), NONE);
    }

    #[test]
    fn a_key_is_dropped_when_all_its_tickets_have_expired() {
        let mut local = LocalKeys::default();
        let key = local.encryption_key(1).unwrap();
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
        local.current = ago(1).map(|since| (since, Arc::clone(&key)));
        assert!(local.decryption_key(&key.name, 1).is_some() && local.current.is_none());
        local.previous = ago(2).map(|since| (since, Arc::clone(&key)));
        assert!(local.decryption_key(&key.name, 1).is_none() && local.previous.is_none());
    }

    #[test]
    fn a_secret_is_at_least_32_bytes() {
        assert!(TicketSecret::new(&[1; 31]).is_none());
        assert!(TicketSecret::new(&[1; 32]).is_some());
    }
}
