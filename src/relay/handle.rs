//! What ties an established connection to the process: orders to it, and how far it has come.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::outcome::Reason;

/// What a connection is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// End as soon as no byte has moved for `idle_after`, but not before `from`.
    Drain {
        /// How long nothing must have moved.
        idle_after: Duration,
        /// The moment before which it stays all the same: idle connections end one after the other.
        from: Instant,
        /// The moment at which it ends in any case, unless whoever gave the order sees to that.
        until: Option<Instant>,
    },
    /// End, for this reason.
    End {
        /// The reason.
        reason: Reason,
        /// When: many connections end one after the other.
        at: Instant,
    },
}

/// One connection's handle. Kept small, as every live connection has one.
#[derive(Debug, Default)]
pub struct ConnHandle {
    command: Mutex<Option<Box<Command>>>,
    changed: Notify,
    up: AtomicU64,
    down: AtomicU64,
    /// Seconds since the process began to count.
    moved: AtomicU32,
}

impl ConnHandle {
    /// A handle on a connection that begins now.
    pub fn new() -> Self {
        let handle = Self::default();
        handle.moved.store(seconds(), Ordering::Relaxed);
        handle
    }

    /// Gives an order. To end is final, and the earlier end counts; a later drain takes the place of an
    /// earlier one.
    pub fn send(&self, command: Command) {
        let mut given = self.command.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = match (given.as_deref(), command) {
            (Some(Command::End { at, .. }), Command::End { at: new, .. }) => new < *at,
            (Some(Command::End { .. }), Command::Drain { .. }) => false,
            _ => true,
        };
        if counts {
            *given = Some(Box::new(command));
            self.changed.notify_one();
        }
    }

    /// The order in force.
    pub fn command(&self) -> Option<Command> {
        let given = self.command.lock().unwrap_or_else(PoisonError::into_inner);
        given.as_deref().copied()
    }

    /// Waits until there may be another order.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Application bytes have moved: so many in all from the client, and from the origin.
    pub fn progress(&self, up: u64, down: u64) {
        self.up.store(up, Ordering::Relaxed);
        self.down.store(down, Ordering::Relaxed);
        self.moved.store(seconds(), Ordering::Relaxed);
    }

    /// Application bytes moved so far, from the client and from the origin.
    pub fn traffic(&self) -> (u64, u64) {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (load(&self.up), load(&self.down))
    }

    /// How long nothing has moved, to a second.
    pub fn idle(&self) -> Duration {
        let moved = self.moved.load(Ordering::Relaxed);
        Duration::from_secs(seconds().saturating_sub(moved).into())
    }
}

fn seconds() -> u32 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u32::try_from(BEGAN.elapsed().as_secs()).unwrap_or(u32::MAX)
}
