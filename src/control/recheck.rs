//! Applies a new configuration to existing connections.
//!
//! A connection keeps the snapshot that it started with, but for two things: it is drained if its
//! endpoint, route or origin was removed, and closed if the current policy no longer admits its client, or
//! if that cannot be determined.

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::admission::SourceDenial;
use crate::connection::ConnInfo;
use crate::connection::table::{Conn, ConnTable};
use crate::control::drain::{DrainSchedule, INTERVAL};
use crate::outcome::Reason;
use crate::relay::Command;
use crate::revoked::Revoked;
use crate::snapshot::{Route, Snapshot};
use crate::tls::verify::client::{AtExpiry, ClientVerifier, Recheck};

/// Staggered closing for certificate reasons takes no longer than this, for all connections together.
const RECHECK_SPREAD: Duration = Duration::from_secs(10);

/// This many connections are closed at once.
const BURST: usize = 16;

type Connection = Arc<Conn<ConnInfo>>;

/// Rechecks the connections that are older than `snapshot`, as [`recheck`] does. Verifies chains, so it must
/// not run on the control loop.
pub(crate) fn recheck_all(table: &ConnTable<ConnInfo>, snapshot: &Snapshot) {
    recheck(take_older(table, snapshot), snapshot);
}

/// The recheck of connections that became established after that of a reload. It runs on a blocking thread,
/// one at a time, and only if there is such a connection.
#[derive(Debug, Default)]
pub(crate) struct LateRecheck(Option<JoinHandle<()>>);

impl LateRecheck {
    /// Starts the recheck, unless an earlier one goes on: then a later call finds the same connections.
    pub(crate) fn start(&mut self, table: &ConnTable<ConnInfo>, snapshot: &Arc<Snapshot>) {
        if self
            .0
            .as_ref()
            .is_some_and(|earlier| !earlier.is_finished())
        {
            return;
        }
        let older = take_older(table, snapshot);
        if older.is_empty() {
            return;
        }
        let snapshot = Arc::clone(snapshot);
        self.0 = Some(spawn_blocking(move || recheck(older, &snapshot)));
    }
}

/// The connections that are older than `snapshot` and were not yet compared with it. Each is returned once.
fn take_older(table: &ConnTable<ConnInfo>, snapshot: &Snapshot) -> Vec<Connection> {
    let mut older = Vec::new();
    table.each(|connection| {
        let checked = &connection.info.checked;
        if checked.fetch_max(snapshot.generation, Ordering::Relaxed) < snapshot.generation {
            older.push(Arc::clone(connection));
        }
    });
    older
}

/// Drains the connections whose endpoint, route or origin was removed, and closes or logs those that the
/// current rules on addresses or the current client auth policy do not admit.
fn recheck(older: Vec<Connection>, snapshot: &Snapshot) {
    recheck_by(verdict, older, snapshot);
}

/// The function that decides on a connection; tests have one of their own.
type Judge = fn(&ConnInfo, &Route, &ClientVerifier, UnixTime) -> Verdict;

fn recheck_by(judge: Judge, older: Vec<Connection>, snapshot: &Snapshot) {
    let is_kept = |c: &Connection| is_kept(&c.info, snapshot);
    let (kept, mut removed): (Vec<_>, Vec<_>) = older.into_iter().partition(is_kept);
    removed.retain(|connection| connection.handle.command().is_none());
    DrainSchedule::removed(&snapshot.process.drain).drain(&removed);
    let now = UnixTime::now();
    let mut closing = StaggeredClose::default();
    let mut rechecked = 0_usize;
    let mut denied = 0_usize;
    for connection in kept {
        if let Recheck::Close = recheck_source(&connection, snapshot) {
            denied += 1;
            continue;
        }
        let Some((route, verifier)) = changed_policy(&connection.info, snapshot, now) else {
            continue;
        };
        rechecked += 1;
        match judged(|| judge(&connection.info, route, verifier, now)) {
            Verdict::Keep => {}
            Verdict::Log(reason) => log_inadmissible(&connection, reason),
            Verdict::Close(reason) => closing.close(&connection, reason),
        }
        let decided = &connection.info.verifier;
        decided.store(verifier.id(), Ordering::Relaxed);
    }
    if rechecked > 0 {
        debug!(
            connections = rechecked,
            "client certificates were rechecked"
        );
    }
    if denied > 0 {
        info!(
            connections = denied,
            "closed: `sources` now denies their addresses"
        );
    }
    if closing.count > 0 {
        info!(
            connections = closing.count,
            "closed: their certificates are no longer admitted"
        );
    }
}

/// Closes or logs a connection whose client is denied by the current rules on addresses. Returns what was
/// done. It is closed at once: its client cannot come back, so that there is no rush to avoid.
fn recheck_source(connection: &Connection, snapshot: &Snapshot) -> Recheck {
    let info = &connection.info;
    let Some((recheck, denial)) = denial_of(info, snapshot) else {
        info.is_denial_logged.store(false, Ordering::Relaxed);
        return Recheck::Off;
    };
    match recheck {
        Recheck::Close => connection.handle.send(Command::End {
            reason: Reason::DeniedSource,
            at: Instant::now(),
        }),
        Recheck::Log if !info.is_denial_logged.swap(true, Ordering::Relaxed) => {
            debug!(id = format_args!("{:016x}", info.record.id), %denial, "denied");
            log_inadmissible(connection, Reason::DeniedSource);
        }
        Recheck::Log | Recheck::Off => {}
    }
    recheck
}

