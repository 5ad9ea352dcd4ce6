//! One direction of one connection, and its share of the bandwidth.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::bucket::Bucket;
use super::rate::ByteRate;
use super::route::{RouteBandwidth, Shared, Way};

/// The longest time after which a flow that waits has to ask again: a reload may have raised the limit, and
/// connections that waited before it may have ended.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long bytes that were reserved ahead may be used, as long as a bucket gathers: those of very many
/// connections must not move at once.
const CREDIT_VALID: Duration = Duration::from_millis(100);

/// A credit is at most what a read takes, and a part of what the buckets gather, divided by the flows of the
/// route: together they hold back little from a flow that needs all of the rate.
const CREDIT_MAX: u64 = 256 << 10;
const CREDITS_PER_BURST: u64 = 4;

/// The least credit that is worth a read: a TLS record.
const CREDIT_MIN: u64 = 16 << 10;

/// One direction of one connection.
#[derive(Debug)]
pub struct Flow {
    route: Arc<RouteBandwidth>,
    way: Way,
    /// The bucket of the connection itself.
    own: Bucket,
    held: Option<Reservation>,
    credit: Option<Credit>,
}

/// Bytes that were reserved ahead while the buckets had plenty, so that short messages under a high limit do
/// not take turns at the lock of the route.
#[derive(Clone, Copy, Debug)]
struct Credit {
    bytes: u64,
    until: Instant,
    /// Of the limits under which they were reserved.
    revision: u64,
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
    pub fn new(route: Arc<RouteBandwidth>, way: Way) -> Self {
        let own = Bucket::new(route.shared(way).rates.connection, Instant::now());
        Self {
            route,
            way,
            own,
            held: None,
            credit: None,
        }
    }

    /// How many bytes may move without asking; [`Flow::settle`] must follow.
    pub fn credit(&self, now: Instant) -> Option<u64> {
        let credit = self.credit.as_ref()?;
        let is_valid = credit.bytes >= CREDIT_MIN
            && now < credit.until
            && credit.revision == self.route.revision();
        is_valid.then_some(credit.bytes)
    }

