//! Counting what is alive, so that the end of it can be waited for.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The connections of the process, and the accept loops that may still bring some, counted so that
/// their end can be waited for.
#[derive(Debug, Default)]
pub(crate) struct ActiveCount {
    live: AtomicUsize,
    listeners: AtomicUsize,
    empty: Notify,
}

impl ActiveCount {
    pub(crate) fn enter(&self) {
        self.live.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn leave(&self) {
        if self.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.empty.notify_waiters();
        }
    }

    pub(crate) fn open_door(&self) {
        self.listeners.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn close_door(&self) {
        self.listeners.fetch_sub(1, Ordering::AcqRel);
        self.empty.notify_waiters();
    }

    pub(crate) fn count(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    pub(crate) async fn idle(&self) {
        loop {
            let notified = self.empty.notified();
            if self.count() == 0 && self.listeners.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }
}
