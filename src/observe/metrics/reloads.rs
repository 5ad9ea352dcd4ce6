//! The results of reloads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The result of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadResult {
    /// The new configuration is active.
    Done,
    /// The new configuration is active, except for files that could not be used; their old content stays.
    Partial,
    /// The new configuration was refused, and the old one stays.
    Refused,
}

impl ReloadResult {
    const ALL: [Self; 3] = [Self::Done, Self::Partial, Self::Refused];

    /// The word used in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Partial => "partial",
            Self::Refused => "refused",
        }
    }
}

/// What a reload has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadExtent {
    /// The configuration file, and all files that it names.
    Whole,
    /// Files that have changed.
    Materials,
}

/// The reloads so far, and whether what is on disk is in use.
#[derive(Debug)]
pub(super) struct Reloads {
    counts: [AtomicU64; ReloadResult::ALL.len()],
    /// Whether the last reload of each extent was refused. A whole one that succeeds ends both; renewed files
    /// do not mend a configuration that was refused.
    refused: [AtomicBool; 2],
    /// Whether a file has content that could not be used.
    is_stale: AtomicBool,
    /// When all was well after a load, in milliseconds of unix time.
    succeeded: AtomicU64,
}

impl Reloads {
    /// The process has loaded its configuration at `start`.
    pub(super) fn new(start: SystemTime) -> Self {
        Self {
            counts: Default::default(),
            refused: Default::default(),
            is_stale: AtomicBool::new(false),
            succeeded: AtomicU64::new(millis(start)),
        }
    }

    pub(super) fn add(&self, result: ReloadResult, extent: ReloadExtent) {
        if let Some(count) = self.counts.get(result as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let [whole, materials] = &self.refused;
        let is_refused = result == ReloadResult::Refused;
        match extent {
            ReloadExtent::Whole if is_refused => whole.store(true, Ordering::Relaxed),
            ReloadExtent::Whole => {
                whole.store(false, Ordering::Relaxed);
                materials.store(false, Ordering::Relaxed);
            }
            ReloadExtent::Materials => materials.store(is_refused, Ordering::Relaxed),
        }
        if !is_refused {
            let is_partial = result == ReloadResult::Partial;
            self.is_stale.store(is_partial, Ordering::Relaxed);
        }
        if self.is_successful() {
            let now = millis(SystemTime::now());
            self.succeeded.store(now, Ordering::Relaxed);
        }
    }

    /// The number of reloads by their result.
    pub(super) fn counts(&self) -> impl Iterator<Item = (ReloadResult, u64)> {
        let counts = self
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        ReloadResult::ALL.into_iter().zip(counts)
    }

    /// Whether everything that was loaded last is in use.
    pub(super) fn is_successful(&self) -> bool {
        let is_set = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        !self.refused.iter().any(is_set) && !is_set(&self.is_stale)
    }

    /// When that was last so after a load.
    pub(super) fn succeeded(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.succeeded.load(Ordering::Relaxed))
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewed_files_do_not_mend_a_refused_configuration() {
        use ReloadExtent::{Materials, Whole};
        use ReloadResult::{Done, Partial, Refused};
        let reloads = Reloads::new(UNIX_EPOCH);
        assert!(reloads.is_successful());
        assert_eq!(reloads.succeeded(), UNIX_EPOCH);
        for (result, extent, is_successful) in [
            (Refused, Whole, false),
            (Done, Materials, false),
            (Done, Whole, true),
            (Partial, Materials, false),
            (Refused, Whole, false),
            (Partial, Whole, false),
            (Done, Materials, true),
            (Refused, Materials, false),
            (Done, Materials, true),
        ] {
            reloads.add(result, extent);
            assert_eq!(
                reloads.is_successful(),
                is_successful,
                "{result:?} {extent:?}"
            );
        }
        assert!(reloads.succeeded() > UNIX_EPOCH);
        let counts: Vec<_> = reloads.counts().map(|(_, count)| count).collect();
        assert_eq!(counts, [4, 2, 3]);
    }
}
