//! What connections tell of an origin by the way: failures in a row, and for how long it is then left
//! alone. Knows no other origin: whether one may be ejected is asked elsewhere.

use std::time::{Duration, Instant};

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

#[cfg(test)]
mod tests {
    use super::*;

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
