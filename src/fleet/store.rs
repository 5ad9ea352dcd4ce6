//! Documents in the store: immutable generations in sealed chunks, and the pointer, which is moved last and by a
//! compared transaction.

use std::fmt;
use std::time::SystemTime;

use aws_lc_rs::rand;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::document::{DOCUMENT_MAX, Document, sha256};
use super::etcd::{Action, Condition, Entry, Etcd, EtcdError};
use super::keys::Keys;
use super::pointer::Pointer;
use super::seal::{SealError, SealKeys};
use super::settings::FleetSettings;
use super::tickets::TicketEpochs;
use crate::observe::escape;
use crate::observe::format::timestamp;

/// The bytes of a chunk: a request to etcd has at most 1.5 MiB.
const CHUNK: usize = 1024 * 1024;

/// How many generations are kept beside those that are wanted or served.
const KEPT: usize = 20;

/// Why a document cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The store does not answer, or refuses.
    Etcd(EtcdError),
    /// The generation is not there, or is not whole.
    Missing(String),
    /// It cannot be opened.
    Sealed(SealError),
    /// It is no document, or too large.
    Malformed(&'static str),
    /// Somebody else has moved the pointer meanwhile: to which generation, and who.
    Moved(Option<Box<Pointer>>),
}

impl From<EtcdError> for StoreError {
    fn from(error: EtcdError) -> Self {
        Self::Etcd(error)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Etcd(error) => error.fmt(f),
            Self::Missing(what) => write!(f, "the store has no {what}"),
            Self::Sealed(error) => write!(f, "the document cannot be opened: {error}"),
            Self::Malformed(what) => write!(f, "the document {what}"),
            Self::Moved(Some(pointer)) => write!(
                f,
                "nothing was moved: {} has moved the fleet to {} meanwhile ({})",
                escape::text(&pointer.by),
                escape::text(&pointer.id),
                escape::text(&pointer.how)
            ),
            Self::Moved(None) => write!(f, "nothing was moved: the pointer was deleted meanwhile"),
        }
    }
}

/// What a generation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its name.
    pub id: String,
    /// When it was written, as a text for people.
    pub time: String,
    /// Who wrote it.
    pub by: String,
    /// The name of the file that was pushed.
    pub file: String,
    /// The version of Reseal that compiled it.
    pub version: String,
    /// The SHA-256 of the document with its files.
    pub digest: String,
    /// Their bytes.
    pub size: usize,
    /// How many chunks they are in.
    pub chunks: usize,
}

impl Head {
    fn read(id: &str, bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| value[key].as_u64().and_then(|n| usize::try_from(n).ok());
        Some(Self {
            id: id.to_owned(),
            time: text("time"),
            by: text("by"),
            file: text("file"),
            version: text("version"),
            digest: text("digest"),
            size: number("size")?,
            chunks: number("chunks")?,
        })
    }

    fn write(&self) -> Vec<u8> {
        let value = json!({
            "time": self.time,
            "by": self.by,
            "file": self.file,
            "version": self.version,
            "digest": self.digest,
            "size": self.size,
            "chunks": self.chunks,
        });
        value.to_string().into_bytes()
    }

    /// What a chunk is bound to: its key, and the whole that it is a part of.
    fn place(&self, key: &str) -> String {
        format!("{key} of {} in {}", self.digest, self.chunks)
    }
}

/// The documents of a fleet.
pub struct Store<'a> {
    /// The cluster.
    pub etcd: &'a mut Etcd,
    /// Where everything is.
    pub keys: Keys,
    /// What documents are sealed with.
    pub seal: &'a SealKeys,
}

impl<'a> Store<'a> {
    /// The documents of this fleet.
    pub fn of(settings: &'a FleetSettings, etcd: &'a mut Etcd) -> Self {
        Self {
            etcd,
            keys: Keys::below(&settings.store.prefix),
            seal: &settings.keys,
        }
    }

