//! The queue between those that log and the thread that writes or sends.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, MutexGuard, PoisonError};
use std::time::Duration;

use crate::sync::Mutex;

/// Capacity of the queue, in entries.
const QUEUE: usize = 16 * 1024;

/// How many entries the thread takes at a time.
pub(super) const BATCH: usize = 1024;

/// A bounded queue of lines or records, with orders to the thread.
#[derive(Debug)]
pub(super) struct LogQueue<T> {
    /// How long the thread lets entries gather after it has written all that there were.
    pause: Duration,
    pending: Mutex<Pending<T>>,
    /// Wakes the thread.
    wake: Condvar,
    /// Entries lost since the last report.
    pub(super) lost: AtomicU64,
    /// Entries that were never written, since the start.
    pub(super) dropped: AtomicU64,
}

/// What the thread has to do.
#[derive(Debug)]
pub(super) struct Pending<T> {
    entries: VecDeque<T>,
    pub(super) reopen: bool,
    /// To be told once the entries are written.
    pub(super) flushes: Vec<SyncSender<()>>,
    pub(super) is_closed: bool,
    /// Whether the thread waits for an entry, and not only for its pause to end.
    is_idle: bool,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            reopen: false,
            flushes: Vec::new(),
            is_closed: false,
            is_idle: false,
        }
    }
}

impl<T> Pending<T> {
    /// Whether it has to be done before the pause ends.
    fn is_urgent(&self) -> bool {
        self.entries.len() >= BATCH || self.reopen || self.is_last_chance()
    }

    /// Whether somebody waits for the entries to be written, and not for long.
    fn is_last_chance(&self) -> bool {
        !self.flushes.is_empty() || self.is_closed
    }
}

impl<T> LogQueue<T> {
    pub(super) fn new(pause: Duration) -> Self {
        Self {
            pause,
            pending: Mutex::new(Pending::default()),
            wake: Condvar::new(),
            lost: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Queues an entry, or counts it as lost.
    pub(super) fn push(&self, entry: T) {
        let mut pending = self.pending.lock();
        if pending.entries.len() >= QUEUE {
            drop(pending);
            self.lose(1);
            return;
        }
        pending.entries.push_back(entry);
        let wakes = std::mem::take(&mut pending.is_idle) || pending.entries.len() == BATCH;
        drop(pending);
        if wakes {
            self.wake.notify_one();
        }
    }

    /// Counts entries as lost.
    pub(super) fn lose(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// Has something done at once.
    pub(super) fn order(&self, order: impl FnOnce(&mut Pending<T>)) {
        order(&mut self.pending.lock());
        self.wake.notify_one();
    }

    /// Waits until there is something to do, or for `bound`, and moves the next entries to `batch`.
    pub(super) fn take(&self, batch: &mut Vec<T>, bound: Duration) -> Orders {
        let mut pending = self.pending.lock();
        pending.is_idle = true;
        let nothing = |pending: &mut Pending<T>| pending.entries.is_empty() && !pending.is_urgent();
        let mut pending = self.wait_while(pending, bound, nothing);
        pending.is_idle = false;
        let count = pending.entries.len().min(BATCH);
        batch.extend(pending.entries.drain(..count));
        let is_last = pending.entries.is_empty();
        Orders {
            reopen: std::mem::take(&mut pending.reopen),
            is_last,
            is_closed: is_last && pending.is_closed,
            flushes: match is_last {
                true => std::mem::take(&mut pending.flushes),
                false => Vec::new(),
            },
        }
    }

    /// Waits for the pause, unless there is something to do at once.
    pub(super) fn pause(&self) {
        if !self.pause.is_zero() {
            let goes_on = |pending: &mut Pending<T>| !pending.is_urgent();
            drop(self.wait_while(self.pending.lock(), self.pause, goes_on));
        }
    }

    /// Waits for `bound` before entries are tried again. Returns `false` at once if there is no time for
    /// that.
    pub(super) fn may_wait(&self, bound: Duration) -> bool {
        let goes_on = |pending: &mut Pending<T>| !pending.is_last_chance();
        let pending = self.wait_while(self.pending.lock(), bound, goes_on);
        !pending.is_last_chance()
    }

    fn wait_while<'a>(
        &self,
        pending: MutexGuard<'a, Pending<T>>,
        bound: Duration,
        condition: impl FnMut(&mut Pending<T>) -> bool,
    ) -> MutexGuard<'a, Pending<T>> {
        let waited = self.wake.wait_timeout_while(pending, bound, condition);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What was ordered beside the entries of a batch.
pub(super) struct Orders {
    pub(super) reopen: bool,
    /// Whether the queue is empty after the batch.
    pub(super) is_last: bool,
    pub(super) is_closed: bool,
    pub(super) flushes: Vec<SyncSender<()>>,
}
