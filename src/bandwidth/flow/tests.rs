use super::*;
use crate::bandwidth::{ByteRate, Rates};

const SECOND: Duration = Duration::from_secs(1);

fn route(route: u64, connection: u64) -> RouteBandwidth {
    let bandwidth = RouteBandwidth::default();
    let rates = Rates {
        route: ByteRate::new(route),
        connection: ByteRate::new(connection),
    };
    bandwidth.set(Way::Down, rates, false);
    bandwidth
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
        let flow = |_| Flow::new(&route, Way::Down);
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
        let flow = |_| Flow::new(&route, Way::Down);
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
    let mut flow = Flow::new(&route, Way::Down);
    let mut left = 0;
    for step in 0..1000 {
        let now = start + Duration::from_micros(50) * step;
        let credit = flow.credit(now).unwrap();
        assert!(step == 0 || credit == left - 100, "{step}");
        left = credit;
        flow.settle(100, || now);
    }
    // It ends with time and with the limits under which it was reserved.
    let now = start + Duration::from_millis(99);
    assert_eq!(flow.credit(now), Some(left - 100));
    let later = start + Duration::from_millis(100);
    assert!(flow.credit(later).unwrap() > left);
    let slow = Rates {
        route: ByteRate::new(1000),
        connection: None,
    };
    route.set(Way::Down, slow, false);
    assert_eq!(flow.credit(later), None);
}

/// A credit is used up long before it ends: the connection's own bucket counts what it has used.
#[tokio::test(start_paused = true)]
async fn credits_do_not_exceed_the_rate_of_a_connection() {
    let rate = 4 << 20;
    for chunk in [1000, 50_000, 1 << 18] {
        let route = route(0, rate);
        let mut flow = Flow::new(&route, Way::Down);
        let start = Instant::now();
        let (mut now, mut moved) = (start, 0);
        while now < start + 10 * SECOND {
            let credit = flow.credit(now);
            match credit.map_or_else(|| flow.ask(chunk, now), Ok) {
                Ok(bytes) => {
                    let bytes = bytes.min(chunk);
                    flow.settle(bytes, || now);
                    moved += bytes;
                    now += Duration::from_micros(10);
                }
                Err(wait) => now += wait,
            }
        }
        assert!(
            (rate * 98 / 10..=rate * 102 / 10).contains(&moved),
            "{chunk}: {moved}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_hold_little_back_from_a_busy_one() {
    let rate = 100 << 20;
    let route = route(rate, 0);
    let start = Instant::now();
    let mut flows: Vec<_> = (0..100).map(|_| Flow::new(&route, Way::Down)).collect();
    for flow in &mut flows[1..] {
        assert!(flow.credit(start).is_some());
        flow.settle(1, || start);
    }
    let moved = run(&mut flows[..1], start, start + 10 * SECOND)[0];
    assert!(
        (rate * 98 / 10..=rate * 102 / 10).contains(&moved),
        "{moved}"
    );
    // Nor do they move more than a burst at once afterwards.
    let later = start + 20 * SECOND;
    let credits = flows.iter_mut().filter_map(|flow| flow.credit(later));
    let all: u64 = credits.sum();
    assert!((1..=rate / 10).contains(&all), "{all}");
    drop(flows);
    assert_eq!(route.used(Way::Down).waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_ends_gives_back_what_it_waited_for() {
    let route = route(10, 0);
    let now = Instant::now();
    let mut flows: Vec<_> = (0..50).map(|_| Flow::new(&route, Way::Down)).collect();
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
    let mut flow = Flow::new(&route, Way::Down);
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
        let mut flow = Flow::new(&route, Way::Down);
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
    let mut flow = Flow::new(&route, Way::Down);
    flow.settle(100, || now);
    assert_eq!(flow.ask(2, now), Err(Duration::from_millis(2)));
    flow.settle(0, || now);
    assert_eq!(flow.ask(1, now), Err(Duration::from_millis(1)));
}
