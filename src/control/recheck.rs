//! What a new configuration means for connections that are older than it.
//!
//! A connection keeps the snapshot it was born with, but for two things: what has left the
//! configuration is drained, and whom the policy of today no longer admits does not stay.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::connection::ConnInfo;
use crate::connection::table::{Conn, ConnTable};
use crate::outcome::Reason;
use crate::relay::Command;
use crate::snapshot::{DrainPolicy, Route, Snapshot};
use crate::tls::verify::client::{AtExpiry, Recheck};

/// StaggeredClose because of a certificate takes no longer than this, for all connections together.
const RECHECK_SPREAD: Duration = Duration::from_secs(10);

/// So many connections are closed at once.
const BURST: usize = 16;

/// Idle connections end no slower than this one after the other, where the window has room.
const INTERVAL: Duration = Duration::from_millis(20);

type Connection = Arc<Conn<ConnInfo>>;

/// How connections drain that nothing waits for any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DrainSchedule {
    /// How long it takes at most.
    length: Duration,
    /// A connection without a byte for so long ends first.
    idle_after: Duration,
    /// Whether connections end by themselves when it is over.
    cuts: bool,
}

impl DrainSchedule {
    /// The window of what left the configuration.
    pub(crate) const fn removed(policy: &DrainPolicy) -> Self {
        Self {
            length: policy.removed,
            idle_after: policy.idle_after,
            cuts: true,
        }
    }

    /// The window of a stop. What is left at its end is cut by the one who stops, and counted.
    pub(crate) const fn stop(policy: &DrainPolicy) -> Self {
        Self {
            length: policy.stop,
            idle_after: policy.idle_after,
            cuts: false,
        }
    }

    /// Tells connections to end when they are idle, those that are already one after the other, and
    /// all of them when the window is over, where it cuts.
    pub(crate) fn drain(self, connections: &[Connection]) {
        let now = Instant::now();
        let until = now.checked_add(self.length).filter(|_| self.cuts);
        let is_idle = |c: &&Connection| c.handle.idle() >= self.idle_after;
        let idle = connections.iter().filter(is_idle).count();
        let pace = self.length.mul_f32(0.75) / u32::try_from(idle.max(1)).unwrap_or(u32::MAX);
        let mut from = now;
        for connection in connections {
            connection.handle.send(Command::Drain {
                idle_after: self.idle_after,
                from: if is_idle(&connection) { from } else { now },
                until,
            });
            if is_idle(&connection) {
                from += pace.min(INTERVAL);
            }
        }
    }
}

/// FileStamps at the connections that are older than a snapshot, each once: what left the configuration
/// drains, and those whom the policy of today does not admit are closed, where it says so. Connections
/// that were not established yet are found by a later call.
pub(crate) fn recheck_all(table: &ConnTable<ConnInfo>, snapshot: &Snapshot) {
    let mut older = Vec::new();
    table.each(|connection| {
        let checked = &connection.info.checked;
        if checked.fetch_max(snapshot.generation, Ordering::Relaxed) < snapshot.generation {
            older.push(Arc::clone(connection));
        }
    });
    if older.is_empty() {
        return;
    }
    let stays = |c: &Connection| is_kept(&c.info, snapshot);
    let (stay, mut leave): (Vec<_>, Vec<_>) = older.into_iter().partition(stays);
    leave.retain(|connection| connection.handle.command().is_none());
    DrainSchedule::removed(&snapshot.process.drain).drain(&leave);
    let now = UnixTime::now();
    let mut closing = StaggeredClose::default();
    for connection in stay {
        match judge(&connection.info, snapshot, now) {
            Verdict::Stays => {}
            Verdict::Noted(reason) => note(&connection, reason),
            Verdict::Closed(reason) => closing.close(&connection, reason),
        }
    }
    if closing.count > 0 {
        info!(
            connections = closing.count,
            "closed: their certificates are not admitted any more"
        );
    }
}

/// What becomes of a connection under the policy of today.
enum Verdict {
    Stays,
    Noted(Reason),
    Closed(Reason),
}

fn judge(info: &ConnInfo, snapshot: &Snapshot, now: UnixTime) -> Verdict {
    let route = route_of(info, snapshot);
    let side = route.and_then(|route| Some((route, route.mode.acceptor()?)));
    let Some((route, side)) = side else {
        return Verdict::Stays;
    };
    let policy = side.verifier();
    if policy.recheck() == Recheck::Off {
        return Verdict::Stays;
    }
    let verdict = match info.admitted_by(route, now) {
        // What becomes of it then is said by a policy of its own; all else counts as before.
        Err(Reason::ClientCertExpired) if policy.at_expiry() == AtExpiry::Log => {
            info.admitted_but_for_expiry(route, now)
        }
        verdict => verdict,
    };
    match verdict {
        Ok(()) => Verdict::Stays,
        Err(reason) if policy.recheck() == Recheck::Log => Verdict::Noted(reason),
        Err(reason) => Verdict::Closed(reason),
    }
}

/// How many connections [`recheck_all`] would close because of their certificates.
pub(crate) fn disallowed(table: &ConnTable<ConnInfo>, snapshot: &Snapshot) -> usize {
    let now = UnixTime::now();
    let closed = |c: &&Connection| matches!(judge(&c.info, snapshot, now), Verdict::Closed(_));
    table.all().iter().filter(closed).count()
}

/// Ends connections whose certificates have expired, where their policy says so.
pub(crate) fn expire(table: &ConnTable<ConnInfo>) {
    let now = UnixTime::now();
    let mut closing = StaggeredClose::default();
    table.each(|connection| {
        let Some(identity) = &connection.info.identity else {
            return;
        };
        if identity.has_expired(now) && identity.note() {
            match identity.at_expiry() {
                AtExpiry::Log => note(connection, Reason::ClientCertExpired),
                AtExpiry::Close => closing.close(connection, Reason::ClientCertExpired),
            }
        }
    });
}

/// Closes a handful of connections at once, and the others one after the other.
#[derive(Default)]
struct StaggeredClose {
    count: usize,
}

impl StaggeredClose {
    fn close(&mut self, connection: &Connection, reason: Reason) {
        let behind = u32::try_from(self.count.saturating_sub(BURST)).unwrap_or(u32::MAX);
        self.count += 1;
        let wait = INTERVAL.saturating_mul(behind).min(RECHECK_SPREAD);
        connection.handle.send(Command::End {
            reason,
            at: Instant::now() + wait,
        });
    }
}

/// Whether endpoint, route and origin of a connection are still there.
fn is_kept(info: &ConnInfo, snapshot: &Snapshot) -> bool {
    let record = &info.record;
    let origin = record.upstream.as_deref().zip(record.origin.as_deref());
    route_of(info, snapshot).is_some()
        && origin.is_none_or(|(upstream, origin)| snapshot.has_origin(upstream, origin))
}

fn route_of<'a>(info: &ConnInfo, snapshot: &'a Snapshot) -> Option<&'a Arc<Route>> {
    let endpoint = snapshot.endpoint(&info.record.endpoint)?;
    endpoint.route(info.record.route.as_deref()?)
}

fn note(connection: &Connection, reason: Reason) {
    let record = &connection.info.record;
    warn!(
        id = format_args!("{:016x}", record.id),
        endpoint = %record.endpoint,
        client = %record.client,
        %reason,
        "a live connection would not be admitted any more"
    );
}