    /// The pointer, if there is one, and its revision, which is 0 if there is none.
    pub async fn pointer(&mut self) -> Result<(Option<Pointer>, u64), EtcdError> {
        let found = self.etcd.get(&self.keys.pointer(), 0).await?;
        Ok(match found.entries.first() {
            Some(entry) => (Pointer::read(&entry.value), entry.revision),
            None => (None, 0),
        })
    }

    /// Writes a document as a new generation, which nobody follows yet.
    pub async fn write(&mut self, document: &Document, by: &str) -> Result<Head, StoreError> {
        let bytes = document.encode();
        if bytes.len() > DOCUMENT_MAX {
            return Err(StoreError::Malformed(
                "is larger than 64 MiB with its files",
            ));
        }
        let head = Head {
            id: document.id.clone(),
            time: timestamp(SystemTime::now()),
            by: by.to_owned(),
            file: document.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            digest: sha256(&bytes),
            size: bytes.len(),
            chunks: bytes.len().div_ceil(CHUNK),
        };
        for (number, chunk) in bytes.chunks(CHUNK).enumerate() {
            let key = self.keys.chunk(&head.id, number);
            let sealed = self.seal.seal(&head.place(&key), chunk);
            let sealed = sealed.ok_or(StoreError::Malformed("cannot be sealed"))?;
            self.write_once(&key, &sealed).await?;
        }
        let key = self.keys.head(&head.id);
        self.write_once(&key, &head.write()).await?;
        Ok(head)
    }

    async fn write_once(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let conditions = [Condition::Unchanged(key, 0)];
        let actions = [Action::Put(key, value, 0)];
        match self.etcd.transact(&conditions, &actions).await? {
            true => Ok(()),
            false => Err(StoreError::Malformed("has the name of an earlier one")),
        }
    }

    /// What a generation is, at a revision or now (0).
    pub async fn head(&mut self, id: &str, revision: u64) -> Result<Head, StoreError> {
        let found = self.etcd.get(&self.keys.head(id), revision).await?;
        let head = found.entries.first();
        head.and_then(|entry| Head::read(id, &entry.value))
            .ok_or_else(|| StoreError::Missing(format!("generation {id}")))
    }

    /// Reads a generation, all of it at one revision, or now (0).
    pub async fn read(&mut self, id: &str, revision: u64) -> Result<Document, StoreError> {
        let head = self.head(id, revision).await?;
        if head.size > DOCUMENT_MAX || head.chunks != head.size.div_ceil(CHUNK) {
            return Err(StoreError::Malformed("has a wrong size"));
        }
        // Memory that is outgrown would keep a copy.
        let mut bytes = Zeroizing::new(Vec::with_capacity(head.size));
        for number in 0..head.chunks {
            let key = self.keys.chunk(id, number);
            let found = self.etcd.get(&key, revision).await?;
            let sealed = found.entries.first();
            let missing = || StoreError::Missing(format!("chunk {number} of generation {id}"));
            let sealed = sealed.ok_or_else(missing)?;
            let plain = self.seal.open(&head.place(&key), &sealed.value);
            bytes.extend_from_slice(&plain.map_err(StoreError::Sealed)?);
        }
        if bytes.len() != head.size || sha256(&bytes) != head.digest {
            return Err(StoreError::Malformed("is not the one that was written"));
        }
        Document::decode(id, &bytes).ok_or(StoreError::Malformed("cannot be read"))
    }

    /// Moves the pointer, if it still has this revision.
    pub async fn move_to(&mut self, pointer: &Pointer, revision: u64) -> Result<(), StoreError> {
        let key = self.keys.pointer();
        let conditions = [Condition::Unchanged(&key, revision)];
        let value = pointer.write();
        let actions = [Action::Put(&key, &value, 0)];
        if self.etcd.transact(&conditions, &actions).await? {
            return Ok(());
        }
        Err(StoreError::Moved(self.pointer().await?.0.map(Box::new)))
    }

