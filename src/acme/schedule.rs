//! When a certificate is renewed, and when a failed order is tried again. Pure: the time is a parameter.

use std::time::Duration;

use super::failure::Kind;

/// The least time between two orders of one certificate, whatever dates the CA gives it.
const BETWEEN_ORDERS: i64 = 5;

/// The least share of a certificate's life between two orders of it, and the longest such time, where the
/// CA says when it is due: a clock that is wrong, here or there, can have every new certificate due at
/// once.
const SHARE_BETWEEN: i64 = 20;
const BETWEEN_MAX: i64 = 3600;

/// The share of a certificate's life that is left at its renewal: a third, for retries.
const SHARE_LEFT: i64 = 3;

/// The share of its life over which renewals are spread: certificates that were ordered together are not
/// renewed together.
const SPREAD: i64 = 60;

/// The dates of a certificate, in seconds of unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    /// Start of its validity.
    pub(super) from: i64,
    /// End of its validity.
    pub(super) until: i64,
    /// A number of its own, the same after a restart.
    pub(super) lot: u64,
}

/// The window in which the CA wants a certificate to be renewed (RFC 9773), in seconds of unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: i64,
    pub(super) end: i64,
}

impl Life {
    /// When it is renewed: so long before its end as the configuration says; else within the CA's window;
    /// else when a third of its life is left. Not soon after `issued`, the time of the last order that
    /// succeeded, whatever the dates are.
    pub(super) fn renewal(
        self,
        before: Option<Duration>,
        window: Option<Window>,
        issued: Option<i64>,
    ) -> i64 {
        let life = self.until.saturating_sub(self.from).max(0);
        let at = match (before, window) {
            (Some(before), _) => self.until.saturating_sub(seconds(before)),
            (None, Some(window)) => {
                let len = window.end.saturating_sub(window.start).max(0);
                window.start.saturating_add(self.drawn(len))
            }
            (None, None) => {
                let left = life / SHARE_LEFT;
                self.until
                    .saturating_sub(left)
                    .saturating_sub(self.drawn(life / SPREAD))
            }
        };
        let between = match before {
            Some(_) => BETWEEN_ORDERS,
            None => (life / SHARE_BETWEEN).clamp(BETWEEN_ORDERS, BETWEEN_MAX),
        };
        match issued {
            Some(issued) => at.max(issued.saturating_add(between)),
            None => at,
        }
    }

