//! Origins, their choice and their life, as connections and checks see them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::transport::TcpOptions;

const THRESHOLD: Threshold = Threshold { rise: 2, fall: 2 };

fn origin(n: u8) -> OriginDefinition {
    let address = Address::Ip(([10, 0, 0, n], 80).into());
    OriginDefinition {
        name: address.to_string().into(),
        address,
        server_name: None,
        weight: 1,
        backup: false,
        max_connections: None,
    }
}

fn upstream(origins: Vec<OriginDefinition>) -> UpstreamDefinition {
    UpstreamDefinition {
        name: "vault".into(),
        origins: origins.into_iter().map(Arc::new).collect(),
        balance: Balance::RoundRobin,
        slow_start: None,
        outlier: None,
        on_gone: OnGone::Keep,
        connect: ConnectPolicy {
            timeout: Duration::from_secs(1),
            attempts: 3,
            queue: None,
            queue_timeout: Duration::from_secs(10),
            sources: Vec::new(),
        },
        tcp: TcpOptions {
            nodelay: true,
            keepalive: None,
            user_timeout: None,
            send_buffer: None,
            receive_buffer: None,
        },
    }
}

/// `count` origins with room for `cap` connections each.
pub(super) fn capped(count: u8, cap: usize) -> UpstreamDefinition {
    let capped = |n| OriginDefinition {
        max_connections: Some(cap),
        ..origin(n)
    };
    upstream((1..=count).map(capped).collect())
}

struct Work {
    upstreams: Upstreams,
    events: UnboundedReceiver<OriginEvent>,
}

impl Work {
    fn new() -> Self {
        let (upstreams, events) = Upstreams::new(Handle::current());
        Self { upstreams, events }
    }

    fn apply(&self, definition: &UpstreamDefinition) -> Arc<Pool> {
        self.upstreams
            .apply([&Arc::new(definition.clone())].into_iter());
        self.upstreams.pool(&definition.name).unwrap()
    }

    fn events(&mut self) -> Vec<Change> {
        std::iter::from_fn(|| self.events.try_recv().ok())
            .map(|event| event.change)
            .collect()
    }
}

/// The last byte of the address of the one that is picked.
fn pick(pool: &Arc<Pool>) -> Result<u8, PickError> {
    pool.pick(&PickRequest::default()).map(|pick| number(&pick))
}

fn number(picked: &Pick) -> u8 {
    match picked.address {
        Address::Ip(address) => match address.ip() {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(_) => 0,
        },
        _ => 0,
    }
}

fn status(pool: &Pool, n: usize) -> OriginStatus {
    pool.status().swap_remove(n)
}

fn bring_down(pool: &Pool, n: usize) {
    for _ in 0..THRESHOLD.fall {
        pool.checked(status(pool, n).id, Verdict::Fail("x".into()), THRESHOLD);
    }
}

fn bring_up(pool: &Pool, n: usize) {
    for _ in 0..THRESHOLD.rise {
        pool.checked(status(pool, n).id, Verdict::Pass, THRESHOLD);
    }
}

#[tokio::test]
async fn counters_equal_a_recount_after_churn() {
    const CAP: usize = 7;
    let work = Work::new();
    let mut definition = capped(4, CAP);
    definition.balance = Balance::LeastConnections;
    let pool = work.apply(&definition);
    let threads: Vec<_> = (0..4_usize)
        .map(|thread| {
            let pool = Arc::clone(&pool);
            std::thread::spawn(move || {
                let mut held = Vec::new();
                for round in 0..20_000_usize {
                    if let Ok(picked) = pool.pick(&PickRequest::default()) {
                        held.push(picked);
                    }
                    for status in pool.status() {
                        assert!(status.connections <= CAP);
                    }
                    if held.len() > (round * 7 + thread) % 9 {
                        held.swap_remove(round % held.len());
                    }
                }
                held
            })
        })
        .collect();
    let mut held: Vec<Pick> = Vec::new();
    for thread in threads {
        held.extend(thread.join().unwrap());
    }
    for status in pool.status() {
        let count = held.iter().filter(|p| p.address == status.address).count();
        assert_eq!(status.connections, count);
    }
    held.clear();
    assert!(pool.status().iter().all(|status| status.connections == 0));
}

