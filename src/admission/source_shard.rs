//! One shard of the table of sources: for each its connections, its handshakes, and the bucket of its rate.
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

use super::rate::{Bucket, Nanos};
use super::source::{SourceKey, SourceLimits, SourceReached, SourceState};

/// The most idle sources that one of 16 shards remembers: 56 000 in all.
pub(super) const IDLE_MAX: usize = 3500;

/// How many idle sources whose buckets are full are forgotten with each visit, at most.
const FORGET: usize = 2;

/// What a permit of a source counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Connection,
    Handshake,
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

/// The sources of one shard.
#[derive(Debug, Default)]
pub(super) struct Shard {
    index: HashMap<SourceKey, u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    fresh: Ends,
    refused: Ends,
}

impl Shard {
    /// Counts a new connection, unless a limit is reached and `is_enforced`. Returns the limits that were
    /// reached.
    pub(super) fn connect(
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

    /// Counts a handshake, unless `max` are under way and `is_enforced`. Returns whether they are.
    pub(super) fn handshake(
        &mut self,
        key: SourceKey,
        max: u32,
        is_enforced: bool,
        now: Nanos,
    ) -> bool {
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

    /// A connection or handshake has ended.
    pub(super) fn leave(&mut self, key: SourceKey, kind: Kind, now: Nanos) {
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

    /// How many sources it knows.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// What is counted for a source.
    pub(super) fn state(&self, key: SourceKey) -> SourceState {
        let entry = self.index.get(&key).and_then(|at| self.entry(*at));
        entry.map_or_else(SourceState::default, |entry| SourceState {
            connections: entry.connections,
            handshakes: entry.handshakes,
            bucket: entry.bucket,
        })
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
        if self.fresh.len + self.refused.len > IDLE_MAX {
            let oldest = match self.fresh.first {
                NONE => self.refused.first,
                fresh => fresh,
            };
            self.forget(oldest);
        }
    }

    /// Forgets up to `most` of the oldest idle sources of each list, as long as they have full buckets.
    pub(super) fn forget_full(&mut self, now: Nanos, most: usize) {
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
