//! When checks come: with real sockets, on a clock that jumps to the next timer when nothing else is to be
//! done.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;

use super::{Check, Checks, FIRST_MAX, HealthPolicy};
use crate::transport::TcpOptions;
use crate::upstream::{
    Address, Balance, ConnectPolicy, OnGone, OriginDefinition, Threshold, UpstreamDefinition,
    Upstreams,
};

const HOUR: Duration = Duration::from_secs(3600);

const TCP: TcpOptions = TcpOptions {
    nodelay: true,
    keepalive: None,
    user_timeout: None,
    send_buffer: None,
    receive_buffer: None,
};

/// An origin that counts its checks, in an upstream of its own.
struct Checked {
    listener: TcpListener,
    definition: Arc<UpstreamDefinition>,
}

impl Checked {
    fn new(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = Address::Ip(listener.local_addr().unwrap());
        let origin = OriginDefinition {
            name: address.to_string().into(),
            address,
            server_name: None,
            weight: 1,
            backup: false,
            max_connections: None,
            may_be_local: true,
        };
        let definition = Arc::new(UpstreamDefinition {
            name: name.into(),
            origins: vec![Arc::new(origin)],
            balance: Balance::RoundRobin,
            slow_start: None,
            outlier: None,
            on_gone: OnGone::Keep,
            connect: ConnectPolicy {
                timeout: Duration::from_secs(1),
                attempts: 1,
                queue: None,
                queue_timeout: Duration::from_secs(1),
                sources: Vec::new(),
                proxy: None,
            },
            tcp: TCP,
            made_of: None,
        });
        Self {
            listener,
            definition,
        }
    }

    /// How many checks have come since the last call.
    fn checks(&self) -> usize {
        std::iter::from_fn(|| self.listener.accept().ok()).count()
    }
}

/// A check once an hour that sends a byte: a connection without one is not accepted.
fn hourly() -> HealthPolicy {
    HealthPolicy {
        negotiate: None,
        tunnel: None,
        check: Check::Connect,
        tls: None,
        opening: b"\n",
        port: None,
        interval: HOUR,
        timeout: Duration::from_secs(1),
        threshold: Threshold { rise: 1, fall: 1 },
        close: false,
        tcp: TCP,
        sources: Vec::new(),
    }
}

struct Process {
    upstreams: Upstreams,
    checks: Checks,
}

impl Process {
    fn new() -> Self {
        Self {
            upstreams: Upstreams::new(Handle::current()).0,
            checks: Checks::new(Handle::current()),
        }
    }

    /// As a reload does it.
    fn apply<const N: usize>(&self, origins: [(&Checked, HealthPolicy); N]) {
        let definitions = origins.iter().map(|(checked, _)| &checked.definition);
        self.upstreams.apply(definitions);
        self.checks
            .apply(origins.into_iter().map(|(checked, policy)| {
                let pool = self.upstreams.pool(&checked.definition.name).unwrap();
                (pool, Some(Arc::new(policy)))
            }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_makes_no_check_early_or_late() {
    let origin = Checked::new("a");
    let process = Process::new();
    process.apply([(&origin, hourly())]);
    sleep(FIRST_MAX * 2).await;
    assert_eq!(origin.checks(), 1, "the first comes soon");
    process.apply([(&origin, hourly())]);
    sleep(HOUR / 2).await;
    let patient = HealthPolicy {
        timeout: Duration::from_secs(2),
        ..hourly()
    };
    process.apply([(&origin, patient)]);
    sleep(HOUR / 4).await;
    assert_eq!(origin.checks(), 0, "the next one is not due");
    sleep(HOUR / 4).await;
    assert_eq!(origin.checks(), 1, "the next one was due");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_a_reload_adds_is_checked_soon_and_no_other() {
    let (old, new) = (Checked::new("old"), Checked::new("new"));
    let process = Process::new();
    process.apply([(&old, hourly())]);
    sleep(FIRST_MAX * 2).await;
    assert_eq!(old.checks(), 1);
    process.apply([(&old, hourly()), (&new, hourly())]);
    sleep(FIRST_MAX * 2).await;
    assert_eq!((old.checks(), new.checks()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_check_that_asks_something_else_comes_soon() {
    let (origin, other) = (Checked::new("a"), Checked::new("b"));
    let process = Process::new();
    process.apply([(&origin, hourly())]);
    sleep(FIRST_MAX * 2).await;
    assert_eq!(origin.checks(), 1);
    let elsewhere = HealthPolicy {
        port: Some(other.listener.local_addr().unwrap().port()),
        ..hourly()
    };
    process.apply([(&origin, elsewhere)]);
    sleep(FIRST_MAX * 2).await;
    assert_eq!((origin.checks(), other.checks()), (0, 1));
}
