//! Bytes that were reserved ahead while the buckets had plenty, so that short messages under a high limit do
//! not take turns at the lock of the route. Pure: the time is a parameter.

use std::time::Duration;

use tokio::time::Instant;

use super::bucket::Bucket;
use super::rate::{ByteRate, Rates};

/// How long bytes that were reserved ahead may be used, in milliseconds: as long as a bucket gathers. Those
/// of very many connections must not move at once.
const VALID_MS: u32 = 100;

/// A credit is at most what a read takes, and a part of what the buckets gather, divided by the flows of the
/// route: together they hold back little from a flow that needs all of the rate.
const CREDIT_MAX: u64 = 256 << 10;
const CREDITS_PER_BURST: u64 = 4;

/// The least credit that is worth a read: a TLS record.
pub(super) const CREDIT_MIN: u64 = 16 << 10;

/// When a credit was given: milliseconds since the route began, modulo 2^32, and the revision of its limits.
/// Two numbers in place of an [`Instant`] keep an idle connection small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CreditClock {
    pub(super) ms: u32,
    pub(super) revision: u32,
}

/// The credit of one flow. None is left in the default one.
#[derive(Debug, Default)]
pub(super) struct Credit {
    left: u32,
    used: u32,
    given: CreditClock,
}

impl Credit {
    /// A credit of `bytes`, at most [`Credit::most`].
    pub(super) fn new(bytes: u64, given: CreditClock) -> Self {
        Self {
            left: u32::try_from(bytes).unwrap_or_default(),
            used: 0,
            given,
        }
    }

    /// How many bytes may be reserved ahead for each of the `flows` of a route.
    pub(super) fn most(rates: Rates, flows: u64) -> u64 {
        let part = |rate: ByteRate| rate.burst() / CREDITS_PER_BURST;
        let of_route = rates.route.map(|rate| part(rate) / flows.max(1));
        let parts = [of_route, rates.connection.map(part)];
        parts.into_iter().flatten().fold(CREDIT_MAX, u64::min)
    }

    /// How many bytes may move, if that is worth a read.
    pub(super) fn valid(&self, now: CreditClock) -> Option<u64> {
        let is_valid = self.left() >= CREDIT_MIN
            && now.ms.wrapping_sub(self.given.ms) < VALID_MS
            && now.revision == self.given.revision;
        is_valid.then_some(self.left())
    }

    /// What is left, valid or not.
    pub(super) fn left(&self) -> u64 {
        self.left.into()
    }

    /// Takes as much of `moved` as is left, and returns how much that is.
    pub(super) fn take(&mut self, moved: u64) -> u64 {
        let taken = self.left.min(u32::try_from(moved).unwrap_or(u32::MAX));
        self.left -= taken;
        self.used += taken;
        taken.into()
    }

    /// The bucket of a connection with this rate that has used nothing else since the credit was given.
    pub(super) fn bucket(
        &self,
        rate: Option<ByteRate>,
        clock: CreditClock,
        now: Instant,
    ) -> Bucket {
        let age = Duration::from_millis(clock.ms.wrapping_sub(self.given.ms).into());
        let given = now.checked_sub(age).unwrap_or(now);
        let mut bucket = Bucket::new(rate, given);
        bucket.reserve(self.used.into(), given);
        bucket
    }
}
