//! Outlier detection (passive health): failures of connections in a row eject an origin for a while.
//! Knows one origin; how many of a pool may be ejected is the pool's to decide. Time is a parameter.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// How many names of clients an origin is known to serve, 8 bytes each. The oldest makes room for a
/// new one: failures under it then do not count until it is served again, which errs on the side of
/// the origin.
const NAMES_MAX: usize = 256;

/// An ejection is no longer than this many times the configured time.
const GROWTH_MAX: u32 = 10;

/// When an origin that fails connections is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutlierPolicy {
    /// Failures in a row, at least 1.
    pub failures: u32,
    /// The time that they have to fall into.
    pub within: Duration,
    /// How long the first ejection is; the n-th is n times as long.
    pub eject: Duration,
    /// How many of an upstream's origins may be ejected at a time, in percent, 0 to 100.
    pub max_ejected: u32,
}

/// The recent failures of one origin, and its ejection.
#[derive(Debug, Default)]
pub(super) struct OutlierState {
    failures: u32,
    since: Option<Instant>,
    ejections: u32,
    last: Option<Ejection>,
    on_probation: bool,
}

#[derive(Clone, Copy, Debug)]
struct Ejection {
    until: Instant,
    time: Duration,
}

impl OutlierState {
    /// One connection failed. Returns whether that was one too many.
    pub(super) fn failed(&mut self, policy: &OutlierPolicy, now: Instant) -> bool {
        if self.last.is_some_and(|ejection| now < ejection.until) {
            // It was under way when the origin was ejected, and says nothing new.
            return false;
        }
        match self.since {
            Some(since) if now.duration_since(since) <= policy.within => self.failures += 1,
            _ => {
                self.since = Some(now);
                self.failures = 1;
            }
        }
        // Back from an ejection, it has to do well at once.
        self.on_probation || self.failures >= policy.failures
    }

    /// Ejects the origin, and returns for how long.
    pub(super) fn eject(&mut self, policy: &OutlierPolicy, now: Instant) -> Duration {
        self.ejections = (self.ejections + 1).min(GROWTH_MAX);
        let time = policy.eject.saturating_mul(self.ejections);
        let until = now.checked_add(time).unwrap_or(now);
        *self = Self {
            ejections: self.ejections,
            last: Some(Ejection { until, time }),
            on_probation: true,
            ..Self::default()
        };
        time
    }

    /// How long it is still ejected.
    pub(super) fn ejected_for(&self, now: Instant) -> Option<Duration> {
        let until = self.last?.until;
        until
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }

    /// One connection was established.
    pub(super) fn succeeded(&mut self, now: Instant) {
        self.failures = 0;
        self.since = None;
        self.on_probation = false;
        if self.last.is_none_or(|last| now > last.until + last.time) {
            *self = Self::default();
        }
    }
}

/// Names that clients have asked an origin for and that it has served. A failure under any other name
/// may be the origin's answer to that name, and is not counted.
#[derive(Debug, Default)]
pub(super) struct ServedNames(VecDeque<u64>);

impl ServedNames {
    /// The origin has served `name`.
    pub(super) fn add(&mut self, name: &impl Hash) {
        let name = fingerprint(name);
        if self.0.contains(&name) {
            return;
        }
        if self.0.len() >= NAMES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(name);
    }

    /// Whether the origin has served `name`, as far as it is remembered.
    pub(super) fn has(&self, name: &impl Hash) -> bool {
        self.0.contains(&fingerprint(name))
    }
}

/// A name in 8 bytes, under a key of this process: nobody can look for two that are alike.
fn fingerprint(name: &impl Hash) -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEY.hash_one(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_an_origin_is_known_to_serve_are_bounded() {
        let mut names = ServedNames::default();
        assert!(!names.has(&0_usize));
        for name in 0..=NAMES_MAX {
            names.add(&name);
            names.add(&name);
            assert!(names.has(&name));
        }
        assert!(!names.has(&0_usize), "the oldest made room");
        assert!(names.has(&1_usize));
        assert_eq!(names.0.len(), NAMES_MAX);
    }

    const SECOND: Duration = Duration::from_secs(1);
    const POLICY: OutlierPolicy = OutlierPolicy {
        failures: 3,
        within: Duration::from_secs(10),
        eject: Duration::from_secs(30),
        max_ejected: 50,
    };

    #[test]
    fn only_failures_in_a_row_and_within_the_time_count() {
        let start = Instant::now();
        let mut outlier = OutlierState::default();
        assert!(!outlier.failed(&POLICY, start));
        assert!(!outlier.failed(&POLICY, start));
        outlier.succeeded(start);
        assert!(!outlier.failed(&POLICY, start));
        assert!(!outlier.failed(&POLICY, start + SECOND));
        assert!(!outlier.failed(&POLICY, start + 11 * SECOND), "too late");
        assert!(!outlier.failed(&POLICY, start + 12 * SECOND));
        assert!(outlier.failed(&POLICY, start + 13 * SECOND));
    }

    #[test]
    fn the_time_grows_while_it_fails_and_not_beyond_a_bound() {
        let mut now = Instant::now();
        let mut outlier = OutlierState::default();
        for n in 1..=15_u32 {
            let time = outlier.eject(&POLICY, now);
            assert_eq!(time, POLICY.eject * n.min(GROWTH_MAX));
            assert!(!outlier.failed(&POLICY, now), "an echo of the ejection");
            now += time;
            assert!(outlier.failed(&POLICY, now), "one failure is enough now");
        }
    }

    #[test]
    fn an_origin_that_works_for_long_enough_starts_afresh() {
        let start = Instant::now();
        let mut outlier = OutlierState::default();
        outlier.eject(&POLICY, start);
        outlier.succeeded(start + 31 * SECOND);
        assert_eq!(
            outlier.eject(&POLICY, start + 32 * SECOND),
            POLICY.eject * 2
        );
        outlier.succeeded(start + 200 * SECOND);
        assert_eq!(outlier.eject(&POLICY, start + 201 * SECOND), POLICY.eject);
    }
}
