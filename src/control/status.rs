//! The status of the process, for `/status`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::connection::ConnInfo;
use crate::connection::table::ConnTable;
use crate::control::connections;
use crate::control::limits;
use crate::control::listeners::Listeners;
use crate::control::reload::Reloader;
use crate::control::shutdown::Shutdown;
use crate::fleet::FleetState;
use crate::observe::format::timestamp;
use crate::observe::metrics::Metrics;
use crate::snapshot::Live;
use crate::worker::active::ActiveCount;

/// What the status is read from, beside the parts that change with requests.
#[derive(Debug)]
pub(crate) struct StatusView {
    pub(crate) live: Arc<Live>,
    pub(crate) table: Arc<ConnTable<ConnInfo>>,
    pub(crate) active: Arc<ActiveCount>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) fleet: Option<Arc<FleetState>>,
}

impl StatusView {
    /// The status as JSON.
    pub(crate) fn json(
        &self,
        listeners: &Listeners,
        reloads: &Reloader,
        shutdown: &Shutdown,
    ) -> Value {
        let start = self.metrics.start();
        let uptime = start.elapsed().unwrap_or_default();
        let open = listeners.addresses();
        let listening: Vec<_> = open
            .iter()
            .map(|(endpoint, address)| json!({ "endpoint": &**endpoint, "address": address }))
            .collect();
        let endpoints = self.endpoints(listeners, &open);
        let path = reloads.source();
        let mut status = json!({
            "phase": shutdown.phase().word(),
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "started": timestamp(start),
            "uptime_seconds": uptime.as_secs(),
            "config": std::path::absolute(path).unwrap_or_else(|_| path.into()).display().to_string(),
            "generation": self.live.load().generation,
            "connections": self.active.count(),
            "listening": listening,
            "endpoints": endpoints,
            "limits": limits::describe(&self.metrics),
        });
        let sandbox = reloads.sandbox();
        status["sandbox"] = json!(sandbox.word());
        status["landlock"] = json!(sandbox.landlock.to_string());
        status["seccomp"] = json!(sandbox.seccomp.to_string());
        status["user"] = json!(sandbox.user);
        if let Some(fleet) = &self.fleet {
            status["fleet"] = fleet.now().json();
        }
        if let Some(last) = reloads.last() {
            status["last_reload"] = last.clone();
        }
        if !reloads.restart_needed().is_empty() {
            status["restart_needed"] = json!(reloads.restart_needed());
        }
        let drained = listeners.drained();
        if !drained.is_empty() {
            status["drained_endpoints"] =
                json!(drained.iter().map(|name| &**name).collect::<Vec<_>>());
        }
        if let Some(left) = shutdown.time_left() {
            status["drain_seconds_left"] = json!(left.as_secs());
        }
        let leaving = connections::leaving(&self.table);
        if leaving > 0 {
            status["connections_leaving"] = json!(leaving);
        }
        status
    }
}

impl StatusView {
    /// Each endpoint of the configuration, and what becomes of a client that connects to it.
    fn endpoints(&self, listeners: &Listeners, open: &[(Arc<str>, String)]) -> Value {
        let live = self.metrics.live();
        let snapshot = self.live.load();
        let rows = snapshot.endpoints.iter().map(|endpoint| {
            let name = &endpoint.name;
            let addresses = open.iter().filter(|(of, _)| of == name);
            let addresses: Vec<_> = addresses.map(|(_, address)| address).collect();
            let state = if listeners.closed.contains(name) {
                "drained"
            } else if addresses.is_empty() {
                "closed"
            } else {
                "listening"
            };
            let routes = endpoint.routes.iter().map(|route| json!(&*route.name));
            json!({
                "endpoint": &**name,
                "state": state,
                "addresses": addresses,
                "connections": live.get(name).copied().unwrap_or(0),
                "routes": routes.collect::<Value>(),
            })
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::control::fixtures::{self, Parts};
    use crate::snapshot::DrainPolicy;

    #[tokio::test(start_paused = true)]
    async fn the_status_has_the_drain_and_the_connections_that_leave_only_when_there_are_any() {
        let Parts {
            live,
            table,
            metrics,
            mut listeners,
            reloads,
            mut shutdown,
            ..
        } = Parts::new();
        let _connection = fixtures::connection(&table, 1);
        let view = StatusView {
            live,
            table,
            active: Arc::default(),
            metrics,
            fleet: None,
        };
        let status = view.json(&listeners, &reloads, &shutdown);
        assert_eq!(status["phase"], "serving");
        for key in [
            "drain_seconds_left",
            "drained_endpoints",
            "connections_leaving",
            "last_reload",
            "restart_needed",
        ] {
            assert!(status.get(key).is_none(), "{key}: {status}");
        }
        let policy = DrainPolicy {
            lame_duck: Duration::ZERO,
            stop: Duration::from_secs(30),
            removed: Duration::ZERO,
            idle_after: Duration::ZERO,
        };
        shutdown.drain(&policy, &mut listeners);
        let status = view.json(&listeners, &reloads, &shutdown);
        assert_eq!(status["phase"], "draining");
        assert_eq!(status["drain_seconds_left"], 30);
        assert_eq!(status["connections_leaving"], 1);
    }
}
