//! Counting what is alive, so that the end of it can be waited for.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The connections of the process, and the accept loops that may still bring some, counted so that
/// their end can be waited for.
#[derive(Debug, Default)]
pub(super) struct Census {
    live: AtomicUsize,
    doors: AtomicUsize,
    empty: Notify,
}

impl Census {
    pub(super) fn enter(&self) {
        self.live.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        if self.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.empty.notify_waiters();
        }
    }

    pub(super) fn open_door(&self) {
        self.doors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn close_door(&self) {
        self.doors.fetch_sub(1, Ordering::AcqRel);
        self.empty.notify_waiters();
    }

    pub(super) fn count(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    pub(super) async fn emptied(&self) {
        loop {
            let notified = self.empty.notified();
            if self.count() == 0 && self.doors.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }
}
