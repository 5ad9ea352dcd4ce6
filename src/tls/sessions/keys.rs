//! The keys of tickets: random ones of this process, or derived ones that instances share.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::sync::Mutex;
use crate::tls::digest;

/// A secret from a file, from which all instances with the file derive the same ticket keys. There is
/// no forward secrecy against a leak of the file: it decrypts sessions recorded before.
#[derive(Clone)]
pub struct TicketSecret {
    root: Arc<Prk>,
    pub(super) id: [u8; 32],
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

/// Random keys of this process, kept in memory only. Each encrypts new tickets for `max_age` and
/// decrypts for another `max_age`.
#[derive(Debug, Default)]
pub(super) struct LocalKeys {
    pub(super) current: Option<(Instant, Arc<Key>)>,
    pub(super) previous: Option<(Instant, Arc<Key>)>,
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

    pub(super) fn encryption_key(&mut self, max_age: u64) -> Option<Arc<Key>> {
        self.rotate(max_age);
        if self.current.is_none() {
            let mut material = Zeroizing::new([0; Material::LEN]);
            rand::fill(&mut *material).ok()?;
            self.current = Some((Instant::now(), Arc::new(Key::new(&material)?)));
        }
        self.current.as_ref().map(|(_, key)| Arc::clone(key))
    }

    pub(super) fn decryption_key(&mut self, name: &KeyName, max_age: u64) -> Option<Arc<Key>> {
        self.rotate(max_age);
        let keys = self.current.iter().chain(&self.previous);
        let mut keys = keys.map(|(_, key)| key);
        keys.find(|key| key.name == *name).cloned()
    }
}

/// Keys that every instance with the same secrets derives: one for each epoch of `max_age` in unix time.
#[derive(Debug)]
pub(super) struct SharedKeys {
    /// The digest of the scope that the keys are for.
    scope: [u8; 32],
    secrets: Vec<TicketSecret>,
    derived: Mutex<HashMap<(usize, u64), Arc<Key>>>,
}

impl SharedKeys {
    /// The keys of a scope, which encrypt by the first secret.
    pub(super) fn new(scope: [u8; 32], secrets: &[TicketSecret]) -> Self {
        Self {
            scope,
            secrets: secrets.to_vec(),
            derived: Mutex::default(),
        }
    }

    pub(super) fn key(&self, secret: usize, epoch: u64) -> Option<Arc<Key>> {
        let mut derived = self.derived.lock();
        if let Some(key) = derived.get(&(secret, epoch)) {
            return Some(Arc::clone(key));
        }
        derived.retain(|(_, known), _| known.abs_diff(epoch) <= 2);
        let mut material = Zeroizing::new([0; Material::LEN]);
        let epoch_bytes = epoch.to_le_bytes();
        let info: [&[u8]; 3] = [b"reseal ticket key", &self.scope, &epoch_bytes];
        let root = &self.secrets.get(secret)?.root;
        root.expand(&info, Material)
            .and_then(|derived| derived.fill(&mut *material))
            .ok()?;
        let key = Arc::new(Key::new(&material)?);
        derived.insert((secret, epoch), Arc::clone(&key));
        Some(key)
    }

    /// The key of this name from the previous, the current or the next epoch.
    pub(super) fn decryption_key(&self, name: &KeyName, epoch: u64) -> Option<Arc<Key>> {
        let epochs = [epoch, epoch.saturating_sub(1), epoch.saturating_add(1)];
        (0..self.secrets.len())
            .flat_map(|secret| epochs.map(|epoch| (secret, epoch)))
            .filter_map(|(secret, epoch)| self.key(secret, epoch))
            .find(|key| key.name == *name)
    }
}

pub(super) type KeyName = [u8; 16];

/// A ticket key, and the name by which tickets refer to it.
pub(super) struct Key {
    pub(super) name: KeyName,
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
    pub(super) fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
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
    pub(super) fn decrypt(&self, encrypted: &[u8]) -> Option<Vec<u8>> {
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
