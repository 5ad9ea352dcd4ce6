//! How often a limit made clients wait, for the log and the metrics, and when the next warning about a limit
//! is due: full is never silent.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tracing::warn;

/// The shortest interval between two warnings about one limit.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// A limit, and how often it was reached. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LimitUse(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: Cow<'static, str>,
    max: AtomicUsize,
    reached: AtomicU64,
    warnings: Warnings,
}

/// When the next warning about something that can happen very often is due.
#[derive(Debug)]
pub(crate) struct Warnings {
    start: Instant,
    /// In milliseconds since the start.
    due: AtomicU64,
}

impl Warnings {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            due: AtomicU64::new(0),
        }
    }

    /// Whether a warning is due, once a minute. Of several threads at a time, one warns.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = millis(now.saturating_duration_since(self.start));
        let due = self.due.load(Ordering::Relaxed);
        let next = now.saturating_add(millis(WARN_INTERVAL));
        due <= now
            && self
                .due
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

impl LimitUse {
    /// A limit with a name for the log.
    pub fn new(name: impl Into<Cow<'static, str>>, max: usize) -> Self {
        Self(Arc::new(Shared {
            name: name.into(),
            max: AtomicUsize::new(max),
            reached: AtomicU64::new(0),
            warnings: Warnings::new(),
        }))
    }

    /// Its value.
    pub fn max(&self) -> usize {
        self.0.max.load(Ordering::Relaxed)
    }

    /// Changes its value.
    pub(super) fn set_max(&self, max: usize) {
        self.0.max.store(max, Ordering::Relaxed);
    }

    /// How often a client had to wait.
    pub fn reached(&self) -> u64 {
        self.0.reached.load(Ordering::Relaxed)
    }

    /// Counts a client that has to wait, and warns once a minute.
    pub(crate) fn count(&self) {
        let (name, max) = (&*self.0.name, self.max());
        let times = self.0.reached.fetch_add(1, Ordering::Relaxed) + 1;
        if self.0.warnings.is_due(Instant::now()) {
            warn!(limit = name, max, times, "a limit is reached: clients wait");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_stays_reached_is_warned_about_once_a_minute() {
        let warnings = Warnings::new();
        let start = Instant::now();
        let warned: Vec<_> = (0..=120_u64)
            .filter(|second| warnings.is_due(start + Duration::from_secs(*second)))
            .collect();
        assert_eq!(warned, [0, 60, 120]);
    }
}
