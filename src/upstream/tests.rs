//! Origins, their choice and their life, as connections and checks see them.

mod ejection;
mod named;
mod queue;
mod reload;
mod states;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::transport::TcpOptions;

const THRESHOLD: Threshold = Threshold { rise: 2, fall: 2 };

pub(super) fn origin(n: u8) -> OriginDefinition {
    let address = Address::Ip(([10, 0, 0, n], 80).into());
    OriginDefinition {
        name: address.to_string().into(),
        address,
        server_name: None,
        weight: 1,
        backup: false,
        max_connections: None,
        may_be_local: true,
    }
}

pub(super) fn upstream(origins: Vec<OriginDefinition>) -> UpstreamDefinition {
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
            proxy: None,
        },
        tcp: TcpOptions {
            nodelay: true,
            keepalive: None,
            user_timeout: None,
            send_buffer: None,
            receive_buffer: None,
        },
        made_of: None,
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
