//! Origins, their choice and their life, as connections and checks see them.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;

const THRESHOLD: Threshold = Threshold { rise: 2, fall: 2 };

fn origin(n: u8) -> Origin {
    let address = Address::Ip(([10, 0, 0, n], 80).into());
    Origin {
        name: address.to_string().into(),
        address,
        server_name: None,
        weight: 1,
        backup: false,
        connections: None,
    }
}

fn origins(members: Vec<Origin>) -> Origins {
    Origins {
        name: "vault".into(),
        members: members.into_iter().map(Arc::new).collect(),
        balance: Balance::RoundRobin,
        slow_start: None,
        passive: None,
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
        group: OnceLock::new(),
    }
}

/// `count` origins with room for `cap` connections each.
fn capped(count: u8, cap: usize) -> Origins {
    let capped = |n| Origin {
        connections: Some(cap),
        ..origin(n)
    };
    origins((1..=count).map(capped).collect())
}

struct Work {
    roster: Roster,
    news: UnboundedReceiver<OriginEvent>,
}

impl Work {
    fn new() -> Self {
        let (roster, news) = Roster::new(Handle::current());
        Self { roster, news }
    }

    fn apply(&self, origins: &Origins) -> Arc<Group> {
        self.roster.apply([origins].into_iter());
        Arc::clone(origins.group.get().unwrap())
    }

    fn news(&mut self) -> Vec<Change> {
        std::iter::from_fn(|| self.news.try_recv().ok())
            .map(|event| event.change)
            .collect()
    }
}

/// The last byte of the address of the one that is picked.
fn pick(group: &Arc<Group>) -> Result<u8, Unpicked> {
    group.pick(&Ask::default()).map(|picked| number(&picked))
}

fn number(picked: &Picked) -> u8 {
    match picked.address {
        Address::Ip(address) => match address.ip() {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(_) => 0,
        },
        _ => 0,
    }
}

fn member(group: &Group, n: usize) -> Member {
    group.members()[n].clone()
}

fn bring_down(group: &Group, n: usize) {
    for _ in 0..THRESHOLD.fall {
        group.checked(&member(group, n), Verdict::Unwell("x".into()), THRESHOLD);
    }
}

fn bring_up(group: &Group, n: usize) {
    for _ in 0..THRESHOLD.rise {
        group.checked(&member(group, n), Verdict::Well, THRESHOLD);
    }
}

#[tokio::test]
async fn counters_equal_a_recount_after_churn() {
    const CAP: usize = 7;
    let work = Work::new();
    let mut origins = capped(4, CAP);
    origins.balance = Balance::LeastConnections;
    let group = work.apply(&origins);
    let threads: Vec<_> = (0..4_usize)
        .map(|thread| {
            let group = Arc::clone(&group);
            std::thread::spawn(move || {
                let mut held = Vec::new();
                for round in 0..20_000_usize {
                    if let Ok(picked) = group.pick(&Ask::default()) {
                        held.push(picked);
                    }
                    for member in group.members() {
                        assert!(member.state.live() <= CAP);
                    }
                    if held.len() > (round * 7 + thread) % 9 {
                        held.swap_remove(round % held.len());
                    }
                }
                held
            })
        })
        .collect();
    let mut held: Vec<Picked> = Vec::new();
    for thread in threads {
        held.extend(thread.join().unwrap());
    }
    for member in group.members() {
        let count = held.iter().filter(|p| p.address == member.address).count();
        assert_eq!(member.state.live(), count);
    }
    held.clear();
    assert!(
        group
            .members()
            .iter()
            .all(|member| member.state.live() == 0)
    );
}

