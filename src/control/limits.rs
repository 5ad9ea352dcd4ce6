//! The limits and how full they are, for `/status` and `/limits`.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::admin::{Refusal, RefusalKind, RequestResult};
use crate::admission::{LimitKind, LimitScope, LimitScopes, Limits, WhenFull};
use crate::observe::metrics::{BandwidthLimit, BandwidthSample, Metrics};
use crate::snapshot::Snapshot;

/// Each limit, with how much of it is in use: of the process, of origins, of queues.
pub(super) fn describe(metrics: &Metrics) -> Value {
    let mut limits: Vec<_> = metrics
        .limits()
        .map(|(limit, sample)| {
            json!({
                "limit": limit,
                "used": sample.used,
                "max": sample.max,
                "reached": sample.reached,
            })
        })
        .collect();
    let scopes = metrics.scopes();
    for sample in scopes.limits {
        let place = match &sample.route {
            None => format!("endpoint {}", sample.endpoint),
            Some(route) => format!("route {}/{route}", sample.endpoint),
        };
        let mut limit =
            json!({ "limit": format!("{} of {place}", sample.limit), "value": sample.value });
        if let Some((max, used)) = sample.use_of {
            limit["max"] = json!(max);
            limit["used"] = json!(used);
        }
        limit["refused"] = json!(sample.refused);
        if sample.would_refuse > 0 {
            limit["would_refuse"] = json!(sample.would_refuse);
        }
        limits.push(limit);
    }
    for sample in &scopes.bandwidth {
        limits.extend(sample.limits.iter().map(|limit| bandwidth(sample, limit)));
    }
    for origin in metrics.origins().iter() {
        if let Some(max) = origin.max {
            limits.push(json!({
                "limit": format!("connections of {} {}", origin.upstream, origin.origin),
                "used": origin.connections,
                "max": max,
            }));
        }
    }
    let limited: Vec<_> = metrics
        .origins()
        .iter()
        .filter(|origin| origin.max.is_some())
        .map(|origin| origin.upstream.clone())
        .collect();
    for queue in metrics.queues().iter() {
        if limited.contains(&queue.upstream) {
            limits.push(json!({
                "limit": format!("queue of {}", queue.upstream),
                "used": queue.waiting,
                "max": queue.max,
            }));
        }
    }
    Value::Array(limits)
}

fn bandwidth(of: &BandwidthSample, limit: &BandwidthLimit) -> Value {
    let (endpoint, route) = (&of.endpoint, &of.route);
    let name = format!(
        "{}.{} of route {endpoint}/{route}",
        limit.limit, of.direction
    );
    let mut described = json!({
        "limit": name,
        "value": limit.value,
        "waiting": of.waiting,
        "delayed_bytes": limit.delayed,
    });
    if limit.would_delay > 0 {
        described["would_delay_bytes"] = json!(limit.would_delay);
    }
    described
}

/// How full the limits of an endpoint and of one of its routes are for a client at this address.
pub(super) fn fill(
    snapshot: &Snapshot,
    scopes: &LimitScopes,
    endpoint: &str,
    route: Option<&str>,
    source: Option<IpAddr>,
) -> RequestResult {
    let unknown = |what: &str| {
        let message = format!("there is no {what} of this name");
        Refusal::new(RefusalKind::NotFound, message)
    };
    let found = snapshot.endpoint(endpoint);
    let found = found.ok_or_else(|| unknown("endpoint"))?;
    let mut all = Vec::new();
    if let Some((limits, scope)) = found.limits.as_deref().zip(scopes.endpoint(endpoint)) {
        all.extend(fills("endpoint", limits, &scope, source));
    }
    if let Some(name) = route {
        let route = found.route(name).ok_or_else(|| unknown("route"))?;
        let scope = scopes.route(endpoint, name);
        if let Some((limits, scope)) = route.limits.as_deref().zip(scope) {
            all.extend(fills("route", limits, &scope, source));
        }
    }
    Ok(json!({ "limits": all }))
}

fn fills(of: &str, limits: &Limits, scope: &LimitScope, source: Option<IpAddr>) -> Vec<Value> {
    let fill = |kind: LimitKind| {
        let value = limits.value(kind)?;
        let Some(fill) = scope.fill(kind, limits, source) else {
            // A limit by source, and no address.
            return Some(json!({
                "of": of,
                "limit": kind.word(),
                "value": value,
                "used": null,
                "next": null,
            }));
        };
        let waits = limits.when_full == WhenFull::Wait && limits.most(kind).is_some();
        let then = match (fill.is_reached, limits.dry_run) {
            (false, _) => "admitted",
            (true, true) => "counted",
            (true, false) if waits => "waits",
            (true, false) => "refused",
        };
        Some(json!({
            "of": of,
            "limit": kind.word(),
            "value": value,
            "used": fill.used,
            "next": then,
        }))
    };
    let bandwidth = limits.bandwidths().map(|(key, rate)| {
        let is_busy = scope.bandwidth(key.way).waiting > 0;
        json!({
            "of": of,
            "limit": key.to_string(),
            "value": rate.to_string(),
            "next": if is_busy { "admitted, and waits for its share" } else { "admitted" },
        })
    });
    let counted = LimitKind::ALL.into_iter().filter_map(fill);
    counted.chain(bandwidth).collect()
}
