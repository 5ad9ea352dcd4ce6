//! Whether origins are fit: each is checked by one task on the control runtime, over connections and
//! TLS of the checks' own. What a check finds goes to the upstream, which decides what it means.
//!
//! Knows nothing of connections of clients, nor of the configuration file.

mod check;
mod io;
mod request;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

pub use self::request::{Expect, Request, Role};
use crate::tls::connector::{Offer, TlsConnector};
use crate::transport::TcpOptions;
use crate::upstream::{Group, Member, Order, Threshold};

/// The first checks come soon, as origins are taken for well until then, but not all at once.
const FIRST_MAX: Duration = Duration::from_millis(500);

/// How much earlier than due a check may come, in 1/256 of the interval: origins that were found at
/// the same moment are not checked at the same moment for ever.
const JITTER: u32 = 26;

/// How the origins of an upstream are checked.
#[derive(Debug)]
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
#[derive(Debug)]
pub enum Check {
    /// A connection, and TLS over it where there is any.
    Connect,
    /// A request.
    Http(Request),
}

/// The checks of the process.
#[derive(Debug)]
pub struct Checks {
    control: Handle,
    /// Those that run stop when this is dropped, after the check that they are at.
    running: Mutex<Option<watch::Sender<()>>>,
}

impl Checks {
    /// None yet; they run on `control`.
    pub fn new(control: Handle) -> Self {
        Self {
            control,
            running: Mutex::default(),
        }
    }

    /// Checks these upstreams from now on, and no others. What was found so far stays with the origins.
    pub fn apply<'a>(
        &self,
        upstreams: impl Iterator<Item = (&'a Arc<Group>, Option<&'a Arc<HealthPolicy>>)>,
    ) {
        let (running, stop) = watch::channel(());
        for (group, policy) in upstreams {
            match policy {
                Some(policy) => {
                    let round = Checker {
                        group: Arc::clone(group),
                        policy: Arc::clone(policy),
                        stop: stop.clone(),
                    };
                    self.control.spawn(round.watch_over());
                }
                None => group.unchecked(),
            }
        }
        let mut current = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some(running);
    }
}

/// The checks of one upstream.
#[derive(Clone)]
struct Checker {
    group: Arc<Group>,
    policy: Arc<HealthPolicy>,
    stop: watch::Receiver<()>,
}

impl Checker {
    /// Keeps one task for each origin, as long as it is one.
    async fn watch_over(mut self) {
        let mut changes = self.group.changes();
        let mut tasks = JoinSet::new();
        let mut checked = HashSet::new();
        loop {
            for member in self.group.members() {
                if checked.insert(member.state.id()) {
                    tasks.spawn(self.clone().check_loop(member));
                }
            }
            tokio::select! {
                _ = self.stop.changed() => break,
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
        // They have been told as well, and finish what they are at.
        tasks.detach_all();
    }

    /// Checks one origin again and again, one check at a time, until it is no origin any more.
    async fn check_loop(mut self, member: Member) -> u64 {
        let mut due = Instant::now() + part(FIRST_MAX.min(self.policy.interval / 4), 256);
        let mut offer = Offer::Nothing;
        loop {
            tokio::select! {
                biased;
                _ = self.stop.changed() => break,
                () = sleep_until(due) => {}
            }
            if !self.group.has(&member) {
                break;
            }
            due = Instant::now();
            if member.state.order() != Order::Disable {
                let verdict = check::run(&self.policy, &member, offer, |verdict| {
                    let Self {
                        group,
                        policy,
                        stop,
                    } = &self;
                    // Other checks, or none, are in force: this one came too late.
                    if stop.has_changed().is_err() {
                        return;
                    }
                    group.checked(&member, verdict, policy.threshold);
                });
                verdict.await;
                // In turn as connections do it, and in full, where the certificate is looked at.
                offer = match offer {
                    Offer::Nothing => Offer::Session,
                    Offer::Session => Offer::Nothing,
                };
            }
            due += self.pause(&member);
        }
        member.state.id()
    }

    /// The time from one check to the next. As long as the last results contradict what the origin is
    /// taken for, they come faster: what it takes to be sure fits into one interval.
    fn pause(&self, member: &Member) -> Duration {
        let HealthPolicy {
            interval,
            threshold,
            ..
        } = &*self.policy;
        let pause = match (member.state.is_in_doubt(), member.state.is_down()) {
            (false, _) => *interval,
            (true, true) => *interval / threshold.rise.max(1),
            (true, false) => *interval / threshold.fall.max(1),
        };
        pause - part(pause, JITTER)
    }
}

/// A random part of `most`, up to `share` of 256.
fn part(most: Duration, share: u32) -> Duration {
    let mut random = [0; 2];
    // Without randomness they come at the same moment, which is no harm but to the origins.
    let _ = aws_lc_rs::rand::fill(&mut random);
    most * share / 256 * u32::from(u16::from_le_bytes(random)) / 65_536
}