fn denial_of(info: &ConnInfo, snapshot: &Snapshot) -> Option<(Recheck, SourceDenial)> {
    let endpoint = snapshot.endpoint(&info.record.endpoint)?;
    let route = endpoint.route(info.record.route.as_deref()?)?;
    info.denied_by(endpoint, route)
}

/// The route of a connection and its verifier, if that may decide otherwise than the verifier that has
/// admitted the client or last rechecked it. Other connections are not rechecked: a renewal costs only
/// what depends on the renewed file.
fn changed_policy<'a>(
    info: &ConnInfo,
    snapshot: &'a Snapshot,
    now: UnixTime,
) -> Option<(&'a Route, &'a ClientVerifier)> {
    let route = route_of(info, snapshot)?;
    let verifier = route.mode.acceptor()?.verifier();
    (!info.is_decided_by(verifier, now)).then_some((&**route, verifier))
}

/// What the current policy does with a connection.
enum Verdict {
    Keep,
    Log(Reason),
    Close(Reason),
}

fn verdict(info: &ConnInfo, route: &Route, policy: &ClientVerifier, now: UnixTime) -> Verdict {
    if policy.recheck() == Recheck::Off {
        return Verdict::Keep;
    }
    let verdict = match info.admitted_by(route, now) {
        // `at_expiry` decides about expiry; the rest of the policy applies as before.
        Err(Reason::ClientCertExpired) if policy.at_expiry() == AtExpiry::Log => {
            info.admitted_but_for_expiry(route, now)
        }
        verdict => verdict,
    };
    match verdict {
        Ok(()) => Verdict::Keep,
        Err(reason) if policy.recheck() == Recheck::Log => Verdict::Log(reason),
        Err(reason) => Verdict::Close(reason),
    }
}

/// The verdict of `judge`. A panic closes the connection: whether it is still admitted is not known, and it
/// must not keep the others from being judged. The panic hook logs it.
fn judged(judge: impl FnOnce() -> Verdict) -> Verdict {
    catch_unwind(AssertUnwindSafe(judge)).unwrap_or(Verdict::Close(Reason::InternalPanic))
}

/// How many connections [`recheck_all`] would close because of their certificates.
pub(crate) fn disallowed(table: &ConnTable<ConnInfo>, snapshot: &Snapshot) -> usize {
    let now = UnixTime::now();
    let closed = |c: &&Connection| {
        let policy = changed_policy(&c.info, snapshot, now);
        let verdict = policy.map(|(route, policy)| judged(|| verdict(&c.info, route, policy, now)));
        matches!(verdict, Some(Verdict::Close(_)))
    };
    table.all().iter().filter(closed).count()
}

/// How many connections [`recheck_all`] would close because of their addresses.
pub(crate) fn denied(table: &ConnTable<ConnInfo>, snapshot: &Snapshot) -> usize {
    let mut denied = 0;
    table.each(|c| {
        let denial = denial_of(&c.info, snapshot);
        denied += usize::from(denial.is_some_and(|(recheck, _)| recheck == Recheck::Close));
    });
    denied
}

/// Closes or logs connections whose certificates have expired, as their policy says.
pub(crate) fn expire(table: &ConnTable<ConnInfo>) {
    let now = UnixTime::now();
    let mut closing = StaggeredClose::default();
    table.each(|connection| {
        let Some(identity) = &connection.info.identity else {
            return;
        };
        if identity.has_expired(now) && identity.note() {
            match identity.at_expiry() {
                AtExpiry::Log => log_inadmissible(connection, Reason::ClientCertExpired),
                AtExpiry::Close => closing.close(connection, Reason::ClientCertExpired),
            }
        }
    });
}

/// Closes the connections of clients that are revoked, of those that were not compared with today's set yet:
/// older ones after a change, and new ones, whose client may have been admitted before it. Returns at once.
pub(crate) fn close_revoked(table: &ConnTable<ConnInfo>, revoked: &Arc<Revoked>) {
    let version = revoked.version();
    let mut older = Vec::new();
    table.each(|connection| {
        if connection
            .info
            .revoked
            .fetch_max(version, Ordering::Relaxed)
            < version
        {
            older.push(Arc::clone(connection));
        }
    });
    if older.is_empty() {
        return;
    }
    let revoked = Arc::clone(revoked);
    spawn_blocking(move || {
        let mut closed = 0_usize;
        for connection in older {
            if let Some(reason) = connection.info.revoked_by(&revoked) {
                closed += 1;
                let at = Instant::now();
                connection.handle.send(Command::End { reason, at });
            }
        }
        if closed > 0 {
            info!(
                connections = closed,
                "closed: their clients are revoked in the fleet"
            );
        }
    });
}

/// Closes [`BURST`] connections at once, and the others one after the other.
#[derive(Default)]
struct StaggeredClose {
    count: usize,
}

impl StaggeredClose {
    fn close(&mut self, connection: &Connection, reason: Reason) {
        let behind = u32::try_from(self.count.saturating_sub(BURST)).unwrap_or(u32::MAX);
        self.count += 1;
        let delay = INTERVAL.saturating_mul(behind).min(RECHECK_SPREAD);
        connection.handle.send(Command::End {
            reason,
            at: Instant::now() + delay,
        });
    }
}

/// Whether the endpoint, route and origin of a connection are still configured.
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

fn log_inadmissible(connection: &Connection, reason: Reason) {
    let record = &connection.info.record;
    warn!(
        id = format_args!("{:016x}", record.id),
        endpoint = %record.endpoint,
        client = %record.client,
        %reason,
        "a live connection is no longer admitted by policy"
    );
}
