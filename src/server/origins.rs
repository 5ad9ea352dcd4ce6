//! The origins of a configuration at work: the news of them, what connections it costs, and what an
//! operator says about them.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::{info, warn};

use super::control::Control;
use super::retire::Window;
use crate::admin::{Answer, OriginAction, Refusal, RefusalKind};
use crate::connection::Facts;
use crate::health::Checks;
use crate::lifecycle::{self, Entry};
use crate::observe::escape;
use crate::observe::format::timestamp;
use crate::outcome::Reason;
use crate::snapshot::Snapshot;
use crate::upstream::{Address, Change, Order, OriginEvent, OriginStatus, Roster, Verdict};

/// What an operator's weight may be.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=256;

/// The origins of the process, and those whose connections end because they are down.
#[derive(Debug)]
pub(super) struct Origins {
    roster: Roster,
    checks: Checks,
    closing: Vec<OriginEvent>,
}

impl Origins {
    pub(super) const fn new(roster: Roster, checks: Checks) -> Self {
        Self {
            roster,
            checks,
            closing: Vec::new(),
        }
    }

    /// Takes in the origins of a snapshot and has them checked. It cannot fail, and must be done before
    /// connections get the snapshot.
    pub(super) fn apply(&mut self, snapshot: &Snapshot) {
        // What nobody checks any more is not down.
        self.closing.retain(|event| {
            let mut upstreams = snapshot.upstreams.iter();
            upstreams.any(|upstream| {
                upstream.origins.name == event.upstream
                    && upstream.health.as_ref().is_some_and(|health| health.close)
            })
        });
        let upstreams = snapshot.upstreams.iter();
        self.roster
            .apply(upstreams.map(|upstream| &upstream.origins));
        self.checks
            .apply(snapshot.upstreams.iter().filter_map(|upstream| {
                let group = upstream.origins.group.get()?;
                Some((group, upstream.health.as_ref()))
            }));
    }

    /// Notes whose connections are to be closed from now on.
    fn note(&mut self, event: &OriginEvent) {
        let is_same =
            |old: &OriginEvent| old.upstream == event.upstream && old.address == event.address;
        match &event.change {
            Change::Down { close: true, .. } => self.closing.push(event.clone()),
            Change::Ejected(_) | Change::Joined | Change::Unresolved(_) => {}
            Change::Up | Change::Down { .. } | Change::Gone { .. } | Change::Removed => {
                self.closing.retain(|old| !is_same(old));
            }
        }
    }
}

impl Control {
    /// Something has happened to an origin.
    pub(super) fn origin_news(&mut self, event: &OriginEvent) {
        write_down(event);
        self.origins.note(event);
        if event.change == (Change::Gone { drain: true }) {
            let snapshot = self.live.load();
            let connections = self.connections_to(&event.upstream, &event.address, &event.origin);
            Window::removed(&snapshot.process.drain).drain(&connections);
        }
        self.close_those_down();
    }

    /// Ends connections to origins that are down, also those that were only just established.
    pub(super) fn close_those_down(&self) {
        for event in &self.origins.closing {
            let connections = self.connections_to(&event.upstream, &event.address, &event.origin);
            end(&connections, Reason::OriginDown);
        }
    }

    fn connections_to(
        &self,
        upstream: &str,
        address: &Address,
        origin: &str,
    ) -> Vec<Arc<Entry<Facts>>> {
        let mut connections = self.around.register.all();
        connections.retain(|connection| {
            let record = &connection.facts.record;
            let is_there = match address {
                Address::Ip(address) => record.origin_address == Some((*address).into()),
                _ => record.origin.as_deref() == Some(origin),
            };
            is_there && record.upstream.as_deref() == Some(upstream)
        });
        connections
    }

    /// How the origins are.
    pub(super) fn list_origins(&self) -> Value {
        let origins = self.origins.roster.list();
        json!({ "origins": origins.iter().map(describe).collect::<Vec<_>>() })
    }

