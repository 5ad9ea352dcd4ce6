//! The replies of the admin socket: status, connections, certificates, configuration.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::info;
use tracing::level_filters::LevelFilter;

use crate::admin::{Refusal, RefusalKind, RequestResult};
use crate::config;
use crate::connection::ConnInfo;
use crate::connection::table::Conn;
use crate::control::Control;
use crate::control::expiry_dates;
use crate::control::reload::plan::Change;
use crate::control::reload::queue::{ReplySender, Report};
use crate::observe::escape;
use crate::observe::format::timestamp;
use crate::outcome::Reason;
use crate::relay::Command;

impl Control {
    pub(crate) fn status(&self) -> Value {
        let start = self.metrics.start();
        let uptime = start.elapsed().unwrap_or_default();
        let listening: Vec<_> = self
            .listeners
            .addresses()
            .iter()
            .map(|(endpoint, address)| json!({ "endpoint": &**endpoint, "address": address }))
            .collect();
        let path = self.running.source.path();
        let mut status = json!({
            "phase": self.phase.borrow().word(),
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "started": timestamp(start),
            "uptime_seconds": uptime.as_secs(),
            "config": std::path::absolute(path).unwrap_or_else(|_| path.into()).display().to_string(),
            "generation": self.live.load().generation,
            "connections": self.active.count(),
            "listening": listening,
        });
        if let Some(last) = &self.reloads.last {
            status["last_reload"] = last.clone();
        }
        if !self.reloads.restart.is_empty() {
            status["restart_needed"] = json!(self.reloads.restart);
        }
        if let Some(end) = self.stopping {
            let left = end.saturating_duration_since(Instant::now());
            status["drain_seconds_left"] = json!(left.as_secs());
        }
        let leaving = self.leaving();
        if leaving > 0 {
            status["connections_leaving"] = json!(leaving);
        }
        status
    }

    /// Connections that drain or are about to be closed.
    fn leaving(&self) -> usize {
        let mut leaving = 0;
        self.context.table.each(|connection| {
            leaving += usize::from(connection.handle.command().is_some());
        });
        leaving
    }

    /// Lists the connections, on a thread of its own: there may be very many.
    pub(crate) fn connections(&self, reply: ReplySender) {
        let table = Arc::clone(&self.context.table);
        tokio::task::spawn_blocking(move || {
            let connections = table.all();
            let json: Vec<_> = connections.iter().map(|c| describe(c)).collect();
            let _ = reply.send(Ok(json!({ "connections": json })));
        });
    }

    /// Ends one connection.
    pub(crate) fn kill(&self, id: u64) -> RequestResult {
        let mut killed = false;
        self.context.table.each(|connection| {
            if connection.info.record.id == id {
                killed = true;
                connection.handle.send(Command::End {
                    reason: Reason::Killed,
                    at: Instant::now(),
                });
            }
        });
        if killed {
            info!(
                id = format_args!("{id:016x}"),
                "a connection was ended on request"
            );
            return Ok(json!({ "killed": format!("{id:016x}") }));
        }
        Err(Refusal::new(
            RefusalKind::NotFound,
            format!("there is no established connection {id:016x}"),
        ))
    }

    pub(crate) fn certificates(&self) -> Value {
        expiry_dates::listed(&self.live.load(), &self.running.loaded.materials)
    }

    /// The configuration in force as YAML; secrets are in files and not in it.
    pub(crate) fn configuration(&self) -> Value {
        let spec = self.running.loaded.spec.as_ref();
        let spec = spec.map(|spec| self.running.fixed.in_force(spec));
        json!({ "yaml": spec.as_ref().map(config::print).unwrap_or_default() })
    }

    pub(crate) fn log_level(&self, new: Option<LevelFilter>) -> Value {
        if let Some(level) = new {
            self.log.set_level(level);
            info!(%level, "the log's level was changed");
        }
        json!({ "level": self.log.level().to_string() })
    }
}

/// What a reload has changed, or would change.
pub(crate) fn report(report: &Report) -> Value {
    let change = |change: &Change| {
        let mut json = json!({
            "what": change.what,
            "name": change.name,
            "change": change.kind.word(),
            "connections": change.connections,
        });
        if change.connections > 0 {
            json["fate"] = json!(change.fate());
        }
        json
    };
    let mut json = json!({
        "generation": report.generation,
        "changes": report.changes.iter().map(change).collect::<Vec<_>>(),
        "warnings": report.warnings,
        "restart_needed": report.restart,
    });
    if let Some(count) = report.disallowed {
        json["closed_by_client_auth"] = json!(count);
    }
    json
}

/// One connection as JSON. Bytes from the wire are escaped.
fn describe(connection: &Conn<ConnInfo>) -> Value {
    let record = &connection.info.record;
    let (up, down) = connection.handle.traffic();
    let age = record.time.elapsed().unwrap_or(Duration::ZERO);
    let mut json = json!({
        "id": format!("{:016x}", record.id),
        "endpoint": &*record.endpoint,
        "client": record.client.to_string(),
        "seconds": age.as_secs(),
        "idle_seconds": connection.handle.idle().as_secs(),
        "bytes_up": up,
        "bytes_down": down,
        "generation": connection.info.generation,
    });
    let mut add = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            json[key] = json!(value);
        }
    };
    add("sni", record.sni.as_deref().map(escape::text));
    add("route", record.route.as_deref().map(str::to_owned));
    add("mode", record.mode.map(str::to_owned));
    add("upstream", record.upstream.as_deref().map(str::to_owned));
    add("origin", record.origin.as_deref().map(str::to_owned));
    let subject = record
        .client_cert
        .as_ref()
        .map(|cert| escape::text(&cert.subject));
    add("client_cert", subject);
    let order = connection.handle.command().map(|order| match order {
        Command::Drain { .. } => "drain".to_owned(),
        Command::End { reason, .. } => reason.to_string(),
    });
    add("leaving", order);
    json
}
