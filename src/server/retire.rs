//! What a new configuration means for connections that are older than it.
//!
//! A connection keeps the snapshot it was born with, but for two things: what has left the
//! configuration is drained, and whom the policy of today no longer admits does not stay.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use tokio::time::Instant;
use tracing::warn;

use crate::connection::Facts;
use crate::lifecycle::{Entry, Order, Register};
use crate::outcome::Reason;
use crate::snapshot::{DrainPolicy, Route, Snapshot};
use crate::tls::client_auth::{AtExpiry, Recheck};

/// Closing because of a certificate takes no longer than this, for all connections together.
const RECHECK_SPREAD: Duration = Duration::from_secs(10);

/// So many connections are closed at once.
const HANDFUL: usize = 16;

/// Idle connections end no slower than this one after the other, where the window has room.
const PACE: Duration = Duration::from_millis(20);

type Connection = Arc<Entry<Facts>>;

/// How connections drain that nothing waits for any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// How long it takes at most.
    pub(super) length: Duration,
    /// A connection without a byte for so long ends first.
    pub(super) idle_after: Duration,
}

impl Window {
    /// The window of what left the configuration.
    pub(super) const fn removed(policy: &DrainPolicy) -> Self {
        Self {
            length: policy.removed,
            idle_after: policy.idle_after,
        }
    }

    /// The window of a stop.
    pub(super) const fn stop(policy: &DrainPolicy) -> Self {
        Self {
            length: policy.stop,
            idle_after: policy.idle_after,
        }
    }

    /// Tells connections to end when they are idle: those that are already, one after the other.
    pub(super) fn drain(self, connections: &[Connection]) {
        let now = Instant::now();
        let is_idle = |c: &&Connection| c.leash.idle() >= self.idle_after;
        let idle = connections.iter().filter(is_idle).count();
        let pace = self.length.mul_f32(0.75) / u32::try_from(idle.max(1)).unwrap_or(u32::MAX);
        let mut from = now;
        for connection in connections {
            connection.leash.tell(Order::Drain {
                idle_after: self.idle_after,
                from: if is_idle(&connection) { from } else { now },
            });
            if is_idle(&connection) {
                from += pace.min(PACE);
            }
        }
    }
}

/// Older connections, until all of them are settled.
#[derive(Debug, Default)]
pub(super) struct Retirement {
    /// When those that drain are cut, by the generation that they are older than.
    due: Vec<(u64, Instant)>,
}

impl Retirement {
    /// A new generation is live: what it left out drains from now on.
    pub(super) fn begin(&mut self, snapshot: &Snapshot) {
        let deadline = Instant::now() + snapshot.process.drain.removed;
        self.due.push((snapshot.generation, deadline));
    }

    /// Drains what left the configuration, and cuts it in the end. Connections that were not
    /// established when the generation changed are found by a later call.
    pub(super) fn proceed(&mut self, register: &Register<Facts>, snapshot: &Snapshot) {
        if self.due.is_empty() {
            return;
        }
        let now = Instant::now();
        let overdue = self.due.iter().filter(|(_, deadline)| *deadline <= now);
        let overdue = overdue
            .map(|(generation, _)| *generation)
            .max()
            .unwrap_or(0);
        self.due.retain(|(_, deadline)| *deadline > now);
        let kept = Kept::of(snapshot);
        let mut drains = Vec::new();
        register.each(|connection| {
            let facts = &connection.facts;
            if facts.generation >= snapshot.generation || kept.has(facts) {
                return;
            }
            if facts.generation < overdue {
                connection.leash.tell(Order::End {
                    reason: Reason::Drain,
                    at: now,
                });
            } else if connection.leash.order().is_none() {
                drains.push(Arc::clone(connection));
            }
        });
        Window::removed(&snapshot.process.drain).drain(&drains);
    }
}

/// What a snapshot has, by names.
struct Kept<'a> {
    snapshot: &'a Snapshot,
    origins: HashSet<(&'a str, &'a str)>,
}