#[tokio::test]
async fn the_queue_is_served_in_order_and_nobody_overtakes() {
    let work = Work::new();
    let group = work.apply(&capped(1, 1));
    let first = group.pick(&Ask::default()).unwrap();
    let wait = |group: &Arc<Group>| {
        let group = Arc::clone(group);
        tokio::spawn(async move {
            group
                .queue(Ask::default())
                .await
                .map(|picked| number(&picked))
        })
    };
    let (second, third) = (wait(&group), wait(&group));
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    assert_eq!(pick(&group), Err(Unpicked::Full));
    drop(first);
    assert_eq!(pick(&group), Err(Unpicked::Full), "there is one who waits");
    // Each gives its place back at once.
    assert_eq!(second.await.unwrap(), Ok(1));
    assert_eq!(third.await.unwrap(), Ok(1));
    assert_eq!(pick(&group), Ok(1));
}

#[tokio::test]
async fn who_waits_for_another_origin_holds_nobody_up() {
    let work = Work::new();
    let group = work.apply(&capped(2, 1));
    let first = group.pick(&Ask::default()).unwrap();
    let other = group.pick(&Ask::default()).unwrap();
    let mut tried = Ask::default();
    tried.tried(first.held.state());
    let waiting = tokio::spawn({
        let group = Arc::clone(&group);
        async move { group.queue(tried).await.map(|picked| number(&picked)) }
    });
    tokio::task::yield_now().await;
    let (free, awaited) = (number(&first), number(&other));
    drop(first);
    assert_eq!(pick(&group), Ok(free), "it suits nobody who waits");
    drop(other);
    assert_eq!(waiting.await.unwrap(), Ok(awaited));
}

#[tokio::test]
async fn the_queue_has_an_end_and_a_time() {
    let work = Work::new();
    let mut origins = capped(1, 1);
    origins.connect.queue = Some(1);
    origins.connect.queue_timeout = Duration::from_millis(50);
    let group = work.apply(&origins);
    let first = group.pick(&Ask::default()).unwrap();
    let (second, third) = tokio::join!(group.queue(Ask::default()), group.queue(Ask::default()));
    assert_eq!(second.unwrap_err(), Unpicked::QueueTimeout);
    assert_eq!(third.unwrap_err(), Unpicked::QueueFull);
    drop(first);
    // Who has given up takes no place.
    assert_eq!(pick(&group), Ok(1));
    assert_eq!(member(&group, 0).state.live(), 0);
}

#[tokio::test]
async fn who_waits_is_told_when_nobody_is_left() {
    let work = Work::new();
    let group = work.apply(&capped(1, 1));
    let _first = group.pick(&Ask::default()).unwrap();
    let waiting = Arc::clone(&group);
    let waiting = tokio::spawn(async move { waiting.queue(Ask::default()).await });
    tokio::task::yield_now().await;
    bring_down(&group, 0);
    assert_eq!(waiting.await.unwrap().unwrap_err(), Unpicked::NoOrigin);
}

#[tokio::test]
async fn checks_are_believed_after_so_many_and_a_role_at_once() {
    let mut work = Work::new();
    let group = work.apply(&origins(vec![origin(1), origin(2)]));
    let first = member(&group, 0);
    let check = |verdict| group.checked(&first, verdict, THRESHOLD);
    check(Verdict::Unwell("a".into()));
    check(Verdict::Well);
    check(Verdict::Unwell("b".into()));
    assert!(!first.state.is_down() && first.state.is_in_doubt());
    check(Verdict::Unwell("c".into()));
    let down = Change::Down { why: "c".into() };
    assert_eq!(work.news(), [down]);
    assert_eq!([pick(&group), pick(&group)], [Ok(2), Ok(2)]);
    check(Verdict::Well);
    assert!(first.state.is_down());
    check(Verdict::Well);
    assert_eq!(work.news(), [Change::Up]);
    check(Verdict::Unwilling("standby".into()));
    assert!(first.state.is_down());
    check(Verdict::Willing);
    assert!(!first.state.is_down());
}

#[tokio::test]
async fn with_all_down_there_is_nobody_and_with_one_up_there_is() {
    let work = Work::new();
    let group = work.apply(&origins(vec![origin(1), origin(2)]));
    bring_down(&group, 0);
    bring_down(&group, 1);
    assert_eq!(pick(&group), Err(Unpicked::NoOrigin));
    bring_up(&group, 1);
    assert_eq!(pick(&group), Ok(2));
}