#[tokio::test]
async fn the_queue_is_served_in_order_and_nobody_overtakes() {
    let work = Work::new();
    let pool = work.apply(&capped(1, 1));
    let first = pool.pick(&PickRequest::default()).unwrap();
    let wait = |pool: &Arc<Pool>| {
        let pool = Arc::clone(pool);
        tokio::spawn(async move {
            pool.queue(PickRequest::default())
                .await
                .map(|picked| number(&picked))
        })
    };
    let (second, third) = (wait(&pool), wait(&pool));
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    assert_eq!(pick(&pool), Err(PickError::Full));
    drop(first);
    assert_eq!(pick(&pool), Err(PickError::Full), "there is one who waits");
    // Each gives its place back at once.
    assert_eq!(second.await.unwrap(), Ok(1));
    assert_eq!(third.await.unwrap(), Ok(1));
    assert_eq!(pick(&pool), Ok(1));
}

#[tokio::test]
async fn who_waits_for_another_origin_holds_nobody_up() {
    let work = Work::new();
    let pool = work.apply(&capped(2, 1));
    let first = pool.pick(&PickRequest::default()).unwrap();
    let other = pool.pick(&PickRequest::default()).unwrap();
    let mut tried = PickRequest::default();
    tried.tried(first.slot.origin_id());
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.queue(tried).await.map(|picked| number(&picked)) }
    });
    tokio::task::yield_now().await;
    let (free, awaited) = (number(&first), number(&other));
    drop(first);
    assert_eq!(pick(&pool), Ok(free), "it suits nobody who waits");
    drop(other);
    assert_eq!(waiting.await.unwrap(), Ok(awaited));
}

#[tokio::test]
async fn the_queue_has_an_end_and_a_time() {
    let work = Work::new();
    let mut definition = capped(1, 1);
    definition.connect.queue = Some(1);
    definition.connect.queue_timeout = Duration::from_millis(50);
    let pool = work.apply(&definition);
    let first = pool.pick(&PickRequest::default()).unwrap();
    let (second, third) = tokio::join!(
        pool.queue(PickRequest::default()),
        pool.queue(PickRequest::default())
    );
    assert_eq!(second.unwrap_err(), PickError::QueueTimeout);
    assert_eq!(third.unwrap_err(), PickError::QueueFull);
    drop(first);
    // Who has given up takes no place.
    assert_eq!(pick(&pool), Ok(1));
    assert_eq!(status(&pool, 0).connections, 0);
}

#[tokio::test]
async fn who_waits_is_told_when_nobody_is_left() {
    let work = Work::new();
    let pool = work.apply(&capped(1, 1));
    let _first = pool.pick(&PickRequest::default()).unwrap();
    let waiting = Arc::clone(&pool);
    let waiting = tokio::spawn(async move { waiting.queue(PickRequest::default()).await });
    tokio::task::yield_now().await;
    bring_down(&pool, 0);
    assert_eq!(waiting.await.unwrap().unwrap_err(), PickError::NoOrigin);
}

#[tokio::test]
async fn checks_are_believed_after_so_many_and_a_role_at_once() {
    let mut work = Work::new();
    let pool = work.apply(&upstream(vec![origin(1), origin(2)]));
    let first = status(&pool, 0).id;
    let check = |verdict| pool.checked(first, verdict, THRESHOLD);
    let origin = || pool.origin(first).unwrap();
    check(Verdict::Fail("a".into()));
    check(Verdict::Pass);
    check(Verdict::Fail("b".into()));
    assert!(origin().is_up && origin().is_in_doubt);
    check(Verdict::Fail("c".into()));
    let down = Change::Down { why: "c".into() };
    assert_eq!(work.events(), [down]);
    assert_eq!([pick(&pool), pick(&pool)], [Ok(2), Ok(2)]);
    check(Verdict::Pass);
    assert!(!origin().is_up);
    check(Verdict::Pass);
    assert_eq!(work.events(), [Change::Up]);
    check(Verdict::ForceDown("standby".into()));
    assert!(!origin().is_up);
    check(Verdict::ForceUp);
    assert!(origin().is_up);
}