impl<'a> Kept<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let endpoints = snapshot.endpoints.iter();
        let routes = endpoints.flat_map(|endpoint| endpoint.routes.iter());
        let origins = routes.flat_map(|route| {
            let origins = &route.upstream.origins;
            let names = origins.members.iter().map(|origin| &*origin.name);
            names.map(|name| (&*origins.name, name))
        });
        Self {
            snapshot,
            origins: origins.collect(),
        }
    }

    /// Whether endpoint, route and origin of a connection are still there.
    fn has(&self, facts: &Facts) -> bool {
        let record = &facts.record;
        let origin = record.upstream.as_deref().zip(record.origin.as_deref());
        route_of(facts, self.snapshot).is_some()
            && origin.is_none_or(|origin| self.origins.contains(&origin))
    }
}

fn route_of<'a>(facts: &Facts, snapshot: &'a Snapshot) -> Option<&'a Arc<Route>> {
    let endpoint = snapshot.endpoint(&facts.record.endpoint)?;
    endpoint.route(facts.record.route.as_deref()?)
}

/// Asks the policy of today about connections that are older, each once. Those whom it does not admit
/// are closed, where it says so. How many that are is returned.
pub(super) fn recheck(register: &Register<Facts>, snapshot: &Snapshot) -> usize {
    let now = UnixTime::now();
    let mut older = Vec::new();
    register.each(|connection| {
        let checked = &connection.facts.checked;
        if checked.swap(snapshot.generation, Ordering::Relaxed) < snapshot.generation {
            older.push(Arc::clone(connection));
        }
    });
    let mut closed = Vec::new();
    for connection in older {
        let facts = &connection.facts;
        let Some(route) = route_of(facts, snapshot) else {
            continue;
        };
        let policy = route.mode.server_side().map(|side| side.judge().recheck());
        match (policy, facts.admitted_by(route, now)) {
            (None | Some(Recheck::Off), _) | (_, Ok(())) => {}
            (Some(Recheck::Log), Err(reason)) => note(&connection, reason),
            (Some(Recheck::Close), Err(reason)) => closed.push((connection, reason)),
        }
    }
    close(&closed);
    closed.len()
}

/// How many connections [`recheck`] would close.
pub(super) fn disallowed(register: &Register<Facts>, snapshot: &Snapshot) -> usize {
    let now = UnixTime::now();
    let is_disallowed = |connection: &&Connection| {
        let route = route_of(&connection.facts, snapshot);
        route.is_some_and(|route| {
            let policy = route.mode.server_side().map(|side| side.judge().recheck());
            policy == Some(Recheck::Close) && connection.facts.admitted_by(route, now).is_err()
        })
    };
    register.all().iter().filter(is_disallowed).count()
}

/// Ends connections whose certificates have expired, where their policy says so.
pub(super) fn expire(register: &Register<Facts>) {
    let now = UnixTime::now();
    let mut closed = Vec::new();
    register.each(|connection| {
        let Some(identity) = &connection.facts.identity else {
            return;
        };
        if identity.has_expired(now) && identity.note() {
            match identity.at_expiry() {
                AtExpiry::Log => note(connection, Reason::ClientCertExpired),
                AtExpiry::Close => closed.push((Arc::clone(connection), Reason::ClientCertExpired)),
            }
        }
    });
    close(&closed);
}

/// At once for a handful, else one after the other.
fn close(connections: &[(Connection, Reason)]) {
    let count = u32::try_from(connections.len()).unwrap_or(u32::MAX);
    let pace = if connections.len() <= HANDFUL {
        Duration::ZERO
    } else {
        (RECHECK_SPREAD / count).min(PACE)
    };
    let mut at = Instant::now();
    for (connection, reason) in connections {
        connection.leash.tell(Order::End {
            reason: *reason,
            at,
        });
        at += pace;
    }
}

fn note(connection: &Connection, reason: Reason) {
    let record = &connection.facts.record;
    warn!(
        id = format_args!("{:016x}", record.id),
        endpoint = %record.endpoint,
        client = %record.client,
        %reason,
        "a live connection would not be admitted any more"
    );
}
