//! Origins as JSON, and their events as lines of the log.

use serde_json::{Value, json};
use tracing::{info, warn};

use crate::observe::escape;
use crate::observe::format::timestamp;
use crate::observe::metrics::AttemptFailure;
use crate::upstream::{AdminState, Change, LastCheck, OriginEvent, OriginStatus, Verdict};

/// The word for the state of an origin.
pub(super) const fn state(status: &OriginStatus) -> &'static str {
    match (status.admin, status.is_up, status.ejected_for) {
        _ if status.unresolved.is_some() => "unresolved",
        (AdminState::Disabled, ..) => "disabled",
        (AdminState::Draining, ..) => "drain",
        (AdminState::Enabled, false, _) => "down",
        (AdminState::Enabled, true, Some(_)) => "ejected",
        (AdminState::Enabled, true, None) => "up",
    }
}

/// An origin as JSON. Bytes from the wire are escaped.
pub(super) fn describe(
    status: &OriginStatus,
    checks: &[LastCheck],
    failures: &[AttemptFailure],
) -> Value {
    let mut shown = json!({
        "upstream": &*status.upstream,
        "name": &*status.definition.name,
        "address": status.address.to_string(),
        "state": state(status),
        "backup": status.definition.backup,
        "weight": status.weight,
        "connections": status.connections,
        "since": status.since.map(timestamp),
        "flaps": status.flaps,
        "failures": failures.iter().map(failure).collect::<Value>(),
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
        shown["check"] = json!(result(check));
        let results = checks
            .iter()
            .rev()
            .map(|check| json!({ "time": timestamp(check.at), "result": result(check) }));
        shown["checks"] = results.collect();
    }
    shown
}

fn result(check: &LastCheck) -> String {
    match &check.verdict {
        Verdict::Pass | Verdict::ForceUp => "ok".to_owned(),
        Verdict::Fail(why) | Verdict::ForceDown(why) => escape::text(why),
    }
}

fn failure(failure: &AttemptFailure) -> Value {
    let mut shown = json!({
        "time": timestamp(failure.at),
        "reason": failure.reason.code(),
        "count": failure.count,
    });
    if let Some(detail) = &failure.detail {
        shown["detail"] = json!(escape::text(detail));
    }
    shown
}

/// Logs an event of an origin.
pub(super) fn log(event: &OriginEvent) {
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