#[tokio::test]
async fn with_all_down_there_is_nobody_and_with_one_up_there_is() {
    let work = Work::new();
    let pool = work.apply(&upstream(vec![origin(1), origin(2)]));
    bring_down(&pool, 0);
    bring_down(&pool, 1);
    assert_eq!(pick(&pool), Err(PickError::NoOrigin));
    bring_up(&pool, 1);
    assert_eq!(pick(&pool), Ok(2));
}

#[tokio::test]
async fn backups_stand_in_for_those_that_are_down_and_for_those_just_tried() {
    let work = Work::new();
    let mut backup = origin(3);
    backup.backup = true;
    let pool = work.apply(&upstream(vec![backup, origin(1), origin(2)]));
    let picks: Vec<_> = (0..4).map(|_| pick(&pool).unwrap()).collect();
    assert_eq!(picks, [1, 2, 1, 2]);
    let mut ask = PickRequest::default();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let picked = pool.pick(&ask).unwrap();
        ask.tried(picked.slot.origin_id());
        seen.push((number(&picked), picked.again));
    }
    assert_eq!(seen[..3], [(1, false), (2, false), (3, false)]);
    assert!(seen[3].1, "all have been tried");
    bring_down(&pool, 1);
    bring_down(&pool, 2);
    assert_eq!(pick(&pool), Ok(3));
}

#[tokio::test]
async fn full_origins_are_waited_for_and_not_replaced_by_backups() {
    let work = Work::new();
    let mut definition = capped(1, 1);
    let mut backup = origin(3);
    backup.backup = true;
    definition.origins.push(Arc::new(backup));
    let pool = work.apply(&definition);
    let _held = pool.pick(&PickRequest::default()).unwrap();
    assert_eq!(pick(&pool), Err(PickError::Full));
}

fn with_outlier(members: Vec<OriginDefinition>, max_ejected: u32) -> UpstreamDefinition {
    UpstreamDefinition {
        outlier: Some(OutlierPolicy {
            failures: 2,
            within: Duration::from_secs(60),
            eject: Duration::from_secs(60),
            max_ejected,
        }),
        ..upstream(members)
    }
}

/// Fails so many connections to the origin with this number.
fn fail(pool: &Arc<Pool>, n: u8, times: usize) {
    let mut failed = 0;
    for _ in 0..100 {
        let Ok(picked) = pool.pick(&PickRequest::default()) else {
            return;
        };
        if number(&picked) == n && failed < times {
            picked.slot.failed();
            failed += 1;
        }
    }
}

#[tokio::test]
async fn an_origin_that_fails_connections_is_ejected_but_never_the_last() {
    let mut work = Work::new();
    let pool = work.apply(&with_outlier(vec![origin(1), origin(2)], 100));
    fail(&pool, 1, 2);
    assert_eq!(work.events(), [Change::Ejected(Duration::from_secs(60))]);
    assert_eq!([pick(&pool), pick(&pool)], [Ok(2), Ok(2)]);
    fail(&pool, 2, 50);
    assert_eq!(work.events(), []);
    assert_eq!(pick(&pool), Ok(2));
    // When the others go down, one that is ejected is better than nobody.
    bring_down(&pool, 1);
    assert_eq!(pick(&pool), Ok(1));
}

#[tokio::test]
async fn no_more_are_ejected_than_may_be() {
    let mut work = Work::new();
    let members = (1..=4).map(origin).collect();
    let pool = work.apply(&with_outlier(members, 50));
    for n in 1..=4 {
        fail(&pool, n, 2);
    }
    assert_eq!(work.events().len(), 2);
    let pool = work.apply(&with_outlier((5..=7).map(origin).collect(), 30));
    work.events();
    fail(&pool, 5, 9);
    assert_eq!(work.events(), [], "30% of three is nobody");
}