    /// Does what an operator says about an origin. It holds until its line of the configuration changes.
    pub(super) fn order_origin(
        &self,
        upstream: &str,
        origin: &str,
        action: OriginAction,
    ) -> Answer {
        let roster = &self.origins.roster;
        let count = match action {
            OriginAction::Drain => roster.order(upstream, origin, Order::Drain),
            OriginAction::Disable => roster.order(upstream, origin, Order::Disable),
            OriginAction::Enable => roster.order(upstream, origin, Order::Enable),
            OriginAction::Weight(weight) if !WEIGHTS.contains(&weight) => {
                let message = "a weight is from 1 to 256: to take an origin out, drain it";
                return Err(Refusal::new(RefusalKind::Invalid, message));
            }
            OriginAction::Weight(weight) => roster.set_weight(upstream, origin, Some(weight)),
        };
        if count == 0 {
            let message = format!("the upstream `{upstream}` has no origin `{origin}` at work");
            return Err(Refusal::new(RefusalKind::NotFound, message));
        }
        info!(
            upstream,
            origin,
            ?action,
            "an origin is used in another way on request"
        );
        let list = roster.list();
        let meant = list.iter().filter(|status| {
            let is_named = *status.origin == *origin || status.address.to_string() == origin;
            *status.upstream == *upstream && is_named
        });
        if action == OriginAction::Disable {
            for status in meant.clone() {
                let connections = self.connections_to(upstream, &status.address, &status.origin);
                end(&connections, Reason::Killed);
            }
        }
        Ok(json!({ "origins": meant.map(describe).collect::<Vec<_>>() }))
    }
}

/// Ends connections that were not told to end yet.
fn end(connections: &[Arc<Entry<Facts>>], reason: Reason) {
    for connection in connections {
        let is_ending = matches!(connection.leash.order(), Some(lifecycle::Order::End { .. }));
        if !is_ending {
            connection.leash.tell(lifecycle::Order::End {
                reason,
                at: Instant::now(),
            });
        }
    }
}

fn describe(status: &OriginStatus) -> Value {
    let state = match (status.order, status.is_up, status.ejected_for) {
        (Order::Disable, ..) => "disabled",
        (Order::Drain, ..) => "drain",
        (Order::Enable, false, _) => "down",
        (Order::Enable, true, Some(_)) => "ejected",
        (Order::Enable, true, None) => "up",
    };
    let mut shown = json!({
        "upstream": &*status.upstream,
        "name": &*status.origin,
        "address": status.address.to_string(),
        "state": state,
        "backup": status.backup,
        "weight": status.weight,
        "connections": status.live,
    });
    if let Some(most) = status.connections {
        shown["most"] = json!(most);
    }
    if let Some(time) = status.ejected_for {
        shown["ejected_seconds"] = json!(time.as_secs());
    }
    if let Some(check) = &status.last_check {
        shown["checked"] = json!(timestamp(check.at));
        shown["check"] = json!(match &check.verdict {
            Verdict::Well | Verdict::Willing => "ok".to_owned(),
            Verdict::Unwell(why) | Verdict::Unwilling(why) => escape::text(why),
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
        Change::Down { why, .. } => {
            warn!(%upstream, %origin, %address, %why, "an origin is down");
        }
        Change::Ejected(time) => {
            let seconds = time.as_secs_f64();
            warn!(%upstream, %origin, %address, seconds, "an origin fails connections and is ejected");
        }
        Change::Joined => info!(%upstream, %origin, %address, "an origin has joined"),
        Change::Gone { .. } => info!(%upstream, %origin, %address, "an origin has left DNS"),
        Change::Removed => {
            info!(%upstream, %origin, %address, "an origin has left the configuration");
        }
        Change::Unresolved(why) => {
            warn!(%upstream, %origin, %why, "an origin's name cannot be resolved");
        }
    }
}