    /// A number from 0 to `most`, its own.
    fn drawn(self, most: i64) -> i64 {
        let most = u64::try_from(most).unwrap_or_default();
        i64::try_from(self.lot % (most + 1)).unwrap_or_default()
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// The failures of one certificate since its last success.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failures {
    /// When the first of them was, in seconds of unix time.
    since: Option<i64>,
    count: u32,
}

impl Failures {
    /// Notes a failure at `now`. Returns the pause until the next attempt, to which up to a quarter is
    /// added at random.
    ///
    /// A CA that does not answer is asked again after a quarter of the time for which it has been away, at
    /// most every five minutes. One that refuses counts refusals: pauses triple, from half a minute to six
    /// hours.
    pub(super) fn pause(&mut self, kind: Kind, asked: Option<Duration>, now: i64) -> Duration {
        let since = *self.since.get_or_insert(now);
        let refusals = self.count;
        let away = Duration::from_secs(now.saturating_sub(since).max(0).cast_unsigned());
        let own = match kind {
            Kind::Unreachable => (away / 4).clamp(AWAY_MIN, AWAY_MAX),
            // Another order, or a full disk.
            Kind::Local => (away / 4).clamp(AWAY_MIN * 5, AWAY_MAX),
            Kind::RateLimited => Duration::from_secs(900 << refusals.min(4)),
            Kind::Validation | Kind::Refused => REFUSED_MIN
                .saturating_mul(3_u32.saturating_pow(refusals))
                .min(REFUSED_MAX),
        };
        if !matches!(kind, Kind::Unreachable | Kind::Local) {
            self.count = self.count.saturating_add(1);
        }
        match (kind, asked) {
            // Its words count, also if they are shorter.
            (Kind::RateLimited, Some(asked)) => asked.max(AWAY_MIN),
            (_, Some(asked)) => own.max(asked),
            (_, None) => own,
        }
    }
}

const AWAY_MIN: Duration = Duration::from_secs(1);
const AWAY_MAX: Duration = Duration::from_secs(300);
const REFUSED_MIN: Duration = Duration::from_secs(30);
const REFUSED_MAX: Duration = Duration::from_secs(6 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    const LIFE: Life = Life {
        from: 0,
        until: 90 * DAY,
        lot: 12_345_678_901,
    };

    #[test]
    fn a_third_of_the_life_is_left_unless_the_ca_or_the_configuration_says_otherwise() {
        let due = LIFE.renewal(None, None, None);
        assert!((58 * DAY..=60 * DAY).contains(&due), "{due}");
        let window = Window {
            start: 70 * DAY,
            end: 71 * DAY,
        };
        let due = LIFE.renewal(None, Some(window), None);
        assert!((70 * DAY..=71 * DAY).contains(&due), "{due}");
        let before = Some(Duration::from_secs(3600));
        assert_eq!(LIFE.renewal(before, Some(window), None), 90 * DAY - 3600);
        // The CA wants it back.
        let past = Window {
            start: -10,
            end: -5,
        };
        assert!(LIFE.renewal(None, Some(past), None) < 0);
        let nonsense = Window { start: 10, end: 5 };
        assert_eq!(LIFE.renewal(None, Some(nonsense), None), 10);
    }

    #[test]
    fn certificates_of_one_hour_are_renewed_at_many_moments() {
        let due = |lot| {
            let life = Life {
                from: 0,
                until: 3600,
                lot,
            };
            life.renewal(None, None, None)
        };
        let all: std::collections::BTreeSet<_> = (0..1000).map(due).collect();
        assert!(all.len() > 50, "{}", all.len());
        assert!(all.iter().all(|due| (2340..=2400).contains(due)), "{all:?}");
    }

    #[test]
    fn no_dates_make_a_storm() {
        let issued = Some(1000);
        for until in [i64::MIN, -1, 0, 1000, 1001] {
            let life = Life {
                until,
                from: i64::MAX,
                ..LIFE
            };
            assert!(life.renewal(None, None, issued) >= 1005);
            let before = Some(Duration::from_secs(u64::MAX));
            assert!(life.renewal(before, None, issued) >= 1005);
        }
    }

    #[test]
    fn a_clock_that_is_wrong_makes_no_storm() {
        // Here it is half a year ahead, so that all that is issued has ended, and the CA's window is over.
        let now = 180 * DAY;
        let window = Some(Window { start: 0, end: DAY });
        for window in [None, window] {
            let due = LIFE.renewal(None, window, Some(now));
            assert_eq!(due, now + BETWEEN_MAX);
        }
        let short = Life { until: 60, ..LIFE };
        assert_eq!(short.renewal(None, None, Some(now)), now + BETWEEN_ORDERS);
    }

    #[test]
    fn a_ca_that_was_away_for_an_hour_is_asked_within_five_minutes_of_its_return() {
        let mut failures = Failures::default();
        let (mut now, mut attempts) = (0, 0);
        while now < 3600 {
            let pause = failures.pause(Kind::Unreachable, None, now);
            assert!(pause <= Duration::from_secs(300), "{pause:?} at {now}");
            assert!(
                now > 100 || pause <= Duration::from_secs(25),
                "{pause:?} at {now}"
            );
            now += i64::try_from(pause.as_secs()).unwrap();
            attempts += 1;
        }
        assert!(attempts < 50, "{attempts}");
    }

    #[test]
    fn refusals_are_repeated_ever_less_often_and_the_ca_sets_the_pace_of_its_limits() {
        let mut failures = Failures::default();
        let pauses: Vec<_> = (0..9)
            .map(|n| failures.pause(Kind::Validation, None, n).as_secs())
            .collect();
        assert_eq!(pauses, [30, 90, 270, 810, 2430, 7290, 21600, 21600, 21600]);
        let mut failures = Failures::default();
        let asked = Some(Duration::from_secs(42));
        assert_eq!(
            failures.pause(Kind::RateLimited, asked, 0),
            Duration::from_secs(42)
        );
        assert_eq!(
            failures.pause(Kind::RateLimited, None, 0),
            Duration::from_secs(1800)
        );
        assert_eq!(
            failures.pause(Kind::Unreachable, asked, 0),
            Duration::from_secs(42)
        );
    }
}