#[tokio::test]
async fn success_in_between_keeps_an_origin() {
    let mut work = Work::new();
    let pool = work.apply(&with_outlier(vec![origin(1), origin(2)], 100));
    for _ in 0..10 {
        fail(&pool, 1, 1);
        let mut picks = std::iter::repeat_with(|| pool.pick(&PickRequest::default()).unwrap());
        let pick = picks.find(|pick| number(pick) == 1).unwrap();
        pick.slot.succeeded(None);
    }
    assert_eq!(work.events(), []);
}

#[tokio::test]
async fn state_is_carried_over_by_address_and_events_tell_who_left() {
    let mut work = Work::new();
    let pool = work.apply(&upstream(vec![origin(1), origin(2)]));
    let held = pool.pick(&PickRequest::default()).unwrap();
    bring_down(&pool, 1);
    work.events();
    let pool = work.apply(&upstream(vec![origin(2), origin(1), origin(3)]));
    assert_eq!(work.events(), [Change::Joined]);
    assert!(!status(&pool, 0).is_up);
    assert_eq!(status(&pool, 1).connections, 1);
    let pool = work.apply(&upstream(vec![origin(2)]));
    assert_eq!(work.events(), [Change::Removed, Change::Removed]);
    // It is remembered as long as it has a connection.
    let again = work.apply(&upstream(vec![origin(1), origin(2)]));
    assert_eq!(status(&again, 0).connections, 1);
    drop((held, pool));
    assert_eq!(status(&again, 0).connections, 0);
}

#[tokio::test]
async fn orders_hold_over_reloads_until_their_line_changes() {
    let work = Work::new();
    let pool = work.apply(&upstream(vec![origin(1), origin(2)]));
    assert_eq!(pool.set_admin_state("10.0.0.1:80", AdminState::Draining), 1);
    assert_eq!(pool.set_admin_state("nobody", AdminState::Draining), 0);
    assert_eq!(pool.set_weight("10.0.0.2:80", Some(9)), 1);
    assert_eq!([pick(&pool), pick(&pool)], [Ok(2), Ok(2)]);
    let pool = work.apply(&upstream(vec![origin(1), origin(2)]));
    assert_eq!([pick(&pool), pick(&pool)], [Ok(2), Ok(2)]);
    let list = work.upstreams.status();
    assert_eq!((list[0].admin, list[1].weight), (AdminState::Draining, 9));
    let mut changed = origin(1);
    changed.weight = 2;
    let pool = work.apply(&upstream(vec![changed, origin(2)]));
    assert_eq!(status(&pool, 0).admin, AdminState::Enabled);
    assert_eq!(status(&pool, 1).weight, 9, "its line is the same");
    pool.set_admin_state("10.0.0.2:80", AdminState::Disabled);
    assert_eq!([pick(&pool), pick(&pool)], [Ok(1), Ok(1)]);
    pool.set_admin_state("10.0.0.2:80", AdminState::Enabled);
    let picks: Vec<_> = (0..11).map(|_| pick(&pool).unwrap()).collect();
    assert_eq!(picks.iter().filter(|n| **n == 2).count(), 9);
}

#[tokio::test]
async fn an_origin_that_comes_up_gets_less_at_first() {
    let work = Work::new();
    let mut definition = upstream(vec![origin(1), origin(2)]);
    definition.slow_start = Some(Duration::from_secs(600));
    let pool = work.apply(&definition);
    let share = |pool: &Arc<Pool>| (0..110).filter(|_| pick(pool) == Ok(2)).count();
    assert_eq!(share(&pool), 55, "at the start all are new");
    bring_down(&pool, 1);
    bring_up(&pool, 1);
    let share = share(&pool);
    assert!((5..=15).contains(&share), "{share}");
}

