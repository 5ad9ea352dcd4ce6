//! The limits that clients may have to wait for, for `/status`.

use serde_json::{Value, json};

use crate::observe::metrics::Metrics;

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
    for sample in metrics.scopes().limits {
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
