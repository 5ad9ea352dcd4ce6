//! What is counted for each source: its connections, its handshakes, and the bucket of its rate.
//!
//! The table is bounded, and cannot be made to forget an attacker by a flood of others:
//!
//! - A source with a live connection or handshake stays. There are never more of these than connections.
//! - A source without either is *idle*. It is forgotten as soon as its bucket is full again, which loses
//!   nothing. Until then it takes one of [`IDLE_MAX`] places. When these are taken, the oldest idle source
//!   that was not refused goes first: a flood of random sources only pushes out its own kind. One that was
//!   refused goes only when all other places are taken by refused sources, too; then the one whose last
//!   refusal is the oldest.
//!
//! All of it is O(1): entries are in a slab, idle ones in two linked lists. The hash is keyed at random, so
//! nobody can choose sources that collide.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;

use super::rate::{Bucket, Clock, Nanos, Rate};
use crate::sync::Mutex;

/// The most idle sources that are remembered.
pub const IDLE_MAX: usize = 56_000;

/// Shards keep workers from contending for one lock.
const SHARDS: usize = 16;

/// How many idle sources whose buckets are full are forgotten with each visit, at most.
const FORGET: usize = 2;

/// How many leading bits of an address make a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePrefix {
    /// Of an IPv4 address.
    pub v4: u8,
    /// Of an IPv6 address.
    pub v6: u8,
}

/// One source of one endpoint or route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceKey {
    /// The endpoint or route.
    scope: u32,
    /// The bits of the IPv6 address, or of the IPv4-mapped one, without those beyond the prefix.
    high: u64,
    low: u64,
}

impl SourceKey {
    /// The source of an address within a scope.
    pub fn new(scope: u32, address: IpAddr, prefix: SourcePrefix) -> Self {
        let (bits, length) = match address.to_canonical() {
            IpAddr::V4(ip) => (ip.to_ipv6_mapped().to_bits(), prefix.v4.saturating_add(96)),
            IpAddr::V6(ip) => (ip.to_bits(), prefix.v6),
        };
        let beyond = u128::BITS.saturating_sub(length.into());
        let bits = bits & u128::MAX.checked_shl(beyond).unwrap_or(0);
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
        Self {
            scope,
            high: half(bits >> 64),
            low: half(bits),
        }
    }
}

/// What a source may have. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceLimits {
    /// Connections at a time.
    pub connections: Option<u32>,
    /// New connections.
    pub new: Option<Rate>,
}

/// Which limits a source has reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceReached {
    /// That of connections.
    pub connections: bool,
    /// That of new connections.
    pub new: bool,
}

/// What is counted for a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// Its connections.
    pub connections: u32,
    /// Its handshakes.
    pub handshakes: u32,
    /// Its bucket of new connections.
    pub bucket: Bucket,
}

/// The table. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SourceTable(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    clock: Clock,
}

/// What a permit of a source counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Connection,
    Handshake,
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
            shard.forget_full(now, IDLE_MAX / SHARDS);
            shard.index.len()
        };
        self.0.shards.iter().map(count).sum()
    }

    /// What is counted for a source.
    pub fn state(&self, key: SourceKey) -> SourceState {
        let shard = self.shard(key);
        let entry = shard.index.get(&key).and_then(|at| shard.entry(*at));
        entry.map_or_else(SourceState::default, |entry| SourceState {
            connections: entry.connections,
            handshakes: entry.handshakes,
            bucket: entry.bucket,
        })
    }

    fn permit(&self, key: SourceKey, kind: Kind) -> SourcePermit {
        SourcePermit {
            table: self.clone(),
            key,
            kind,
        }
    }

    fn shard(&self, key: SourceKey) -> std::sync::MutexGuard<'_, Shard> {
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

/// No entry.
const NONE: u32 = u32::MAX;

/// Which list an entry is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    /// None: it has a live connection or handshake, or is free.
    Live,
    /// Idle, and not refused since its bucket was last full.
    Fresh,
    /// Idle, and refused since.
    Refused,
}

#[derive(Debug)]
struct Entry {
    key: SourceKey,
    bucket: Bucket,
    connections: u32,
    handshakes: u32,
    was_refused: bool,
    list: List,
    before: u32,
    after: u32,
}

/// The ends of a linked list; entries are appended at its end.
#[derive(Clone, Copy, Debug)]
struct Ends {
    first: u32,
    last: u32,
    len: usize,
}

impl Default for Ends {
    fn default() -> Self {
        Self {
            first: NONE,
            last: NONE,
            len: 0,
        }
    }
}

#[derive(Debug, Default)]
struct Shard {
    index: HashMap<SourceKey, u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    fresh: Ends,
    refused: Ends,
}