    /// Asks to move `bytes`. Returns how many of them may move now; [`Flow::settle`] must follow.
    ///
    /// # Errors
    ///
    /// None may move yet: after which time to ask again.
    pub fn ask(&mut self, bytes: u64, now: Instant) -> Result<u64, Duration> {
        let Self {
            route,
            way,
            own,
            held,
            credit,
        } = self;
        let flows = u64::try_from(Arc::strong_count(route)).unwrap_or(u64::MAX);
        let shared = &mut *route.shared(*way);
        own.set_rate(shared.rates.connection, now);
        if let Some(old) = credit.take() {
            shared.bucket.give_back(old.bytes);
            own.give_back(old.bytes);
        }
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
            let ahead = ahead(shared, own, flows);
            let room = shared.bucket.room(now).min(own.room(now));
            if ahead < CREDIT_MIN || room < ahead.saturating_add(bytes) {
                return reserve(shared, own, bytes, now);
            }
            *credit = Some(Credit {
                bytes: ahead,
                until: now + CREDIT_VALID,
                revision: route.revision(),
            });
            // The credit first: all of it is due.
            reserve(shared, own, ahead, now);
            reserve(shared, own, bytes, now)
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
        let reserved = match self.held.take() {
            Some(Reservation { bytes: 0, .. }) => return,
            held => held.map_or(0, |held| held.bytes),
        };
        if let Some(credit) = &mut self.credit {
            let left = (credit.bytes + reserved).checked_sub(moved);
            if let Some(left) = left {
                credit.bytes = left;
                return;
            }
        }
        let reserved = reserved + self.credit.take().map_or(0, |credit| credit.bytes);
        if reserved == moved {
            return;
        }
        let shared = &mut *self.route.shared(self.way);
        if moved > reserved {
            let now = now();
            shared.bucket.reserve(moved - reserved, now);
            self.own.reserve(moved - reserved, now);
        } else {
            shared.bucket.give_back(reserved - moved);
            self.own.give_back(reserved - moved);
        }
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

/// How many bytes may be reserved ahead.
fn ahead(shared: &Shared, own: &Bucket, flows: u64) -> u64 {
    let part = |rate: ByteRate| rate.burst() / CREDITS_PER_BURST;
    let of_route = shared.bucket.rate().map(|rate| part(rate) / flows.max(1));
    let of_own = own.rate().map(part);
    let parts = [of_route, of_own].into_iter().flatten();
    parts.fold(CREDIT_MAX, u64::min)
}

fn reserve(shared: &mut Shared, own: &mut Bucket, bytes: u64, now: Instant) -> Reservation {
    Reservation {
        bytes,
        ends: [shared.bucket.reserve(bytes, now), own.reserve(bytes, now)],
        is_waiting: false,
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        let credit = self.credit.take().map_or(0, |credit| credit.bytes);
        if self.held.is_none() && credit == 0 {
            return;
        }
        let shared = &mut self.route.shared(self.way);
        shared.bucket.give_back(credit);
        if let Some(held) = self.held.take() {
            held.give_back(shared, &mut self.own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bandwidth::{ByteRate, Rates};

    const SECOND: Duration = Duration::from_secs(1);

    fn route(route: u64, connection: u64) -> Arc<RouteBandwidth> {
        let bandwidth = RouteBandwidth::default();
        let rates = Rates {
            route: ByteRate::new(route),
            connection: ByteRate::new(connection),
        };
        bandwidth.set(Way::Down, rates, false);
        Arc::new(bandwidth)
    }

    /// Moves what each flow may move until `end`, always for the one that is due first. Returns what each has
    /// moved.
    fn run(flows: &mut [Flow], start: Instant, end: Instant) -> Vec<u64> {
        let mut moved = vec![0; flows.len()];
        let mut due = vec![start; flows.len()];
        loop {
            let next = (0..flows.len()).min_by_key(|n| due[*n]).unwrap();
            let now = due[next];
            if now > end {
                return moved;
            }
            let credit = flows[next].credit(now);
            match credit.map_or_else(|| flows[next].ask(1 << 18, now), Ok) {
                Ok(bytes) => {
                    flows[next].settle(bytes, || now);
                    moved[next] += bytes;
                    // A turn of a worker.
                    due[next] = now + Duration::from_micros(50);
                }
                // Timers are late.
                Err(wait) => due[next] = now + wait + Duration::from_millis(1),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connections_of_a_route_share_its_rate_fairly() {
        for (rate, count) in [
            (10 << 20, 1),
            (10 << 20, 10),
            (10 << 20, 100),
            (100 << 10, 100),
        ] {
            let route = route(rate, 0);
            let start = Instant::now();
            let flow = |_| Flow::new(Arc::clone(&route), Way::Down);
            let mut flows: Vec<_> = (0..count).map(flow).collect();
            let moved = run(&mut flows, start, start + 10 * SECOND);
            let all: u64 = moved.iter().sum();
            assert!(
                (rate * 98 / 10..=rate * 102 / 10).contains(&all),
                "{count}: {all}"
            );
            let (least, most) = (moved.iter().min().unwrap(), moved.iter().max().unwrap());
            assert!(most - least <= all / count * 5 / 100, "{count}: {moved:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_has_its_own_limit_within_that_of_the_route() {
        let route = route(1 << 20, 1 << 18);
        let start = Instant::now();
        for (count, expected) in [(1_u32, 10_u64 << 18), (8, 10 << 20)] {
            let flow = |_| Flow::new(Arc::clone(&route), Way::Down);
            let mut flows: Vec<_> = (0..count).map(flow).collect();
            let from = start + 20 * count * SECOND;
            let all: u64 = run(&mut flows, from, from + 10 * SECOND).iter().sum();
            assert!(
                (expected * 98 / 100..=expected * 103 / 100).contains(&all),
                "{all}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn short_messages_under_a_high_limit_move_without_asking() {
        let route = route(1 << 30, 1 << 30);
        let start = Instant::now();
        let mut flow = Flow::new(Arc::clone(&route), Way::Down);
        let mut asked = 0;
        for step in 0..1000 {
            let now = start + Duration::from_micros(50) * step;
            if flow.credit(now).is_none() {
                asked += 1;
                flow.ask(100, now).unwrap();
            }
            flow.settle(100, || now);
        }
        assert_eq!(asked, 1);
        // It ends with time and with the limits under which it was reserved.
        let now = start + Duration::from_millis(99);
        assert!(flow.credit(now).is_some());
        assert_eq!(flow.credit(start + CREDIT_VALID), None);
        let slow = Rates {
            route: ByteRate::new(1000),
            connection: None,
        };
        route.set(Way::Down, slow, false);
        assert_eq!(flow.credit(now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_hold_little_back_from_a_busy_one() {
        let rate = 100 << 20;
        let route = route(rate, 0);
        let start = Instant::now();
        let mut flows: Vec<_> = (0..5000)
            .map(|_| Flow::new(Arc::clone(&route), Way::Down))
            .collect();
        for flow in &mut flows[1..] {
            assert_eq!(flow.ask(1, start), Ok(1));
            flow.settle(1, || start);
        }
        let moved = run(&mut flows[..1], start, start + 10 * SECOND)[0];
        assert!(
            (rate * 98 / 10..=rate * 102 / 10).contains(&moved),
            "{moved}"
        );
        // Nor do they move more than a burst at once afterwards.
        let later = start + 20 * SECOND;
        assert!(flows.iter().all(|flow| flow.credit(later).is_none()));
        drop(flows);
        assert_eq!(route.used(Way::Down).waiting, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flow_that_ends_gives_back_what_it_waited_for() {
        let route = route(10, 0);
        let now = Instant::now();
        let mut flows: Vec<_> = (0..50)
            .map(|_| Flow::new(Arc::clone(&route), Way::Down))
            .collect();
        let due = flows.iter_mut().filter_map(|flow| flow.ask(9, now).ok());
        assert_eq!(due.sum::<u64>(), 1, "the burst");
        assert_eq!(route.used(Way::Down).waiting, 49);
        let mut last = flows.pop().unwrap();
        drop(flows);
        assert_eq!(route.used(Way::Down).waiting, 1);
        assert_eq!(last.ask(9, now + SECOND / 5), Ok(1));
        assert_eq!(route.used(Way::Down).waiting, 0);
        assert_eq!(route.used(Way::Down).delayed.route, 49);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dry_run_counts_what_is_beyond_the_limit_and_delays_nothing() {
        let route = route(1000, 0);
        let rates = Rates {
            route: ByteRate::new(1000),
            connection: None,
        };
        route.set(Way::Down, rates, true);
        let mut flow = Flow::new(Arc::clone(&route), Way::Down);
        let start = Instant::now();
        // Twice the rate.
        for step in 0..100 {
            let now = start + SECOND / 20 * step;
            assert_eq!(flow.ask(100, now), Ok(100));
            flow.settle(100, || now);
        }
        let used = route.used(Way::Down);
        assert_eq!((used.delayed.route, used.waiting), (0, 0));
        let burst = 100;
        assert_eq!(used.would_delay.route, 100 * 50 + 50 - burst);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_that_falls_does_not_make_wait_for_what_was_asked_before() {
        for is_per_connection in [false, true] {
            let rates = |bytes| match is_per_connection {
                true => (0, bytes),
                false => (bytes, 0),
            };
            let (of_route, of_connection) = rates(100 << 20);
            let route = route(of_route, of_connection);
            let mut flow = Flow::new(Arc::clone(&route), Way::Down);
            let now = Instant::now();
            while let Ok(bytes) = flow.ask(1 << 18, now) {
                flow.settle(bytes, || now);
            }
            let (of_route, of_connection) = rates(1000);
            let slow = Rates {
                route: ByteRate::new(of_route),
                connection: ByteRate::new(of_connection),
            };
            route.set(Way::Down, slow, false);
            let wait = flow.ask(1 << 18, now).unwrap_err();
            assert!(wait <= SECOND / 10, "{wait:?}");
            assert!(flow.ask(1 << 18, now + wait).unwrap() <= 50);
            assert_eq!(route.used(Way::Down).waiting, 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_was_reserved_is_owed_and_less_is_given_back() {
        let route = route(1000, 0);
        let now = Instant::now();
        let mut flow = Flow::new(Arc::clone(&route), Way::Down);
        flow.settle(100, || now);
        assert_eq!(flow.ask(2, now), Err(Duration::from_millis(2)));
        flow.settle(0, || now);
        assert_eq!(flow.ask(1, now), Err(Duration::from_millis(1)));
    }
}