#[tokio::test]
async fn a_pick_is_quick() {
    let work = Work::new();
    let pool = work.apply(&upstream((1..=10).map(origin).collect()));
    let ask = PickRequest::new(Some([127, 0, 0, 1].into()));
    let quickest = (0..50).map(|_| {
        let start = Instant::now();
        for _ in 0..1000 {
            drop(pool.pick(&ask));
        }
        start.elapsed() / 1000
    });
    // Without optimisation it takes some ten times as long as with it.
    let quickest = quickest.min().unwrap();
    assert!(quickest < Duration::from_micros(20), "{quickest:?}");
}

#[tokio::test]
async fn a_connection_waits_for_the_first_answer_over_a_reload() {
    let work = Work::new();
    let mut named = origin(1);
    named.address = Address::Host("localhost".into(), 80);
    let pool = work.apply(&upstream(vec![named.clone()]));
    assert_eq!(pick(&pool), Err(PickError::Unresolved));
    let request = PickRequest::default();
    let waits = std::cell::RefCell::new(Vec::new());
    let note = |wait| waits.borrow_mut().push(wait);
    let mut waiting = std::pin::pin!(pool.acquire(&request, note));
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("there is no answer yet"),
        () = std::future::ready(()) => {}
    }
    named.weight = 2;
    work.apply(&upstream(vec![named]));
    let address = waiting.await.unwrap().address;
    assert!(matches!(address, Address::Ip(address) if address.ip().is_loopback()));
    assert_eq!(*waits.borrow(), [Waiting::Resolver]);
}

#[tokio::test]
async fn an_equal_definition_and_another_upstream_leave_the_turn_where_it_is() {
    let work = Work::new();
    let vault = Arc::new(upstream((1..=3).map(origin).collect()));
    work.upstreams.apply([&vault].into_iter());
    let pool = work.upstreams.pool("vault").unwrap();
    assert_eq!([pick(&pool), pick(&pool)], [Ok(1), Ok(2)]);
    let equal = Arc::new(UpstreamDefinition::clone(&vault));
    let mut other = UpstreamDefinition::clone(&vault);
    other.name = "other".into();
    work.upstreams.apply([&equal, &Arc::new(other)].into_iter());
    assert!(Arc::ptr_eq(&pool, &work.upstreams.pool("vault").unwrap()));
    assert_eq!([pick(&pool), pick(&pool)], [Ok(3), Ok(1)]);
    // A changed one keeps what round robin owes to those that stay.
    let mut more = UpstreamDefinition::clone(&vault);
    more.origins.push(Arc::new(origin(4)));
    work.apply(&more);
    let picks: Vec<_> = (0..3).map(|_| pick(&pool).unwrap()).collect();
    assert_eq!(picks.iter().filter(|n| **n == 1).count(), 0, "{picks:?}");
}

#[tokio::test]
async fn a_reload_that_raises_the_limit_serves_those_that_wait() {
    let work = Work::new();
    let pool = work.apply(&capped(1, 1));
    let _first = pool.pick(&PickRequest::default()).unwrap();
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.queue(PickRequest::default()).await.map(|p| number(&p)) }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    work.apply(&capped(1, 2));
    assert_eq!(waiting.await.unwrap(), Ok(1));
}

#[tokio::test]
async fn an_upstream_that_left_the_configuration_has_no_origin() {
    let mut work = Work::new();
    let pool = work.apply(&capped(1, 1));
    let held = pool.pick(&PickRequest::default()).unwrap();
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.queue(PickRequest::default()).await.map(|p| number(&p)) }
    });
    tokio::task::yield_now().await;
    work.upstreams.apply(std::iter::empty());
    assert_eq!(waiting.await.unwrap(), Err(PickError::NoOrigin));
    assert_eq!(work.events(), [Change::Removed]);
    assert!(work.upstreams.pool("vault").is_none());
    drop(held);
    assert_eq!(pick(&pool), Err(PickError::NoOrigin));
}
