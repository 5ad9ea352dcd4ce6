//! Which records of its progress a connection has had.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Which records of a connection's progress were written.
#[derive(Debug)]
pub struct Progress {
    /// When the connection was accepted.
    start: Instant,
    /// How many intervals had passed when the last one was written.
    written: AtomicU32,
}

impl Progress {
    /// That of a connection that was accepted at `start`.
    pub const fn new(start: Instant) -> Self {
        Self {
            start,
            written: AtomicU32::new(0),
        }
    }

    /// Whether an interval has passed since the last record.
    pub(super) fn is_due(&self, every: Duration, now: Instant) -> bool {
        self.intervals(every, now) > self.written.load(Ordering::Relaxed)
    }

    /// Takes the records that are due for written. Missed ones are not made up for.
    pub(super) fn advance(&self, every: Duration, now: Instant) {
        let intervals = self.intervals(every, now);
        self.written.store(intervals, Ordering::Relaxed);
    }

    /// The time since the accept.
    pub(super) fn age(&self) -> Duration {
        self.start.elapsed()
    }

    fn intervals(&self, every: Duration, now: Instant) -> u32 {
        let age = now.saturating_duration_since(self.start).as_millis();
        u32::try_from(age / every.as_millis().max(1)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_due_once_in_each_interval() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let every = Duration::from_secs(600);
        let progress = Progress::new(start);
        assert!(!progress.is_due(every, at(599)));
        assert!(progress.is_due(every, at(600)));
        progress.advance(every, at(605));
        assert!(!progress.is_due(every, at(1199)));
        // The third one replaces the second, which was missed.
        assert!(progress.is_due(every, at(1800)));
        progress.advance(every, at(1800));
        assert!(!progress.is_due(every, at(2399)));
    }
}