#[tokio::test]
async fn backups_stand_in_for_those_that_are_down_and_for_those_just_tried() {
    let work = Work::new();
    let mut backup = origin(3);
    backup.backup = true;
    let group = work.apply(&origins(vec![backup, origin(1), origin(2)]));
    let picks: Vec<_> = (0..4).map(|_| pick(&group).unwrap()).collect();
    assert_eq!(picks, [1, 2, 1, 2]);
    let mut ask = Ask::default();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let picked = group.pick(&ask).unwrap();
        ask.tried(picked.held.state());
        seen.push((number(&picked), picked.again));
    }
    assert_eq!(seen[..3], [(1, false), (2, false), (3, false)]);
    assert!(seen[3].1, "all have been tried");
    bring_down(&group, 1);
    bring_down(&group, 2);
    assert_eq!(pick(&group), Ok(3));
}

#[tokio::test]
async fn full_origins_are_waited_for_and_not_replaced_by_backups() {
    let work = Work::new();
    let mut origins = capped(1, 1);
    let mut backup = origin(3);
    backup.backup = true;
    origins.members.push(Arc::new(backup));
    let group = work.apply(&origins);
    let _held = group.pick(&Ask::default()).unwrap();
    assert_eq!(pick(&group), Err(Unpicked::Full));
}

fn with_passive(members: Vec<Origin>, max_ejected: u32) -> Origins {
    Origins {
        passive: Some(PassivePolicy {
            failures: 2,
            within: Duration::from_secs(60),
            eject: Duration::from_secs(60),
            max_ejected,
        }),
        ..origins(members)
    }
}

/// Fails so many connections to the origin with this number.
fn fail(group: &Arc<Group>, n: u8, times: usize) {
    let mut failed = 0;
    for _ in 0..100 {
        let Ok(picked) = group.pick(&Ask::default()) else {
            return;
        };
        if number(&picked) == n && failed < times {
            group.failed(&picked.origin, &picked.held);
            failed += 1;
        }
    }
}

#[tokio::test]
async fn an_origin_that_fails_connections_is_ejected_but_never_the_last() {
    let mut work = Work::new();
    let group = work.apply(&with_passive(vec![origin(1), origin(2)], 100));
    fail(&group, 1, 2);
    assert_eq!(work.news(), [Change::Ejected(Duration::from_secs(60))]);
    assert_eq!([pick(&group), pick(&group)], [Ok(2), Ok(2)]);
    fail(&group, 2, 50);
    assert_eq!(work.news(), []);
    assert_eq!(pick(&group), Ok(2));
    // When the others go down, one that is ejected is better than nobody.
    bring_down(&group, 1);
    assert_eq!(pick(&group), Ok(1));
}

#[tokio::test]
async fn no_more_are_ejected_than_may_be() {
    let mut work = Work::new();
    let members = (1..=4).map(origin).collect();
    let group = work.apply(&with_passive(members, 50));
    for n in 1..=4 {
        fail(&group, n, 2);
    }
    assert_eq!(work.news().len(), 2);
    let group = work.apply(&with_passive((5..=7).map(origin).collect(), 30));
    work.news();
    fail(&group, 5, 9);
    assert_eq!(work.news(), [], "30% of three is nobody");
}

#[tokio::test]
async fn success_in_between_keeps_an_origin() {
    let mut work = Work::new();
    let group = work.apply(&with_passive(vec![origin(1), origin(2)], 100));
    for _ in 0..10 {
        fail(&group, 1, 1);
        group.succeeded(&member(&group, 0).state.take().unwrap(), None);
    }
    assert_eq!(work.news(), []);
}

