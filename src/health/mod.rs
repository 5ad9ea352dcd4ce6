//! Whether origins are fit: each is checked by one task on the control runtime, over connections and
//! TLS of the checks' own. What a check finds goes to the upstream, which decides what it means.
//!
//! Knows nothing of connections of clients, nor of the configuration file.

mod check;
mod io;
mod request;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

pub use self::request::{Expect, Request, Role};
use crate::sync::Mutex;
use crate::tls::connector::{Offer, TlsConnector};
use crate::transport::TcpOptions;
use crate::upstream::{AdminState, Pool, Threshold};

/// The first checks come soon, as origins are taken for well until then, but not all at once.
const FIRST_MAX: Duration = Duration::from_millis(500);

/// How much earlier than due a check may come, in 1/256 of the interval: origins that were found at
/// the same moment are not checked at the same moment for ever.
const JITTER: u32 = 26;

/// How the origins of an upstream are checked.
#[derive(Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    /// What is done.
    pub check: Check,
    /// The TLS of the checks; absent where they are plain. It is theirs alone: no session of a check is
    /// ever resumed by a client's connection, nor the other way round.
    pub tls: Option<TlsConnector>,
    /// What is sent before all else: a PROXY header, or nothing.
    pub opening: &'static [u8],
    /// The port, where it is not the origin's own.
    pub port: Option<u16>,
    /// From one check to the next.
    pub interval: Duration,
    /// How long a check may take.
    pub timeout: Duration,
    /// How many in a row are believed.
    pub threshold: Threshold,
    /// Whether the connections to an origin that is down are closed.
    pub close: bool,
    /// Options of the sockets.
    pub tcp: TcpOptions,
    /// The addresses to check from; empty leaves it to the kernel.
    pub sources: Vec<IpAddr>,
}

/// What is done to check an origin.
#[derive(Debug, PartialEq, Eq)]
pub enum Check {
    /// A connection, and TLS over it where there is any.
    Connect,
    /// A request.
    Http(Request),
}

impl HealthPolicy {
    /// Whether an origin is asked the same as by `other`; the TLS of a renewed certificate aside.
    fn asks_the_same(&self, other: &Self) -> bool {
        self.check == other.check
            && self.tls.is_some() == other.tls.is_some()
            && (self.opening, self.port) == (other.opening, other.port)
    }
}

/// The checks of the process.
#[derive(Debug)]
pub struct Checks {
    control: Handle,
    /// The policy of each upstream that is checked, by the upstream's name. Its checker ends with it,
    /// after the check that it is at.
    policies: Mutex<HashMap<Arc<str>, watch::Sender<Arc<HealthPolicy>>>>,
}

impl Checks {
    /// None yet; they run on `control`.
    pub fn new(control: Handle) -> Self {
        Self {
            control,
            policies: Mutex::default(),
        }
    }

    /// Checks these upstreams from now on, and no others. A checker that is at work goes on with the
    /// policy of today: what it found stays, and its next check is not early.
    pub fn apply(&self, upstreams: impl Iterator<Item = (Arc<Pool>, Option<Arc<HealthPolicy>>)>) {
        let mut policies = self.policies.lock();
        let mut old = std::mem::take(&mut *policies);
        for (pool, policy) in upstreams {
            let Some(policy) = policy else {
                pool.unchecked();
                continue;
            };
            let name = Arc::clone(pool.name());
            let sender = match old.remove(&name) {
                Some(sender) => {
                    sender.send_if_modified(|current| {
                        let is_new = !Arc::ptr_eq(current, &policy);
                        *current = policy;
                        is_new
                    });
                    sender
                }
                None => {
                    let (sender, policy) = watch::channel(policy);
                    self.control.spawn(Checker { pool, policy }.run());
                    sender
                }
            };
            policies.insert(name, sender);
        }
    }
}

/// The checks of one upstream.
#[derive(Clone)]
struct Checker {
    pool: Arc<Pool>,
    policy: watch::Receiver<Arc<HealthPolicy>>,
}

impl Checker {
    /// Keeps one task for each origin, as long as it is one.
    async fn run(mut self) {
        let mut changes = self.pool.changes();
        let mut tasks = JoinSet::new();
        let mut checked = HashSet::new();
        loop {
            for origin in self.pool.status() {
                if origin.unresolved.is_none() && checked.insert(origin.id) {
                    tasks.spawn(self.clone().check_loop(origin.id));
                }
            }
            tokio::select! {
                changed = self.policy.changed() => if changed.is_err() {
                    break;
                },
                changed = changes.changed() => if changed.is_err() {
                    break;
                },
                Some(ended) = tasks.join_next() => match ended {
                    Ok(id) => drop(checked.remove(&id)),
                    Err(_) => {
                        // A defect of ours must not leave an origin unchecked.
                        tasks.shutdown().await;
                        checked.clear();
                    }
                },
            }
        }
        // They see that the policy is gone, too, and finish the check that they are at.
        tasks.detach_all();
    }

    /// Checks one origin again and again, one check at a time, until it left the pool.
    async fn check_loop(mut self, id: u64) -> u64 {
        let mut policy = Arc::clone(&self.policy.borrow_and_update());
        let mut last = Instant::now();
        let mut due = last + jitter(FIRST_MAX.min(policy.interval / 4), 256);
        let mut offer = Offer::Nothing;
        loop {
            tokio::select! {
                biased;
                changed = self.policy.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let new = Arc::clone(&self.policy.borrow_and_update());
                    due = if new.asks_the_same(&policy) {
                        due.min(last + new.interval)
                    } else {
                        Instant::now() + jitter(FIRST_MAX.min(new.interval / 4), 256)
                    };
                    policy = new;
                    continue;
                }
                () = sleep_until(due) => {}
            }
            let Some(origin) = self.pool.origin(id) else {
                break;
            };
            last = Instant::now();
            if origin.admin != AdminState::Disabled {
                check::run(&policy, &origin, offer, |verdict| {
                    // Nothing checks it any more: this result is late.
                    if self.policy.has_changed().is_ok() {
                        self.pool.checked(id, verdict, policy.threshold);
                    }
                })
                .await;
                // In turn as connections do it, and in full, where the certificate is looked at.
                offer = match offer {
                    Offer::Nothing => Offer::Session,
                    Offer::Session => Offer::Nothing,
                };
            }
            due = last + self.pause(id, &policy);
        }
        id
    }

    /// The time from one check to the next. While the last results contradict the state of the origin,
    /// they come faster: what it takes to be sure fits into one interval.
    fn pause(&self, id: u64, policy: &HealthPolicy) -> Duration {
        let HealthPolicy {
            interval,
            threshold,
            ..
        } = policy;
        let origin = self.pool.origin(id);
        let pause = match origin.map(|origin| (origin.is_in_doubt, origin.is_up)) {
            Some((true, false)) => *interval / threshold.rise.max(1),
            Some((true, true)) => *interval / threshold.fall.max(1),
            Some((false, _)) | None => *interval,
        };
        pause - jitter(pause, JITTER)
    }
}

/// A random part of `most`, up to `share` of 256.
fn jitter(most: Duration, share: u32) -> Duration {
    let mut random = [0; 2];
    // Without randomness they come at the same moment, which is no harm but to the origins.
    let _ = aws_lc_rs::rand::fill(&mut random);
    most * share / 256 * u32::from(u16::from_le_bytes(random)) / 65_536
}
