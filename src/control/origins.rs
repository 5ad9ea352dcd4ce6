//! The origins of a configuration at work: what happens to them, which connections have to end by it, and what
//! an operator says about them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::admin::{OriginAction, Refusal, RefusalKind, RequestResult};
use crate::control::Control;
use crate::control::recheck::DrainSchedule;
use crate::health::Checks;
use crate::observe::access_log::{AccessRecord, CompactAddr};
use crate::observe::escape;
use crate::observe::format::timestamp;
use crate::observe::metrics::OriginGauge;
use crate::outcome::Reason;
use crate::relay::Command;
use crate::snapshot::Snapshot;
use crate::upstream::{
    Address, AdminState, Change, EvictionReason, OriginEvent, OriginStatus, Upstreams, Verdict,
};

/// Receives what happens to origins.
pub(crate) type OriginEvents = mpsc::UnboundedReceiver<OriginEvent>;

/// What an operator's weight may be.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=256;

/// The origins of the process.
#[derive(Debug)]
pub(crate) struct Origins {
    upstreams: Arc<Upstreams>,
    checks: Checks,
}

impl Origins {
    pub(crate) const fn new(upstreams: Arc<Upstreams>, checks: Checks) -> Self {
        Self { upstreams, checks }
    }

    /// Takes in the origins of a snapshot and has them checked. It cannot fail, and must be done before
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
}

/// The origins whose connections do not stay, by upstream, and by address or else by name.
#[derive(Default)]
struct Evictions(HashMap<EvictionKey, EvictionReason>);

type EvictionKey = (Arc<str>, Option<CompactAddr>, Option<Arc<str>>);

impl Evictions {
    fn of(snapshot: &Snapshot, upstreams: &Upstreams) -> Self {
        let mut evictions = HashMap::new();
        for upstream in &snapshot.upstreams {
            let closes = upstream.health.as_ref().is_some_and(|health| health.close);
            let pool = upstreams.pool(&upstream.definition.name);
            for eviction in pool.map(|pool| pool.evictions()).unwrap_or_default() {
                if eviction.reason == EvictionReason::Down && !closes {
                    continue;
                }
                let (address, name) = match eviction.address {
                    Address::Ip(address) => (Some(address.into()), None),
                    Address::Host(..) | Address::Srv(_) | Address::Unix(_) => {
                        (None, eviction.origin)
                    }
                };
                let upstream = Arc::clone(&upstream.definition.name);
                evictions.insert((upstream, address, name), eviction.reason);
            }
        }
        Self(evictions)
    }

    fn about(&self, record: &AccessRecord) -> Option<EvictionReason> {
        let address = record.origin_address.clone();
        let name = record.origin.clone().filter(|_| address.is_none());
        let key = (record.upstream.clone()?, address, name);
        self.0.get(&key).copied()
    }
}

impl Control {
    /// Something has happened to an origin; whatever else has, waits in `more`.
    pub(crate) fn on_origin_event(&self, event: &OriginEvent, more: &mut OriginEvents) {
        write_down(event);
        while let Ok(event) = more.try_recv() {
            write_down(&event);
        }
        self.evict();
        self.count_origins();
    }

    /// Ends or drains the connections to origins that are to have none, also those that were only just
    /// established.
    pub(crate) fn evict(&self) {
        let snapshot = self.live.load();
        let evictions = Evictions::of(&snapshot, &self.origins.upstreams);
        if evictions.0.is_empty() {
            return;
        }
        let mut draining = Vec::new();
        self.context.table.each(|connection| {
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
    pub(crate) fn count_origins(&self) {
        let snapshot = self.live.load();
        let mut gauges = BTreeMap::new();
        for upstream in &snapshot.upstreams {
            let upstream = &upstream.definition;
            for origin in &upstream.origins {
                let gauge = OriginGauge {
                    upstream: Arc::clone(&upstream.name),
                    origin: Arc::clone(&origin.name),
                    usable: 0,
                    connections: 0,
                };
                gauges.insert((&*upstream.name, &*origin.name), gauge);
            }
        }
        let list = self.origins.upstreams.status();
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
        }
        self.metrics.set_origins(gauges.into_values().collect());
    }

    /// How the origins are.
    pub(crate) fn list_origins(&self) -> Value {
        let origins = self.origins.upstreams.status();
        json!({ "origins": origins.iter().map(describe).collect::<Vec<_>>() })
    }

    /// Does what an operator says about an origin. It holds until its line of the configuration changes.
    pub(crate) fn order_origin(
        &self,
        upstream: &str,
        origin: &str,
        action: OriginAction,
    ) -> RequestResult {
        let Some(pool) = self.origins.upstreams.pool(upstream) else {
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
        self.evict();
        self.count_origins();
        Ok(json!({ "origins": meant.map(describe).collect::<Vec<_>>() }))
    }
}

fn no_origin(upstream: &str, origin: &str) -> Refusal {
    let message = format!("the upstream `{upstream}` has no origin `{origin}`");
    Refusal::new(RefusalKind::NotFound, message)
}

/// The word for how an origin is.
const fn state(status: &OriginStatus) -> &'static str {
    match (status.admin, status.is_up, status.ejected_for) {
        _ if status.unresolved.is_some() => "unresolved",
        (AdminState::Disabled, ..) => "disabled",
        (AdminState::Draining, ..) => "drain",
        (AdminState::Enabled, false, _) => "down",
        (AdminState::Enabled, true, Some(_)) => "ejected",
        (AdminState::Enabled, true, None) => "up",
    }
}

fn describe(status: &OriginStatus) -> Value {
    let mut shown = json!({
        "upstream": &*status.upstream,
        "name": &*status.definition.name,
        "address": status.address.to_string(),
        "state": state(status),
        "backup": status.definition.backup,
        "weight": status.weight,
        "connections": status.connections,
    });
    if let Some(max) = status.definition.max_connections {
        shown["max_connections"] = json!(max);
    }
    if let Some(time) = status.ejected_for {
        shown["ejected_seconds"] = json!(time.as_secs());
    }
    if let Some(why) = &status.unresolved {
        shown["check"] = json!(escape::text(why));
    }
    if let Some(check) = &status.last_check {
        shown["checked"] = json!(timestamp(check.at));
        shown["check"] = json!(match &check.verdict {
            Verdict::Pass | Verdict::ForceUp => "ok".to_owned(),
            Verdict::Fail(why) | Verdict::ForceDown(why) => escape::text(why),
        });
    }
    shown
}

fn write_down(event: &OriginEvent) {
    let OriginEvent {
        upstream,
        origin,
        address,
        change,
    } = event;
    match change {
        Change::Up => info!(%upstream, %origin, %address, "an origin is up again"),
        Change::Down { why } => {
            warn!(%upstream, %origin, %address, %why, "an origin is down");
        }
        Change::Ejected(time) => {
            let seconds = time.as_secs_f64();
            warn!(%upstream, %origin, %address, seconds, "an origin fails connections and is ejected");
        }
        Change::Joined => info!(%upstream, %origin, %address, "an origin has joined"),
        Change::Gone => info!(%upstream, %origin, %address, "an origin has left DNS"),
        Change::Removed => {
            info!(%upstream, %origin, %address, "an origin has left the configuration");
        }
        Change::Unresolved(why) => {
            warn!(%upstream, %origin, %why, "an origin's name cannot be resolved");
        }
    }
}