#[tokio::test]
async fn state_is_carried_over_by_address_and_events_tell_who_left() {
    let mut work = Work::new();
    let group = work.apply(&origins(vec![origin(1), origin(2)]));
    let held = group.pick(&Ask::default()).unwrap();
    bring_down(&group, 1);
    work.news();
    let group = work.apply(&origins(vec![origin(2), origin(1), origin(3)]));
    assert_eq!(work.news(), [Change::Joined]);
    assert!(member(&group, 0).state.is_down());
    assert_eq!(member(&group, 1).state.live(), 1);
    let group = work.apply(&origins(vec![origin(2)]));
    assert_eq!(work.news(), [Change::Removed, Change::Removed]);
    // It is remembered as long as it has a connection.
    let group_with = work.apply(&origins(vec![origin(1), origin(2)]));
    assert_eq!(member(&group_with, 0).state.live(), 1);
    drop((held, group));
    assert_eq!(member(&group_with, 0).state.live(), 0);
}

#[tokio::test]
async fn orders_hold_over_reloads_until_their_line_changes() {
    let work = Work::new();
    let group = work.apply(&origins(vec![origin(1), origin(2)]));
    assert_eq!(work.roster.order("vault", "10.0.0.1:80", Order::Drain), 1);
    assert_eq!(work.roster.order("vault", "nobody", Order::Drain), 0);
    assert_eq!(work.roster.set_weight("vault", "10.0.0.2:80", Some(9)), 1);
    assert_eq!([pick(&group), pick(&group)], [Ok(2), Ok(2)]);
    let group = work.apply(&origins(vec![origin(1), origin(2)]));
    assert_eq!([pick(&group), pick(&group)], [Ok(2), Ok(2)]);
    let list = work.roster.list();
    assert_eq!((list[0].order, list[1].weight), (Order::Drain, 9));
    let mut changed = origin(1);
    changed.weight = 2;
    let group = work.apply(&origins(vec![changed, origin(2)]));
    assert_eq!(member(&group, 0).state.order(), Order::Enable);
    assert_eq!(member(&group, 1).weight(), 9, "its line is the same");
    work.roster.order("vault", "10.0.0.2:80", Order::Disable);
    assert_eq!([pick(&group), pick(&group)], [Ok(1), Ok(1)]);
    work.roster.order("vault", "10.0.0.2:80", Order::Enable);
    let picks: Vec<_> = (0..11).map(|_| pick(&group).unwrap()).collect();
    assert_eq!(picks.iter().filter(|n| **n == 2).count(), 9);
}

#[tokio::test]
async fn an_origin_that_comes_up_gets_less_at_first() {
    let work = Work::new();
    let mut origins = origins(vec![origin(1), origin(2)]);
    origins.slow_start = Some(Duration::from_secs(600));
    let group = work.apply(&origins);
    let share = |group: &Arc<Group>| (0..110).filter(|_| pick(group) == Ok(2)).count();
    assert_eq!(share(&group), 55, "at the start all are new");
    bring_down(&group, 1);
    bring_up(&group, 1);
    let share = share(&group);
    assert!((5..=15).contains(&share), "{share}");
}

#[tokio::test]
async fn a_pick_is_quick() {
    let work = Work::new();
    let group = work.apply(&origins((1..=10).map(origin).collect()));
    let ask = Ask::new(Some([127, 0, 0, 1].into()));
    let quickest = (0..50).map(|_| {
        let start = Instant::now();
        for _ in 0..1000 {
            drop(group.pick(&ask));
        }
        start.elapsed() / 1000
    });
    // Without optimisation it takes some ten times as long as with it.
    let quickest = quickest.min().unwrap();
    assert!(quickest < Duration::from_micros(20), "{quickest:?}");
}

#[tokio::test]
async fn a_connection_of_an_older_configuration_is_told_of_answers_too() {
    let work = Work::new();
    let mut named = origin(1);
    named.address = Address::Host("localhost".into(), 80);
    let older = work.apply(&origins(vec![named.clone()]));
    let newer = work.apply(&origins(vec![named]));
    assert_eq!(pick(&older), Err(Unpicked::Unresolved));
    let ask = Ask::default();
    let (older, newer) = tokio::join!(older.resolved(&ask), newer.resolved(&ask));
    let address = older.unwrap().address;
    assert_eq!(newer.unwrap().address, address);
    assert!(matches!(address, Address::Ip(address) if address.ip().is_loopback()));
}
