//! Drains: of connections whose configuration was removed, and of endpoints on request.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tracing::info;

use crate::admin::{Refusal, RefusalKind, RequestResult};
use crate::connection::ConnInfo;
use crate::connection::table::{Conn, ConnTable};
use crate::control::listeners::Listeners;
use crate::relay::Command;
use crate::snapshot::{DrainPolicy, Snapshot};
use crate::worker::Workers;

/// Longest pause between two connections that are closed one after the other.
pub(crate) const INTERVAL: Duration = Duration::from_millis(20);

/// How the connections of a drain end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DrainSchedule {
    /// The longest duration of the drain.
    length: Duration,
    /// A connection that was idle for this long ends first.
    idle_after: Duration,
    /// Whether connections are aborted when the drain is over.
    aborts: bool,
}

impl DrainSchedule {
    /// The drain of connections whose endpoint, route or origin was removed.
    pub(crate) const fn removed(policy: &DrainPolicy) -> Self {
        Self {
            length: policy.removed,
            idle_after: policy.idle_after,
            aborts: true,
        }
    }

    /// The drain of a stop. The shutdown aborts and counts what is left at its end.
    pub(crate) const fn stop(policy: &DrainPolicy) -> Self {
        Self {
            length: policy.stop,
            idle_after: policy.idle_after,
            aborts: false,
        }
    }

    /// Tells connections to end when they are idle. Those that are idle already end one after the other;
    /// all of them end when the drain is over, if it aborts.
    pub(crate) fn drain(self, connections: &[Arc<Conn<ConnInfo>>]) {
        let now = Instant::now();
        let until = now.checked_add(self.length).filter(|_| self.aborts);
        let is_idle = |c: &&Arc<Conn<ConnInfo>>| c.handle.idle() >= self.idle_after;
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

/// Closes an endpoint's listeners and drains its connections, until a reload opens it again.
pub(crate) fn drain_endpoint(
    name: &str,
    snapshot: &Snapshot,
    listeners: &mut Listeners,
    table: &ConnTable<ConnInfo>,
) -> RequestResult {
    if snapshot.endpoint(name).is_none() {
        return Err(no_endpoint(name));
    }
    let closed = listeners.close_endpoint(name, snapshot.process.drain.removed);
    let count = drain_closed_endpoints(snapshot, listeners, table);
    info!(endpoint = name, connections = count, "draining an endpoint");
    Ok(json!({ "draining": name, "closed": closed, "connections": count }))
}

/// Opens an endpoint again that a request has closed. Its connections that are still there stay.
pub(crate) async fn undrain_endpoint(
    name: &str,
    snapshot: &Snapshot,
    listeners: &mut Listeners,
    workers: &Workers,
    table: &ConnTable<ConnInfo>,
) -> RequestResult {
    let Some(endpoint) = snapshot.endpoint(name) else {
        return Err(no_endpoint(name));
    };
    if !listeners.closed.contains(name) {
        let message = format!("the endpoint `{name}` is not drained");
        return Err(Refusal::new(RefusalKind::Conflict, message));
    }
    let opened = listeners.reopen_endpoint(endpoint, snapshot, workers).await;
    let opened = opened.map_err(|why| Refusal::new(RefusalKind::Conflict, why))?;
    let mut kept = 0;
    table.each(|connection| {
        let is_its = *connection.info.record.endpoint == *name;
        if is_its && connection.handle.cancel_drain() {
            kept += 1;
            // It may have had to drain for another reason, such as a route that has left the configuration:
            // the next tick finds that again.
            connection.info.checked.store(0, Ordering::Relaxed);
        }
    });
    for address in &opened {
        info!(endpoint = name, address, "listening");
    }
    info!(
        endpoint = name,
        connections = kept,
        "an endpoint is no longer drained"
    );
    Ok(json!({ "undrained": name, "opened": opened, "connections": kept }))
}

fn no_endpoint(name: &str) -> Refusal {
    Refusal::new(
        RefusalKind::NotFound,
        format!("there is no endpoint `{name}`"),
    )
}

/// Drains the connections of endpoints that a request has closed. Returns how many were not draining.
pub(crate) fn drain_closed_endpoints(
    snapshot: &Snapshot,
    listeners: &Listeners,
    table: &ConnTable<ConnInfo>,
) -> usize {
    if listeners.closed.is_empty() {
        return 0;
    }
    let mut connections = Vec::new();
    table.each(|connection| {
        let endpoint = &connection.info.record.endpoint;
        if listeners.closed.contains(endpoint) && connection.handle.command().is_none() {
            connections.push(Arc::clone(connection));
        }
    });
    DrainSchedule::removed(&snapshot.process.drain).drain(&connections);
    connections.len()
}
