//! How often a limit made clients wait, for the log and the metrics: full is never silent.

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
    start: Instant,
    /// When the next warning is due, in milliseconds since the start.
    warn_at: AtomicU64,
}

impl LimitUse {
    /// A limit with a name for the log.
    pub fn new(name: impl Into<Cow<'static, str>>, max: usize) -> Self {
        Self(Arc::new(Shared {
            name: name.into(),
            max: AtomicUsize::new(max),
            reached: AtomicU64::new(0),
            start: Instant::now(),
            warn_at: AtomicU64::new(0),
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
        if self.is_to_warn(Instant::now()) {
            warn!(limit = name, max, times, "a limit is reached: clients wait");
        }
    }

    /// Whether a warning is due. Of several threads at a time, one warns.
    fn is_to_warn(&self, now: Instant) -> bool {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = millis(now.saturating_duration_since(self.0.start));
        let due = self.0.warn_at.load(Ordering::Relaxed);
        let next = now.saturating_add(millis(WARN_INTERVAL));
        let warn_at = &self.0.warn_at;
        due <= now
            && warn_at
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_stays_reached_is_warned_about_once_a_minute() {
        let limit = LimitUse::new("process.limits.connections", 1);
        let start = Instant::now();
        let warned: Vec<_> = (0..=120_u64)
            .filter(|second| limit.is_to_warn(start + Duration::from_secs(*second)))
            .collect();
        assert_eq!(warned, [0, 60, 120]);
    }
}
