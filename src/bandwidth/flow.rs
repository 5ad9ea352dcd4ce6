//! One direction of one connection, and its share of the bandwidth.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::bucket::Bucket;
use super::credit::{CREDIT_MIN, Credit, CreditClock};
use super::rate::ByteRate;
use super::route::{OneWay, RouteBandwidth, Shared, Way};

/// The longest time after which a flow that waits has to ask again: a reload may have raised the limit, and
/// connections that waited before it may have ended.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// One direction of one connection. Small while the connection moves little: most connections are idle.
#[derive(Debug)]
pub struct Flow {
    route: Arc<OneWay>,
    credit: Credit,
    busy: Option<Box<Busy>>,
}

/// What a flow needs beyond its credit. Without it, the bucket of the connection is full, but for what was
/// used of the credit.
#[derive(Debug)]
struct Busy {
    /// The bucket of the connection itself.
    own: Bucket,
    held: Option<Reservation>,
}

/// What a flow has reserved and not moved yet.
#[derive(Clone, Copy, Debug)]
struct Reservation {
    bytes: u64,
    /// Its ends in the bucket of the route and in its own.
    ends: [u64; 2],
    is_waiting: bool,
}

impl Flow {
    /// A flow that has moved nothing.
    pub fn new(route: &RouteBandwidth, way: Way) -> Self {
        Self {
            route: Arc::clone(route.one_way(way)),
            credit: Credit::default(),
            busy: None,
        }
    }

    /// How many bytes may move without asking, of those that were reserved ahead; [`Flow::settle`] must
    /// follow. Reserves more where the buckets have plenty.
    pub fn credit(&mut self, now: Instant) -> Option<u64> {
        let clock = self.route.clock(now);
        let valid = self.credit.valid(clock);
        valid.or_else(|| self.reserve_ahead(clock, now))
    }

    fn reserve_ahead(&mut self, clock: CreditClock, now: Instant) -> Option<u64> {
        let Self {
            route,
            credit,
            busy,
        } = self;
        if busy.as_ref().is_some_and(|busy| busy.held.is_some()) {
            return None;
        }
        let ways = u64::try_from(Arc::strong_count(route)).unwrap_or(u64::MAX);
        let shared = &mut *route.shared();
        if shared.is_dry_run {
            return None;
        }
        give_back(credit, busy, shared, clock, now);
        // The route itself is one of them.
        let ahead = Credit::most(shared.rates, ways - 1);
        let of_own = busy.as_ref().map(|busy| busy.own.room(now));
        let room = shared.bucket.room(now).min(of_own.unwrap_or(u64::MAX));
        if ahead < CREDIT_MIN || room < ahead {
            return None;
        }
        shared.bucket.reserve(ahead, now);
        if let Some(busy) = busy {
            busy.own.reserve(ahead, now);
        }
        *credit = Credit::new(ahead, clock);
        Some(ahead)
    }

    /// Asks to move `bytes`. Returns how many of them may move now; [`Flow::settle`] must follow.
    ///
    /// # Errors
    ///
    /// None may move yet: after which time to ask again.
    pub fn ask(&mut self, bytes: u64, now: Instant) -> Result<u64, Duration> {
        let Self {
            route,
            credit,
            busy,
        } = self;
        let shared = &mut *route.shared();
        give_back(credit, busy, shared, route.clock(now), now);
        let busy = busy.get_or_insert_with(|| Busy::full(shared.rates.connection, now));
        let Busy { own, held } = &mut **busy;
        let share = share(shared, own);
        if let Some(large) = held.take_if(|held| shared.is_dry_run || held.bytes > share) {
            // A reload has lowered the rate: what was a moment's worth may be minutes' now.
            large.give_back(shared, own);
        }
        if shared.is_dry_run {
            // What is beyond a limit moves all the same, and counts for nothing.
            shared.used.would_delay.route += shared.bucket.take(bytes, now);
            shared.used.would_delay.connection += own.take(bytes, now);
            *held = Some(Reservation::NONE);
            return Ok(bytes);
        }
        let held = held.get_or_insert_with(|| {
            let bytes = bytes.min(share);
            Reservation {
                bytes,
                ends: [shared.bucket.reserve(bytes, now), own.reserve(bytes, now)],
                is_waiting: false,
            }
        });
        let [of_route, of_own] = held.ends;
        let of_route = shared.bucket.wait(of_route, now);
        let of_own = own.wait(of_own, now);
        let Some(wait) = of_route.max(of_own) else {
            held.stop_waiting(shared);
            return Ok(held.bytes);
        };
        if !std::mem::replace(&mut held.is_waiting, true) {
            shared.used.waiting += 1;
            match of_own == Some(wait) {
                true => shared.used.delayed.connection += held.bytes,
                false => shared.used.delayed.route += held.bytes,
            }
        }
        Err(wait.min(ASK_AGAIN))
    }

