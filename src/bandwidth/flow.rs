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

/// One direction of one connection.
#[derive(Debug)]
pub struct Flow {
    route: Arc<RouteBandwidth>,
    way: Way,
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
    pub fn new(route: Arc<RouteBandwidth>, way: Way) -> Self {
        let own = Bucket::new(route.shared(way).rates.connection, Instant::now());
        Self {
            route,
            way,
            own,
            held: None,
        }
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
        } = self;
        let shared = &mut *route.shared(*way);
        own.set_rate(shared.rates.connection, now);
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
        let held = held.get_or_insert_with(|| reserve(shared, own, bytes.min(share), now));
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

    /// Tells how many bytes have moved since the last call. What was reserved beyond them is given back; what
    /// has moved beyond the reservation is owed.
    pub fn settle(&mut self, moved: u64, now: Instant) {
        let reserved = match self.held.take() {
            Some(Reservation { bytes: 0, .. }) => return,
            held => held.map_or(0, |held| held.bytes),
        };
        if reserved == moved {
            return;
        }
        let shared = &mut *self.route.shared(self.way);
        if moved > reserved {
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

fn reserve(shared: &mut Shared, own: &mut Bucket, bytes: u64, now: Instant) -> Reservation {
    Reservation {
        bytes,
        ends: [shared.bucket.reserve(bytes, now), own.reserve(bytes, now)],
        is_waiting: false,
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            held.give_back(&mut self.route.shared(self.way), &mut self.own);
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
            match flows[next].ask(1 << 18, now) {
                Ok(bytes) => {
                    flows[next].settle(bytes, now);
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
            flow.settle(100, now);
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
                flow.settle(bytes, now);
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
        flow.settle(100, now);
        assert_eq!(flow.ask(2, now), Err(Duration::from_millis(2)));
        flow.settle(0, now);
        assert_eq!(flow.ask(1, now), Err(Duration::from_millis(1)));
    }
}
