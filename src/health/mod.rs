//! Active health checks. One task on the control runtime checks each origin, over its own connections and
//! with its own TLS sessions. The pool decides what a verdict changes.
//!
//! Knows neither connections of clients nor the configuration file.

mod body;
mod check;
mod greeting;
mod io;
mod policy;
mod reach;
mod request;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

pub use self::greeting::Greeting;
pub use self::policy::{Check, HealthPolicy};
pub use self::reach::{Reached, reach};
pub use self::request::{Expect, Request, Role};
use crate::sync::Mutex;
use crate::tls::connector::Offer;
use crate::upstream::{AdminState, OriginStatus, Pool, Verdict};

/// The longest delay of the first check. Origins count as up until then, so it is short; it is random, so
/// that not all origins are checked at once.
const FIRST_MAX: Duration = Duration::from_millis(500);

/// How much earlier than due a check may run, in 1/256 of the interval: the checks of origins that were
/// resolved at the same moment drift apart.
const JITTER: u32 = 26;

/// The checkers of all upstreams.
#[derive(Debug)]
pub struct Checks {
    control: Handle,
    /// The policy of each checked upstream, by name. A checker whose sender is dropped ends after its
    /// current check.
    policies: Mutex<HashMap<Arc<str>, watch::Sender<Arc<HealthPolicy>>>>,
}

impl Checks {
    /// Without checkers; they will run on `control`.
    pub fn new(control: Handle) -> Self {
        Self {
            control,
            policies: Mutex::default(),
        }
    }

    /// Checks these upstreams from now on, and no others. A running checker takes over the new policy: its
    /// results stay, and its next check is not early.
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

/// The checker of one upstream.
#[derive(Clone)]
struct Checker {
    pool: Arc<Pool>,
    policy: watch::Receiver<Arc<HealthPolicy>>,
}

impl Checker {
    /// Runs one task for each origin of the pool.
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
                        // A task panicked: all start again, so that no origin stays unchecked.
                        tasks.shutdown().await;
                        checked.clear();
                    }
                },
            }
        }
        // Each task finishes its current check and sees that the policy is gone.
        tasks.detach_all();
    }

    /// Checks one origin, one check at a time, until it leaves the pool. Returns its id.
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
                    due = if new.is_same_check(&policy) {
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
                    self.log(&origin, &verdict, last);
                    // If the policy is gone, the upstream is not checked any more and the result is late.
                    if self.policy.has_changed().is_ok() {
                        self.pool.checked(id, verdict, policy.threshold);
                    }
                })
                .await;
                // Every second handshake is a full one: only that verifies the certificate.
                offer = match offer {
                    Offer::Nothing => Offer::Session,
                    Offer::Session => Offer::Nothing,
                };
            }
            due = last + self.pause(id, &policy);
        }
        id
    }

    /// The result of a check, for `log.level: debug`.
    fn log(&self, origin: &OriginStatus, verdict: &Verdict, since: Instant) {
        let (result, why) = match verdict {
            Verdict::Pass | Verdict::ForceUp => ("passed", None),
            Verdict::Fail(why) | Verdict::ForceDown(why) => ("failed", Some(&**why)),
        };
        debug!(
            upstream = &**self.pool.name(),
            origin = &*origin.definition.name,
            address = %origin.address,
            result,
            why,
            ms = since.elapsed().as_secs_f64() * 1000.0,
            "health check"
        );
    }

    /// The time to the next check. While the last results contradict the state of the origin it is shorter,
    /// so that the results that the threshold needs fit into one interval.
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

/// A random time up to `share` / 256 of `max`.
fn jitter(max: Duration, share: u32) -> Duration {
    let mut random = [0; 2];
    // Without random numbers, checks run at the same moment, which is only a load on the origins.
    let _ = aws_lc_rs::rand::fill(&mut random);
    max * share / 256 * u32::from(u16::from_le_bytes(random)) / 65_536
}