    /// Tells how many bytes have moved since the last call. What was reserved beyond them is given back, or
    /// stays as credit; what has moved beyond the reservation is owed.
    pub fn settle(&mut self, moved: u64, now: impl FnOnce() -> Instant) {
        let Self {
            route,
            credit,
            busy,
        } = self;
        let held = busy.as_mut().and_then(|busy| busy.held.take());
        let reserved = match held {
            Some(Reservation { bytes: 0, .. }) => return,
            Some(held) => held.bytes,
            None => credit.take(moved),
        };
        if reserved == moved {
            return;
        }
        let shared = &mut *route.shared();
        if moved < reserved {
            shared.bucket.give_back(reserved - moved);
            if let Some(busy) = busy {
                busy.own.give_back(reserved - moved);
            }
            return;
        }
        let now = now();
        give_back(credit, busy, shared, route.clock(now), now);
        let busy = busy.get_or_insert_with(|| Busy::full(shared.rates.connection, now));
        shared.bucket.reserve(moved - reserved, now);
        busy.own.reserve(moved - reserved, now);
    }
}

/// Gives back what is left of the credit. Keeps the bucket of the connection only if it is not full.
fn give_back(
    credit: &mut Credit,
    busy: &mut Option<Box<Busy>>,
    shared: &mut Shared,
    clock: CreditClock,
    now: Instant,
) {
    let credit = std::mem::take(credit);
    shared.bucket.give_back(credit.left());
    let rate = shared.rates.connection;
    if let Some(state) = busy {
        state.own.set_rate(rate, now);
        state.own.give_back(credit.left());
        if state.held.is_none() && state.own.is_full(now) {
            *busy = None;
        }
    } else {
        let own = credit.bucket(rate, clock, now);
        if !own.is_full(now) {
            *busy = Some(Box::new(Busy { own, held: None }));
        }
    }
}

impl Busy {
    /// With a full bucket.
    fn full(rate: Option<ByteRate>, now: Instant) -> Box<Self> {
        let own = Bucket::new(rate, now);
        Box::new(Self { own, held: None })
    }
}

impl Reservation {
    /// Of what a dry run lets through: nothing is settled for it.
    const NONE: Self = Self {
        bytes: 0,
        ends: [0; 2],
        is_waiting: false,
    };

    const fn give_back(mut self, shared: &mut Shared, own: &mut Bucket) {
        self.stop_waiting(shared);
        shared.bucket.give_back(self.bytes);
        own.give_back(self.bytes);
    }

    const fn stop_waiting(&mut self, shared: &mut Shared) {
        if std::mem::replace(&mut self.is_waiting, false) {
            shared.used.waiting -= 1;
        }
    }
}

/// How many bytes one reservation may take.
fn share(shared: &Shared, own: &Bucket) -> u64 {
    let of_route = shared.bucket.rate().map(ByteRate::route_share);
    let of_own = own.rate().map(ByteRate::connection_share);
    let shares = [of_route, of_own].into_iter().flatten();
    shares.min().unwrap_or(u64::MAX)
}

impl Drop for Flow {
    fn drop(&mut self) {
        let held = self.busy.as_mut().and_then(|busy| busy.held.take());
        if held.is_none() && self.credit.left() == 0 {
            return;
        }
        let shared = &mut self.route.shared();
        shared.bucket.give_back(self.credit.left());
        if let (Some(held), Some(busy)) = (held, &mut self.busy) {
            held.give_back(shared, &mut busy.own);
        }
    }
}
