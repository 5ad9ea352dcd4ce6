//! The origins: their events, the connections that have to end because of them, and an operator's changes.

mod describe;
mod evictions;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::info;

use self::describe::{describe, log, state};
use self::evictions::Evictions;
use crate::admin::{OriginAction, Refusal, RefusalKind, RequestResult};
use crate::connection::ConnInfo;
use crate::connection::table::ConnTable;
use crate::control::drain::DrainSchedule;
use crate::health::Checks;
use crate::observe::metrics::{Metrics, OriginGauge, QueueGauge};
use crate::outcome::Reason;
use crate::relay::Command;
use crate::snapshot::{Live, Snapshot};
use crate::upstream::{AdminState, EvictionReason, OriginEvent, OriginStatus, Upstreams};

/// Receives what happens to origins.
pub(crate) type OriginEvents = mpsc::UnboundedReceiver<OriginEvent>;

/// What an operator's weight may be.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=256;

/// The origins of the process.
#[derive(Debug)]
pub(crate) struct Origins {
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) checks: Checks,
    pub(crate) live: Arc<Live>,
    pub(crate) table: Arc<ConnTable<ConnInfo>>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Origins {
    /// Applies the upstreams of a snapshot and their checks. It cannot fail, and must be done before
    /// connections get the snapshot.
    pub(crate) fn apply(&self, snapshot: &Snapshot) {
        let upstreams = snapshot.upstreams.iter();
        self.upstreams
            .apply(upstreams.map(|upstream| &upstream.definition));
        let checked = snapshot.upstreams.iter().filter_map(|upstream| {
            let pool = self.upstreams.pool(&upstream.definition.name)?;
            Some((pool, upstream.health.clone()))
        });
        self.checks.apply(checked);
    }

    /// Logs an event of an origin and those that wait in `more`, and applies what follows from them to
    /// connections and metrics.
    pub(crate) fn on_event(&self, event: &OriginEvent, more: &mut OriginEvents) {
        log(event);
        while let Ok(event) = more.try_recv() {
            log(&event);
        }
        self.update();
    }

    /// Ends or drains connections as the states of the origins require, and sets the gauges.
    pub(crate) fn update(&self) {
        self.upstreams.sweep();
        self.evict();
        self.count();
    }

    /// Ends or drains the connections to origins that are to have none, also those that were only just
    /// established.
    fn evict(&self) {
        let snapshot = self.live.load();
        let evictions = Evictions::of(&snapshot, &self.upstreams);
        if evictions.is_empty() {
            return;
        }
        let mut draining = Vec::new();
        self.table.each(|connection| {
            let order = connection.handle.command();
            if matches!(order, Some(Command::End { .. })) {
                return;
            }
            let reason = match evictions.about(&connection.info.record) {
                Some(EvictionReason::Down) => Reason::OriginDown,
                Some(EvictionReason::Disabled) => Reason::Killed,
                Some(EvictionReason::Gone) if order.is_none() => {
                    draining.push(Arc::clone(connection));
                    return;
                }
                Some(EvictionReason::Gone) | None => return,
            };
            connection.handle.send(Command::End {
                reason,
                at: Instant::now(),
            });
        });
        DrainSchedule::removed(&snapshot.process.drain).drain(&draining);
    }

    /// Sets the gauges of the origins in the metrics.
    pub(crate) fn count(&self) {
        let snapshot = self.live.load();
        let mut gauges = BTreeMap::new();
        let now = SystemTime::now();
        for upstream in &snapshot.upstreams {
            let pool = self.upstreams.pool(&upstream.definition.name);
            let pool = pool.filter(|_| upstream.health.is_some());
            let upstream = &upstream.definition;
            // The names of clients have no numbers of their own, and may be none at all.
            if upstream.is_template() {
                continue;
            }
            for origin in &upstream.origins {
                let gauge = OriginGauge {
                    upstream: Arc::clone(&upstream.name),
                    origin: Arc::clone(&origin.name),
                    usable: 0,
                    connections: 0,
                    max: None,
                    changed: now,
                    checks: pool.as_ref().map(|pool| pool.checks(&origin.name)),
                };
                gauges.insert((&*upstream.name, &*origin.name), gauge);
            }
        }
        let list = self.upstreams.status();
        let is_up = |status: &&OriginStatus| state(status) == "up";
        let well: HashSet<_> = list.iter().filter(is_up).map(|s| &s.upstream).collect();
        for status in &list {
            let Some(gauge) = gauges.get_mut(&(&*status.upstream, &*status.definition.name)) else {
                continue;
            };
            // Who is ejected is better than nobody.
            let usable = match state(status) {
                "up" => true,
                "ejected" => !well.contains(&status.upstream),
                _ => false,
            };
            gauge.usable += usize::from(usable);
            gauge.connections += status.connections;
            let limit = status.definition.max_connections;
            gauge.max = limit.map(|limit| gauge.max.unwrap_or(0).saturating_add(limit));
        }
        let last = self.metrics.origins();
        for before in last.iter() {
            if let Some(gauge) = gauges.get_mut(&(&*before.upstream, &*before.origin))
                && gauge.usable == before.usable
            {
                gauge.changed = before.changed;
            }
        }
        let queues = snapshot.upstreams.iter().filter_map(|upstream| {
            let pool = self.upstreams.pool(&upstream.definition.name)?;
            Some(QueueGauge {
                upstream: Arc::clone(&upstream.definition.name),
                waiting: pool.waiting(),
                max: upstream.definition.connect.queue,
            })
        });
        self.metrics
            .set_origins(gauges.into_values().collect(), queues.collect());
    }

    /// The origins and their states, for `/origins`.
    pub(crate) fn list(&self) -> Value {
        let origins = self.upstreams.status();
        let shown = origins.iter().map(|status| self.describe(status));
        json!({ "origins": shown.collect::<Value>() })
    }

    /// An origin with its latest checks, and the latest failures of connections to it.
    fn describe(&self, status: &OriginStatus) -> Value {
        let pool = self.upstreams.pool(&status.upstream);
        let checks = pool.map(|pool| pool.history(status.id)).unwrap_or_default();
        let name = &status.definition.name;
        let failures = self.metrics.attempt_failures(&status.upstream, name);
        describe(status, &checks, &failures)
    }

    /// Carries out an operator's change to an origin. It holds until the origin's line of the configuration
    /// changes.
    pub(crate) fn change(
        &self,
        upstream: &str,
        origin: &str,
        action: OriginAction,
    ) -> RequestResult {
        let Some(pool) = self.upstreams.pool(upstream) else {
            return Err(no_origin(upstream, origin));
        };
        let count = match action {
            OriginAction::Drain => pool.set_admin_state(origin, AdminState::Draining),
            OriginAction::Disable => pool.set_admin_state(origin, AdminState::Disabled),
            OriginAction::Enable => {
                pool.set_weight(origin, None);
                pool.set_admin_state(origin, AdminState::Enabled)
            }
            OriginAction::Weight(weight) if !WEIGHTS.contains(&weight) => {
                let message = "a weight is from 1 to 256: to take an origin out, drain it";
                return Err(Refusal::new(RefusalKind::Invalid, message));
            }
            OriginAction::Weight(weight) => pool.set_weight(origin, Some(weight)),
        };
        if count == 0 {
            return Err(no_origin(upstream, origin));
        }
        info!(
            upstream,
            origin,
            %action,
            "an origin is used in another way on request"
        );
        let list = pool.status();
        let meant = list.iter().filter(|status| {
            *status.definition.name == *origin || status.address.to_string() == origin
        });
        self.update();
        let shown = meant.map(|status| self.describe(status));
        Ok(json!({ "origins": shown.collect::<Value>() }))
    }
}

fn no_origin(upstream: &str, origin: &str) -> Refusal {
    let message = format!("the upstream `{upstream}` has no origin `{origin}`");
    Refusal::new(RefusalKind::NotFound, message)
}

#[cfg(test)]
mod tests;
