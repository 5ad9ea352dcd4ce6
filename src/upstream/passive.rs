//! What connections tell of an origin by the way: failures in a row, and for how long it is then left
//! alone. Knows no other origin: whether one may be ejected is asked elsewhere.

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

/// When an origin that fails connections is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassivePolicy {
    /// Failures in a row, at least 1.
    pub failures: u32,
    /// The time that they have to fall into.
    pub within: Duration,
    /// How long the first ejection is; the n-th is n times as long.
    pub eject: Duration,
    /// How many of an upstream's origins may be ejected at a time, in percent, 0 to 100.
    pub max_ejected: u32,
}

/// What an origin has done to its connections lately.
#[derive(Debug, Default)]
pub(super) struct Trouble {
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

impl Trouble {
    /// One connection failed. Whether that was one too many.
    pub(super) fn failed(&mut self, policy: &PassivePolicy, now: Instant) -> bool {
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

    /// Ejects the origin; for how long.
    pub(super) fn eject(&mut self, policy: &PassivePolicy, now: Instant) -> Duration {
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

    /// One connection was established. Whether there is nothing left to remember.
    pub(super) fn succeeded(&mut self, now: Instant) -> bool {
        self.failures = 0;
        self.since = None;
        self.on_probation = false;
        if self.last.is_none_or(|last| now > last.until + last.time) {
            *self = Self::default();
        }
        self.last.is_none()
    }
}

/// The names that clients have asked an origin for and that it has served: a failure under any other
/// may be the answer to the name, and says nothing of the origin.
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
    const POLICY: PassivePolicy = PassivePolicy {
        failures: 3,
        within: Duration::from_secs(10),
        eject: Duration::from_secs(30),
        max_ejected: 50,
    };

    #[test]
    fn only_failures_in_a_row_and_within_the_time_count() {
        let start = Instant::now();
        let mut trouble = Trouble::default();
        assert!(!trouble.failed(&POLICY, start));
        assert!(!trouble.failed(&POLICY, start));
        trouble.succeeded(start);
        assert!(!trouble.failed(&POLICY, start));
        assert!(!trouble.failed(&POLICY, start + SECOND));
        assert!(!trouble.failed(&POLICY, start + 11 * SECOND), "too late");
        assert!(!trouble.failed(&POLICY, start + 12 * SECOND));
        assert!(trouble.failed(&POLICY, start + 13 * SECOND));
    }

    #[test]
    fn the_time_grows_while_it_fails_and_not_beyond_a_bound() {
        let mut now = Instant::now();
        let mut trouble = Trouble::default();
        for n in 1..=15_u32 {
            let time = trouble.eject(&POLICY, now);
            assert_eq!(time, POLICY.eject * n.min(GROWTH_MAX));
            assert!(!trouble.failed(&POLICY, now), "an echo of the ejection");
            now += time;
            assert!(trouble.failed(&POLICY, now), "one failure is enough now");
        }
    }

    #[test]
    fn who_does_well_for_long_enough_starts_afresh() {
        let start = Instant::now();
        let mut trouble = Trouble::default();
        trouble.eject(&POLICY, start);
        assert!(!trouble.succeeded(start + 31 * SECOND));
        assert_eq!(
            trouble.eject(&POLICY, start + 32 * SECOND),
            POLICY.eject * 2
        );
        assert!(trouble.succeeded(start + 200 * SECOND));
        assert_eq!(trouble.eject(&POLICY, start + 201 * SECOND), POLICY.eject);
    }
}
