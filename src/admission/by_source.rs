//! What is counted for each source, for all endpoints and routes: a table in shards, each with a lock of
//! its own.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, MutexGuard};

use super::rate::Clock;
use super::source::{SourceKey, SourceLimits, SourceReached, SourceState};
use super::source_shard::{IDLE_MAX, Kind, Shard};
use crate::sync::Mutex;

/// Shards keep workers from contending for one lock.
const SHARDS: usize = 16;

/// The table. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SourceTable(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    clock: Clock,
}

/// A connection or handshake of a source, counted until it is dropped.
#[derive(Debug)]
pub struct SourcePermit {
    table: SourceTable,
    key: SourceKey,
    kind: Kind,
}

impl SourceTable {
    /// An empty table.
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Shared {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            clock,
        }))
    }

    /// Admits a new connection of a source, unless a limit is reached and `is_enforced`. Returns the limits
    /// that were reached, beside the permit of an admitted one.
    pub fn connect(
        &self,
        key: SourceKey,
        limits: SourceLimits,
        is_enforced: bool,
    ) -> (Option<SourcePermit>, SourceReached) {
        let now = self.0.clock.now();
        let mut shard = self.shard(key);
        let reached = shard.connect(key, limits, is_enforced, now);
        drop(shard);
        let is_refused = is_enforced && (reached.connections || reached.new);
        let permit = (!is_refused).then(|| self.permit(key, Kind::Connection));
        (permit, reached)
    }

    /// Admits a handshake of a source, unless `max` are under way and `is_enforced`. Returns whether the
    /// limit was reached, beside the permit of an admitted one.
    pub fn handshake(
        &self,
        key: SourceKey,
        max: u32,
        is_enforced: bool,
    ) -> (Option<SourcePermit>, bool) {
        let now = self.0.clock.now();
        let mut shard = self.shard(key);
        let is_reached = shard.handshake(key, max, is_enforced, now);
        drop(shard);
        let is_refused = is_enforced && is_reached;
        let permit = (!is_refused).then(|| self.permit(key, Kind::Handshake));
        (permit, is_reached)
    }

    /// How many sources are known, but for those that may be forgotten.
    pub fn known(&self) -> usize {
        let now = self.0.clock.now();
        let count = |shard: &Mutex<Shard>| {
            let mut shard = shard.lock();
            shard.forget_full(now, IDLE_MAX);
            shard.len()
        };
        self.0.shards.iter().map(count).sum()
    }

    /// What is counted for a source.
    pub fn state(&self, key: SourceKey) -> SourceState {
        let shard = self.shard(key);
        shard.state(key)
    }

    fn permit(&self, key: SourceKey, kind: Kind) -> SourcePermit {
        SourcePermit {
            table: self.clone(),
            key,
            kind,
        }
    }

    fn shard(&self, key: SourceKey) -> MutexGuard<'_, Shard> {
        let hash = self.0.hasher.hash_one(key);
        let index = usize::try_from(hash % SHARDS as u64).unwrap_or_default();
        // There is a shard for every remainder.
        self.0.shards.get(index).unwrap_or(&self.0.shards[0]).lock()
    }
}

impl Drop for SourcePermit {
    fn drop(&mut self) {
        let now = self.table.0.clock.now();
        self.table.shard(self.key).leave(self.key, self.kind, now);
    }
}
