//! What the running process answers when it is inputs.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::info;
use tracing::level_filters::LevelFilter;

use crate::admin::{Answer, Refusal, RefusalKind};
use crate::config;
use crate::connection::ConnInfo;
use crate::connection::table::Conn;
use crate::control::Control;
use crate::control::expiry_dates;
use crate::control::reload::plan::Change;
use crate::control::reload::queue::{Report, Waiting};
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

    /// Connections that were told to end.
    fn leaving(&self) -> usize {
        let mut leaving = 0;
        self.context.table.each(|connection| {
            leaving += usize::from(connection.handle.command().is_some());
        });
        leaving
    }

    /// Lists the connections, on a thread of its own: there may be very many.
    pub(crate) fn connections(&self, reply: Waiting) {
        let table = Arc::clone(&self.context.table);
        tokio::task::spawn_blocking(move || {
            let connections = table.all();
            let shown: Vec<_> = connections.iter().map(|c| describe(c)).collect();
            let _ = reply.send(Ok(json!({ "connections": shown })));
        });
    }

    /// Ends one connection.
    pub(crate) fn kill(&self, id: u64) -> Answer {
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
        let mut shown = json!({
            "what": change.what,
            "name": change.name,
            "change": change.kind.word(),
            "connections": change.connections,
        });
        if change.connections > 0 {
            shown["fate"] = json!(change.fate());
        }
        shown
    };
    let mut shown = json!({
        "generation": report.generation,
        "changes": report.changes.iter().map(change).collect::<Vec<_>>(),
        "warnings": report.warnings,
        "restart_needed": report.restart,
    });
    if let Some(count) = report.disallowed {
        shown["closed_by_client_auth"] = json!(count);
    }
    shown
}

/// One connection, for people and programs. What came over the wire is escaped.
fn describe(connection: &Conn<ConnInfo>) -> Value {
    let record = &connection.info.record;
    let (up, down) = connection.handle.traffic();
    let age = record.time.elapsed().unwrap_or(Duration::ZERO);
    let mut shown = json!({
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
            shown[key] = json!(value);
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
    shown
}
