//! Rates of new connections, with a burst of one period's worth. Pure: the time is a parameter.
//!
//! The generic cell rate algorithm: a bucket is one number, the time at which it is full again. Each
//! connection moves it on by the interval of the rate; a connection that would move it further than a period
//! ahead is refused.

use std::fmt;
use std::time::{Duration, Instant};

/// At most so many in each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    period: Duration,
}

impl Rate {
    /// At most `count`, at least one, in each `period`.
    pub const fn new(count: u32, period: Duration) -> Self {
        Self { count, period }
    }

    /// Takes one from a bucket at `now`, if there is one.
    ///
    /// A bucket that a slower rate has emptied, before a reload, is full again after a period of this one.
    pub fn take(&self, bucket: &mut Bucket, now: Nanos) -> bool {
        let period = u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX);
        let interval = period / u64::from(self.count.max(1));
        let taken = bucket.0.saturating_sub(now.0).min(period);
        let next = taken.saturating_add(interval);
        let has_one = next <= period;
        let taken = if has_one { next } else { taken };
        bucket.0 = now.0.saturating_add(taken);
        has_one
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.period.as_secs() == 60 {
            "m"
        } else {
            "s"
        };
        write!(f, "{}/{unit}", self.count)
    }
}

/// Nanoseconds since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub u64);

/// The clock of buckets. Monotonic.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since its start; it takes 584 years to overflow.
    pub fn now(&self) -> Nanos {
        Nanos(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// When a bucket is full again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket(pub u64);

impl Bucket {
    /// Whether nothing is missing from it: it may be forgotten.
    pub const fn is_full(self, now: Nanos) -> bool {
        self.0 <= now.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Takes as many as there are.
    fn drain(rate: Rate, bucket: &mut Bucket, now: u64) -> u32 {
        let all = std::iter::repeat_with(|| rate.take(bucket, Nanos(now)));
        u32::try_from(all.take_while(|took| *took).count()).unwrap()
    }

    #[test]
    fn the_burst_is_what_one_period_has() {
        for (rate, burst) in [
            (Rate::new(50, Duration::from_secs(1)), 50),
            (Rate::new(7, Duration::from_secs(1)), 7),
            (Rate::new(90, Duration::from_secs(60)), 90),
            (Rate::new(1, Duration::from_secs(60)), 1),
        ] {
            let mut bucket = Bucket::default();
            let start = 1000 * SECOND;
            assert_eq!(drain(rate, &mut bucket, start), burst, "{rate}");
            assert!(!bucket.is_full(Nanos(start)));
            // Half a period later half of it is back, and after a whole one all of it.
            let period = rate.period.as_nanos() as u64;
            assert_eq!(
                drain(rate, &mut bucket, start + period / 2),
                burst / 2,
                "{rate}"
            );
            assert_eq!(
                drain(rate, &mut bucket, start + period * 3),
                burst,
                "{rate}"
            );
            assert!(bucket.is_full(Nanos(start + period * 4)));
        }
    }

    #[test]
    fn over_a_long_time_the_rate_holds_however_often_one_tries() {
        let rate = Rate::new(50, Duration::from_secs(1));
        let mut bucket = Bucket::default();
        let mut admitted = 0;
        for step in 0..100_000 {
            // Ten thousand attempts a second for ten seconds.
            let took = rate.take(&mut bucket, Nanos(step * SECOND / 10_000));
            admitted += u32::from(took);
        }
        assert!((549..=551).contains(&admitted), "{admitted}");
    }

    #[test]
    fn a_slower_rate_before_a_reload_does_not_block_for_longer_than_the_new_period() {
        let mut bucket = Bucket::default();
        drain(Rate::new(1, Duration::from_secs(60)), &mut bucket, 0);
        let fast = Rate::new(10, Duration::from_secs(1));
        assert_eq!(drain(fast, &mut bucket, 0), 0);
        assert_eq!(drain(fast, &mut bucket, SECOND / 2), 5);
        assert_eq!(drain(fast, &mut bucket, SECOND * 3 / 2), 10);
    }
}
