//! The token bucket. Pure: the time is a parameter.

use std::time::Duration;

use tokio::time::Instant;

use super::rate::ByteRate;

/// Counts in bytes, not in time, so that reservations stay valid when the rate changes.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Option<ByteRate>,
    /// The bytes that the rates have allowed by `since`.
    allowed: u64,
    since: Instant,
    /// The bytes that were reserved, moved or not.
    reserved: u64,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(rate: Option<ByteRate>, now: Instant) -> Self {
        let mut bucket = Self {
            rate: None,
            allowed: 0,
            since: now,
            reserved: 0,
        };
        bucket.set_rate(rate, now);
        bucket
    }

    pub(super) const fn rate(&self) -> Option<ByteRate> {
        self.rate
    }

    /// Changes the rate from `now` on. Where there was no limit, the bucket is full.
    pub(super) fn set_rate(&mut self, rate: Option<ByteRate>, now: Instant) {
        if rate == self.rate {
            return;
        }
        self.allowed = self.allowed_at(now);
        if let (None, Some(rate)) = (self.rate, rate) {
            self.allowed = self.allowed.saturating_add(rate.burst());
        }
        self.since = now;
        self.rate = rate;
    }

    fn allowed_at(&self, now: Instant) -> u64 {
        match self.rate {
            // Nothing is ever owed without a limit.
            None => self.allowed.max(self.reserved),
            Some(rate) => {
                let time = now.saturating_duration_since(self.since);
                self.allowed.saturating_add(rate.in_time(time))
            }
        }
    }

    /// Reserves bytes, and returns the reservation's end, for [`Bucket::wait`].
    pub(super) fn reserve(&mut self, bytes: u64, now: Instant) -> u64 {
        let burst = self.rate.map_or(0, ByteRate::burst);
        // What nobody used for longer than the burst is lost.
        let least = self.allowed_at(now).saturating_sub(burst);
        self.reserved = self.reserved.max(least).saturating_add(bytes);
        self.reserved
    }

    /// How many bytes could move now, at most those of a burst.
    pub(super) fn room(&self, now: Instant) -> u64 {
        self.rate.map_or(u64::MAX, |rate| {
            let allowed = self.allowed_at(now);
            allowed.saturating_sub(self.reserved).min(rate.burst())
        })
    }

    /// Whether a full bucket would do the same: nobody has taken from it for a while.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.rate.is_none_or(|rate| self.room(now) == rate.burst())
    }

    /// Takes bytes as far as they are allowed now, and returns how many are not.
    pub(super) fn take(&mut self, bytes: u64, now: Instant) -> u64 {
        let end = self.reserve(bytes, now);
        let beyond = end.saturating_sub(self.allowed_at(now)).min(bytes);
        self.give_back(beyond);
        beyond
    }

    /// How long it takes until a reservation is due; `None` if it is.
    ///
    /// When the bucket allows all that is reserved, every reservation is due, whatever its end: those before
    /// it were given back.
    pub(super) fn wait(&self, end: u64, now: Instant) -> Option<Duration> {
        let missing = end.min(self.reserved).checked_sub(self.allowed_at(now))?;
        match missing {
            0 => None,
            missing => self.rate.map(|rate| rate.time_for(missing)),
        }
    }

    /// Gives back what was reserved and has not moved.
    pub(super) const fn give_back(&mut self, bytes: u64) {
        self.reserved = self.reserved.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn bucket(bytes: u64) -> (Bucket, Instant) {
        let start = Instant::now();
        (Bucket::new(ByteRate::new(bytes), start), start)
    }

    /// Moves reservations of `share` bytes as soon as they are due, until `end`.
    fn moved(bucket: &mut Bucket, share: u64, mut now: Instant, end: Instant) -> u64 {
        let mut moved = 0;
        loop {
            let reservation = bucket.reserve(share, now);
            while let Some(wait) = bucket.wait(reservation, now) {
                now += wait;
            }
            if now > end {
                bucket.give_back(share);
                return moved;
            }
            moved += share;
        }
    }

    #[test]
    fn over_ten_seconds_a_rate_is_exact_to_two_per_cent() {
        for (rate, share) in [
            (1000, 2),
            (1 << 20, 2621),
            (10 << 20, 26_214),
            (10 << 30, 262_144),
            (999_983, 7919),
        ] {
            let (mut bucket, start) = bucket(rate);
            let moved = moved(&mut bucket, share, start, start + 10 * SECOND);
            assert!(
                (rate * 10..=rate * 10 * 102 / 100).contains(&(moved + share)),
                "{rate}: {moved}"
            );
        }
    }

    #[test]
    fn one_byte_a_second_is_one_byte_a_second() {
        let (mut bucket, start) = bucket(1);
        assert_eq!(moved(&mut bucket, 1, start, start + 10 * SECOND), 11);
    }

    #[test]
    fn a_pause_gathers_a_tenth_of_a_second() {
        let (mut bucket, start) = bucket(1000);
        let later = start + 100 * SECOND;
        let end = bucket.reserve(100, later);
        assert_eq!(bucket.wait(end, later), None);
        let end = bucket.reserve(10, later);
        assert_eq!(bucket.wait(end, later), Some(SECOND / 100));
    }

    #[test]
    fn reservations_are_due_in_their_order_and_keep_it_when_the_rate_changes() {
        let (mut bucket, start) = bucket(10);
        let ends: Vec<_> = (0..3).map(|_| bucket.reserve(10, start)).collect();
        let waits = |bucket: &Bucket, now| -> Vec<_> {
            ends.iter()
                .map(|end| bucket.wait(*end, now).unwrap_or_default().as_millis())
                .collect()
        };
        assert_eq!(waits(&bucket, start), [900, 1900, 2900]);
        let now = start + SECOND;
        bucket.set_rate(ByteRate::new(1000), now);
        assert_eq!(waits(&bucket, now), [0, 9, 19]);
        bucket.set_rate(None, now);
        assert_eq!(waits(&bucket, now), [0, 0, 0]);
        // A limit that comes again owes nothing for what moved without one.
        bucket.reserve(1 << 40, now);
        bucket.set_rate(ByteRate::new(10), now);
        let end = bucket.reserve(10, now);
        assert_eq!(bucket.wait(end, now), Some(SECOND * 9 / 10));
    }

    #[test]
    fn what_is_given_back_is_there_for_others() {
        let (mut bucket, start) = bucket(10);
        let given = bucket.reserve(1000, start);
        let waiting = bucket.reserve(10, start);
        assert_eq!(bucket.wait(given, start), Some(SECOND * 999 / 10));
        bucket.give_back(1000);
        assert_eq!(bucket.wait(waiting, start), Some(SECOND * 9 / 10));
    }
}