impl Shard {
    fn connect(
        &mut self,
        key: SourceKey,
        limits: SourceLimits,
        is_enforced: bool,
        now: Nanos,
    ) -> SourceReached {
        let at = self.visit(key, now);
        let Some(entry) = self.entry_mut(at) else {
            return SourceReached::default();
        };
        let mut bucket = entry.bucket;
        let reached = SourceReached {
            connections: limits
                .connections
                .is_some_and(|max| entry.connections >= max),
            new: limits.new.is_some_and(|rate| !rate.take(&mut bucket, now)),
        };
        if !is_enforced || reached == SourceReached::default() {
            entry.connections += 1;
            entry.bucket = bucket;
        } else {
            entry.was_refused = true;
            // What is refused takes nothing.
            if reached.new {
                entry.bucket = bucket;
            }
        }
        self.settle(at, now);
        reached
    }

    fn handshake(&mut self, key: SourceKey, max: u32, is_enforced: bool, now: Nanos) -> bool {
        let at = self.visit(key, now);
        let Some(entry) = self.entry_mut(at) else {
            return false;
        };
        let is_reached = entry.handshakes >= max;
        let is_refused = is_enforced && is_reached;
        if !is_refused {
            entry.handshakes += 1;
        }
        self.settle(at, now);
        is_reached
    }

    fn leave(&mut self, key: SourceKey, kind: Kind, now: Nanos) {
        let Some(at) = self.index.get(&key).copied() else {
            return;
        };
        if let Some(entry) = self.entry_mut(at) {
            match kind {
                Kind::Connection => entry.connections = entry.connections.saturating_sub(1),
                Kind::Handshake => entry.handshakes = entry.handshakes.saturating_sub(1),
            }
        }
        self.settle(at, now);
    }

    /// The entry of a source, made if there is none, out of its list.
    fn visit(&mut self, key: SourceKey, now: Nanos) -> u32 {
        if let Some(at) = self.index.get(&key).copied() {
            self.unlink(at);
            if let Some(entry) = self.entry_mut(at)
                && entry.bucket.is_full(now)
            {
                entry.was_refused = false;
            }
            return at;
        }
        self.forget_full(now, FORGET);
        let entry = Entry {
            key,
            bucket: Bucket::default(),
            connections: 0,
            handshakes: 0,
            was_refused: false,
            list: List::Live,
            before: NONE,
            after: NONE,
        };
        let at = match self.free.pop() {
            Some(at) => {
                if let Some(place) = self.entry_mut(at) {
                    *place = entry;
                }
                at
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).unwrap_or(NONE)
            }
        };
        self.index.insert(key, at);
        at
    }

    /// Puts an entry where it belongs after a visit: it stays live, becomes idle, or is forgotten.
    fn settle(&mut self, at: u32, now: Nanos) {
        let Some(entry) = self.entry(at) else {
            return;
        };
        if entry.connections > 0 || entry.handshakes > 0 {
            return;
        }
        if entry.bucket.is_full(now) {
            return self.forget(at);
        }
        let list = match entry.was_refused {
            true => List::Refused,
            false => List::Fresh,
        };
        self.append(at, list);
        if self.fresh.len + self.refused.len > IDLE_MAX / SHARDS {
            let oldest = match self.fresh.first {
                NONE => self.refused.first,
                fresh => fresh,
            };
            self.forget(oldest);
        }
    }

    /// Forgets up to `most` of the oldest idle sources of each list, as long as they have full buckets.
    fn forget_full(&mut self, now: Nanos, most: usize) {
        for _ in 0..most {
            let before = self.free.len();
            for first in [self.fresh.first, self.refused.first] {
                let is_full = self.entry(first).is_some_and(|e| e.bucket.is_full(now));
                if is_full {
                    self.forget(first);
                }
            }
            if self.free.len() == before {
                return;
            }
        }
    }

    fn forget(&mut self, at: u32) {
        self.unlink(at);
        if let Some(key) = self.entry(at).map(|entry| entry.key) {
            self.index.remove(&key);
            self.free.push(at);
        }
    }

    fn append(&mut self, at: u32, list: List) {
        let last = self.ends(list).last;
        if let Some(entry) = self.entry_mut(at) {
            (entry.list, entry.before, entry.after) = (list, last, NONE);
        }
        match self.entry_mut(last) {
            Some(last) => last.after = at,
            None => self.ends(list).first = at,
        }
        let ends = self.ends(list);
        ends.last = at;
        ends.len += 1;
    }

    fn unlink(&mut self, at: u32) {
        let Some(entry) = self.entry_mut(at).filter(|entry| entry.list != List::Live) else {
            return;
        };
        let (list, before, after) = (entry.list, entry.before, entry.after);
        (entry.list, entry.before, entry.after) = (List::Live, NONE, NONE);
        match self.entry_mut(before) {
            Some(before) => before.after = after,
            None => self.ends(list).first = after,
        }
        match self.entry_mut(after) {
            Some(after) => after.before = before,
            None => self.ends(list).last = before,
        }
        self.ends(list).len -= 1;
    }

    const fn ends(&mut self, list: List) -> &mut Ends {
        match list {
            List::Refused => &mut self.refused,
            List::Fresh | List::Live => &mut self.fresh,
        }
    }

    fn entry(&self, at: u32) -> Option<&Entry> {
        self.entries.get(usize::try_from(at).ok()?)
    }

    fn entry_mut(&mut self, at: u32) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(at).ok()?)
    }
}

#[cfg(test)]
mod tests;
