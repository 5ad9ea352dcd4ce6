//! Counts the live connections and accept loops, so that a shutdown can wait for their end.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The number of live connections, and of accept loops that may still accept some.
#[derive(Debug, Default)]
pub(crate) struct ActiveCount {
    live: AtomicUsize,
    listeners: AtomicUsize,
    changed: Notify,
}

impl ActiveCount {
    pub(crate) fn enter(&self) {
        self.live.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn leave(&self) {
        if self.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.changed.notify_waiters();
        }
    }

    pub(crate) fn enter_listener(&self) {
        self.listeners.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn leave_listener(&self) {
        self.listeners.fetch_sub(1, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    pub(crate) fn count(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    /// Waits until there are neither connections nor accept loops.
    pub(crate) async fn idle(&self) {
        loop {
            let notified = self.changed.notified();
            if self.count() == 0 && self.listeners.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }
}
