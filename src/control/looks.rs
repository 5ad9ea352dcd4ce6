//! The last two looks at something that changes, so that rates can be told. They are taken when somebody
//! asks, so that they cost nothing while nobody does.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::sync::Mutex;

/// How old a look must be that rates count from: a shorter time says little.
const AGE_MIN: Duration = Duration::from_millis(500);

/// How old it may be: longer ago is not "now".
const AGE_MAX: Duration = Duration::from_secs(30);

/// How long rates are measured for the first request.
pub(super) const MEASURED: Duration = Duration::from_secs(1);

/// A look, and when it was.
#[derive(Debug)]
pub(super) struct Look<T> {
    pub(super) at: Instant,
    pub(super) seen: Arc<T>,
}

/// The last two, so that two who ask in turns do not take each other's away.
#[derive(Debug)]
pub(super) struct Looks<T>(Mutex<[Option<Look<T>>; 2]>);

impl<T> Clone for Look<T> {
    fn clone(&self) -> Self {
        Self {
            at: self.at,
            seen: Arc::clone(&self.seen),
        }
    }
}

impl<T> Default for Looks<T> {
    fn default() -> Self {
        Self(Mutex::new([None, None]))
    }
}

impl<T> Look<T> {
    /// The time since.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.at)
    }

    /// The time since, in seconds with one decimal.
    pub(super) fn seconds(&self, now: Instant) -> f64 {
        (self.age(now).as_secs_f64() * 10.0).round() / 10.0
    }
}

impl<T> Looks<T> {
    /// The latest look that is old enough.
    pub(super) fn base(&self, now: Instant) -> Option<Look<T>> {
        let looks = self.0.lock();
        let is_base = |look: &&Look<T>| (AGE_MIN..=AGE_MAX).contains(&look.age(now));
        let usable = looks.iter().flatten().filter(is_base);
        usable.max_by_key(|look| look.at).cloned()
    }

    /// Keeps a look for those who ask later, unless there is one of this moment.
    pub(super) fn keep(&self, seen: Arc<T>, now: Instant) {
        let [older, latest] = &mut *self.0.lock();
        if latest
            .as_ref()
            .is_none_or(|latest| latest.age(now) >= AGE_MIN)
        {
            *older = latest.replace(Look { at: now, seen });
        }
    }

    /// Forgets what is too old.
    pub(super) fn expire(&self, now: Instant) {
        for look in &mut *self.0.lock() {
            look.take_if(|look| look.age(now) > AGE_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn two_who_ask_in_turns_both_find_a_look() {
        let (looks, start) = (Looks::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let base = |ms| looks.base(at(ms)).map(|look| *look.seen);
        looks.keep(Arc::new(0), at(0));
        assert_eq!(base(499), None);
        // Too soon to be kept.
        looks.keep(Arc::new(1), at(499));
        assert_eq!(base(600), Some(0));
        looks.keep(Arc::new(2), at(600));
        assert_eq!(base(700), Some(0));
        assert_eq!(base(1100), Some(2));
        assert_eq!(base(60_000), None);
        looks.expire(at(30_100));
        assert_eq!(base(30_000), Some(2));
        looks.expire(at(31_000));
        assert_eq!(base(30_000), None);
    }
}
