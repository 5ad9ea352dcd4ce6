//! The queue between those that log and the thread that writes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, MutexGuard, PoisonError};
use std::time::Duration;

use crate::sync::Mutex;

/// Capacity of the queue, in lines.
const QUEUE: usize = 16 * 1024;

/// How many lines the thread takes at a time.
pub(super) const BATCH: usize = 1024;

/// A bounded queue of lines, with orders to the thread.
#[derive(Debug)]
pub(super) struct LineQueue {
    /// How long the thread lets lines gather after it has written all that there were.
    pause: Duration,
    pending: Mutex<Pending>,
    /// Wakes the thread.
    wake: Condvar,
    /// Lines lost since the last report.
    pub(super) lost: AtomicU64,
    /// Lines that were never written, since the start.
    pub(super) dropped: AtomicU64,
}

/// What the thread has to do.
#[derive(Debug, Default)]
pub(super) struct Pending {
    lines: VecDeque<String>,
    pub(super) reopen: bool,
    /// To be told once the lines are written.
    pub(super) flushes: Vec<SyncSender<()>>,
    pub(super) is_closed: bool,
    /// Whether the thread waits for a line, and not only for its pause to end.
    is_idle: bool,
}

impl Pending {
    /// Whether it has to be done before the pause ends.
    fn is_urgent(&self) -> bool {
        self.lines.len() >= BATCH || self.reopen || !self.flushes.is_empty() || self.is_closed
    }
}

impl LineQueue {
    pub(super) fn new(pause: Duration) -> Self {
        Self {
            pause,
            pending: Mutex::default(),
            wake: Condvar::new(),
            lost: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Queues a line, or counts it as lost.
    pub(super) fn line(&self, line: String) {
        let mut pending = self.pending.lock();
        if pending.lines.len() >= QUEUE {
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        pending.lines.push_back(line);
        let wakes = std::mem::take(&mut pending.is_idle) || pending.lines.len() == BATCH;
        drop(pending);
        if wakes {
            self.wake.notify_one();
        }
    }

    /// Has something done at once.
    pub(super) fn order(&self, order: impl FnOnce(&mut Pending)) {
        order(&mut self.pending.lock());
        self.wake.notify_one();
    }

    /// Waits until there is something to do, or for `bound`, and moves the next lines to `batch`.
    pub(super) fn take(&self, batch: &mut Vec<String>, bound: Duration) -> Orders {
        let mut pending = self.pending.lock();
        pending.is_idle = true;
        let nothing = |pending: &mut Pending| pending.lines.is_empty() && !pending.is_urgent();
        let mut pending = self.wait_while(pending, bound, nothing);
        pending.is_idle = false;
        let count = pending.lines.len().min(BATCH);
        batch.extend(pending.lines.drain(..count));
        let is_last = pending.lines.is_empty();
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
            let goes_on = |pending: &mut Pending| !pending.is_urgent();
            drop(self.wait_while(self.pending.lock(), self.pause, goes_on));
        }
    }

    fn wait_while<'a>(
        &self,
        pending: MutexGuard<'a, Pending>,
        bound: Duration,
        condition: impl FnMut(&mut Pending) -> bool,
    ) -> MutexGuard<'a, Pending> {
        let waited = self.wake.wait_timeout_while(pending, bound, condition);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What was ordered beside the lines of a batch.
pub(super) struct Orders {
    pub(super) reopen: bool,
    /// Whether the queue is empty after the batch.
    pub(super) is_last: bool,
    pub(super) is_closed: bool,
    pub(super) flushes: Vec<SyncSender<()>>,
}
