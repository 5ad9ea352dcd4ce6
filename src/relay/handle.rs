//! Handle of an established connection: commands in, byte counts and idle time out.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::outcome::Reason;
use crate::sync::Mutex;

/// A command to an established connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// End once no byte has moved for `idle_after`, but not before `from`.
    Drain {
        /// How long the connection must have been idle.
        idle_after: Duration,
        /// The earliest end, staggered so that idle connections do not all end at once.
        from: Instant,
        /// The latest end; absent if the sender of the command sends an `End` itself.
        until: Option<Instant>,
    },
    /// End at `at`, for this reason.
    End {
        /// The reason.
        reason: Reason,
        /// When, staggered so that many connections do not end at once.
        at: Instant,
    },
}

/// One connection's handle. Small, because every live connection has one.
#[derive(Debug, Default)]
pub struct ConnHandle {
    command: Mutex<Option<Box<Command>>>,
    changed: Notify,
    up: AtomicU64,
    down: AtomicU64,
    /// When bytes last moved, in seconds since [`seconds`] was first called.
    moved: AtomicU32,
}

impl ConnHandle {
    /// The handle of a connection that begins now.
    pub fn new() -> Self {
        let handle = Self::default();
        handle
            .moved
            .store(seconds(Instant::now()), Ordering::Relaxed);
        handle
    }

    /// Sends a command. An `End` is final, and of two the earlier counts; a `Drain` replaces an earlier
    /// `Drain`.
    pub fn send(&self, command: Command) {
        let mut current = self.command.lock();
        let replaces = match (current.as_deref(), command) {
            (Some(Command::End { at, .. }), Command::End { at: new, .. }) => new < *at,
            (Some(Command::End { .. }), Command::Drain { .. }) => false,
            _ => true,
        };
        if replaces {
            *current = Some(Box::new(command));
            self.changed.notify_one();
        }
    }

    /// Takes a `Drain` back. Returns whether there was one.
    pub fn cancel_drain(&self) -> bool {
        let mut current = self.command.lock();
        let is_drain = matches!(current.as_deref(), Some(Command::Drain { .. }));
        if is_drain {
            *current = None;
            self.changed.notify_one();
        }
        is_drain
    }

    /// The command in force.
    pub fn command(&self) -> Option<Command> {
        let current = self.command.lock();
        current.as_deref().copied()
    }

    /// Waits until the command may have changed.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Records the application bytes moved in all, from the client and from the origin, until `now`.
    pub fn progress(&self, up: u64, down: u64, now: Instant) {
        self.up.store(up, Ordering::Relaxed);
        self.down.store(down, Ordering::Relaxed);
        self.moved.store(seconds(now), Ordering::Relaxed);
    }

    /// Application bytes moved so far, from the client and from the origin.
    pub fn traffic(&self) -> (u64, u64) {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (load(&self.up), load(&self.down))
    }

    /// How long no byte has moved, to the second.
    pub fn idle(&self) -> Duration {
        let moved = self.moved.load(Ordering::Relaxed);
        Duration::from_secs(seconds(Instant::now()).saturating_sub(moved).into())
    }
}

/// The seconds from the first call to `now`.
fn seconds(now: Instant) -> u32 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u32::try_from(now.saturating_duration_since(*BEGAN).as_secs()).unwrap_or(u32::MAX)
}
