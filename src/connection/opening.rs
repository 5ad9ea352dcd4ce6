//! The connections before their relay, as operators list and end them.
//!
//! The task of a connection and its readers share the record: there is no second copy to keep up to date. It
//! moves on into the table of established connections, or into the log.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::observe::access_log::AccessRecord;
use crate::outcome::Stage;
use crate::sync::Mutex;

/// Shards keep workers from contending for one lock.
const SHARDS: usize = 16;

/// The connections before their relay.
#[derive(Debug, Default)]
pub struct OpeningTable {
    shards: [Mutex<HashMap<u64, Arc<Opening>>>; SHARDS],
}

/// One connection.
#[derive(Debug)]
pub struct Opening {
    draft: Mutex<Draft>,
    is_killed: AtomicBool,
    killed: Notify,
}

/// What is known of it so far.
#[derive(Debug)]
pub struct Draft {
    /// Its record, without the fields that are known only at the end.
    pub record: AccessRecord,
    /// The stage that it is in.
    pub stage: Stage,
    /// When it entered that stage.
    pub entered: Instant,
}

impl OpeningTable {
    /// Enters a connection that was accepted at this time; it stays until the guard is dropped.
    pub(super) fn enter(self: &Arc<Self>, record: AccessRecord, at: Instant) -> OpeningGuard {
        let id = record.id;
        let opening = Arc::new(Opening {
            draft: Mutex::new(Draft {
                record,
                stage: Stage::Admit,
                entered: at,
            }),
            is_killed: AtomicBool::new(false),
            killed: Notify::new(),
        });
        self.shard(id).insert(id, Arc::clone(&opening));
        OpeningGuard {
            table: Arc::clone(self),
            id,
            opening,
        }
    }

    /// All of these connections.
    pub fn all(&self) -> Vec<Arc<Opening>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(shard.lock().values().cloned());
        }
        all
    }

    fn shard(&self, id: u64) -> MutexGuard<'_, HashMap<u64, Arc<Opening>>> {
        let index = usize::try_from(id % SHARDS as u64).unwrap_or_default();
        // There is a shard for every remainder.
        self.shards.get(index).unwrap_or(&self.shards[0]).lock()
    }
}

impl Opening {
    /// What is known of it. Hold it for a moment only: the connection waits for it.
    pub fn draft(&self) -> MutexGuard<'_, Draft> {
        self.draft.lock()
    }

    /// Ends it.
    pub fn kill(&self) {
        self.is_killed.store(true, Ordering::Relaxed);
        self.killed.notify_one();
    }

    /// Whether it was told to end.
    pub fn is_killed(&self) -> bool {
        self.is_killed.load(Ordering::Relaxed)
    }

    /// Waits until it is told to end.
    pub(super) async fn killed(&self) {
        self.killed.notified().await;
    }
}

/// The entry of a connection, removed on drop.
pub(super) struct OpeningGuard {
    table: Arc<OpeningTable>,
    id: u64,
    opening: Arc<Opening>,
}

impl OpeningGuard {
    pub(super) fn draft(&self) -> MutexGuard<'_, Draft> {
        self.opening.draft()
    }

    pub(super) fn opening(&self) -> Arc<Opening> {
        Arc::clone(&self.opening)
    }

    /// Removes the entry and returns the record.
    pub(super) fn leave(self) -> AccessRecord {
        let opening = self.opening();
        drop(self);
        match Arc::try_unwrap(opening) {
            Ok(opening) => opening.draft.into_inner().record,
            // A reader of the table still holds it.
            Err(opening) => opening.draft().record.clone(),
        }
    }
}

impl Drop for OpeningGuard {
    fn drop(&mut self) {
        self.table.shard(self.id).remove(&self.id);
    }
}