    /// All whole generations, the latest first.
    pub async fn history(&mut self) -> Result<Vec<Head>, StoreError> {
        let prefix = self.keys.generations();
        let keys = self.etcd.list(&prefix, true).await?;
        let mut heads = Vec::new();
        for entry in &keys.entries {
            if let Some(id) = entry
                .key
                .strip_prefix(&prefix)
                .and_then(|key| key.strip_suffix("/head"))
            {
                // One that was deleted meanwhile is none.
                if let Ok(head) = self.head(id, 0).await {
                    heads.push((entry.revision, head));
                }
            }
        }
        heads.sort_by_key(|(revision, _)| std::cmp::Reverse(*revision));
        Ok(heads.into_iter().map(|(_, head)| head).collect())
    }

    /// The secrets of tickets, if there are any that can be opened, and their revision.
    pub async fn tickets(&mut self) -> Result<(Option<TicketEpochs>, u64), EtcdError> {
        let key = self.keys.tickets();
        let found = self.etcd.get(&key, 0).await?;
        let Some(entry) = found.entries.first() else {
            return Ok((None, 0));
        };
        let opened = self.seal.open(&key, &entry.value).ok();
        let epochs = opened.and_then(|plain| TicketEpochs::decode(&plain));
        Ok((epochs, entry.revision))
    }

    /// Begins a new epoch of tickets, unless somebody else has done so meanwhile. Returns its number.
    pub async fn rotate_tickets(&mut self) -> Result<u64, StoreError> {
        let (before, revision) = self.tickets().await?;
        let next = TicketEpochs::next(before.as_ref());
        let next = next.ok_or(StoreError::Malformed(
            "cannot be sealed: there is no randomness",
        ))?;
        let key = self.keys.tickets();
        let sealed = self.seal.seal(&key, &next.encode());
        let sealed = sealed.ok_or(StoreError::Malformed("cannot be sealed"))?;
        let conditions = [Condition::Unchanged(&key, revision)];
        let actions = [Action::Put(&key, &sealed, 0)];
        match self.etcd.transact(&conditions, &actions).await? {
            true => Ok(next.epoch),
            false => Err(StoreError::Malformed(
                "is another one: somebody else has rotated the tickets meanwhile",
            )),
        }
    }

    /// Deletes a generation.
    pub async fn delete(&mut self, id: &str) -> Result<(), EtcdError> {
        let prefix = self.keys.generation(id);
        self.etcd.delete_all(&prefix).await
    }

    /// Deletes old generations, except for those of `pointer` that are near, and those that an instance serves.
    pub async fn tidy(&mut self, pointer: &Pointer) -> Result<(), StoreError> {
        let have = self.keys.have();
        let live = self.etcd.list(&have, false).await?;
        let served = live.entries.iter().filter_map(served);
        let mut kept: Vec<_> = served.collect();
        kept.push(pointer.id.clone());
        kept.extend(pointer.canary.iter().map(|canary| canary.id.clone()));
        kept.extend(pointer.previous.iter().take(KEPT).cloned());
        for head in self.history().await?.into_iter().skip(KEPT) {
            if !kept.contains(&head.id) {
                self.delete(&head.id).await?;
            }
        }
        Ok(())
    }
}

/// The generation that an instance says it serves.
fn served(entry: &Entry) -> Option<String> {
    let said: Value = serde_json::from_slice(&entry.value).ok()?;
    Some(said["generation"].as_str()?.to_owned())
}

/// A new name of a generation: the time and four digits, so that names sort by time and no two are equal.
pub fn new_id() -> String {
    let time = timestamp(SystemTime::now());
    // 2026-11-28T18:05:00.000Z
    let digits: String = time.chars().filter(char::is_ascii_digit).take(14).collect();
    let (date, time) = digits.split_at(8.min(digits.len()));
    let mut random = [0; 2];
    // Without random digits, two pushes of one second would meet at `write_once`.
    let _ = rand::fill(&mut random);
    format!("{date}-{time}-{:04x}", u16::from_be_bytes(random))
}
