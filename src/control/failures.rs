//! The latest failures, for `/failures`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::admin::{FailureQuery, Refusal, RefusalKind, RequestResult};
use crate::control::connections::{is_route, is_sni};
use crate::observe::access_log::Client;
use crate::observe::escape;
use crate::observe::failures::{FailureRecord, Failures};
use crate::observe::format::timestamp;
use crate::outcome::{LimitOwner, Reason};

/// Answers with those that match, the latest first.
pub(crate) fn list(
    failures: &Failures,
    query: FailureQuery,
    reply: oneshot::Sender<RequestResult>,
) {
    let failures = failures.clone();
    spawn_blocking(move || {
        let _ = reply.send(answer(&failures, &query));
    });
}

fn answer(failures: &Failures, query: &FailureQuery) -> RequestResult {
    if let Some(code) = &query.reason
        && !Reason::ALL.iter().any(|reason| reason.code() == code)
    {
        let message = "there is no such reason: docs/reasons.md has them all";
        return Err(Refusal::new(RefusalKind::NotFound, message));
    }
    let mut kept = failures.latest();
    kept.retain(|failure| matches(failure, query));
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for failure in &kept {
        *counts.entry(failure.outcome.reason as usize).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
    let reasons = counts.into_iter().filter_map(|(reason, count)| {
        let reason = *Reason::ALL.get(reason)?;
        let mut shown = about(reason);
        shown["count"] = json!(count);
        Some(shown)
    });
    Ok(json!({
        "matched": kept.len(),
        "failures": kept.iter().take(query.limit).map(|f| describe(f)).collect::<Value>(),
        "reasons": reasons.collect::<Value>(),
        "not_kept": failures.skipped(),
    }))
}

fn matches(failure: &FailureRecord, query: &FailureQuery) -> bool {
    let wants = |wanted: &Option<String>, value: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| value == Some(wanted))
    };
    let FailureRecord { endpoint, .. } = failure;
    wants(&query.reason, Some(failure.outcome.reason.code()))
        && wants(&query.endpoint, Some(endpoint))
        && wants(&query.origin, failure.origin.as_deref())
        && query.id.is_none_or(|id| failure.id == id)
        && query
            .sni
            .as_deref()
            .is_none_or(|sni| is_sni(sni, failure.sni.as_deref()))
        && query
            .route
            .as_deref()
            .is_none_or(|route| is_route(route, endpoint, failure.route.as_deref()))
        && query.source.is_none_or(|network| match failure.client {
            Client::Ip(address) => network.contains(&address.ip().to_canonical()),
            Client::Unix(_) => false,
        })
}

/// A reason, what it means and what to do: the words of docs/reasons.md.
fn about(reason: Reason) -> Value {
    json!({
        "reason": reason.code(),
        "fault": reason.fault().map(|fault| fault.word()),
        "meaning": reason.meaning(),
        "remedy": reason.remedy(),
    })
}

/// A failure as JSON. Bytes from the wire are escaped.
fn describe(failure: &FailureRecord) -> Value {
    let outcome = &failure.outcome;
    let mut shown = about(outcome.reason);
    shown["time"] = json!(timestamp(failure.at));
    shown["id"] = json!(format!("{:016x}", failure.id));
    shown["endpoint"] = json!(&*failure.endpoint);
    shown["client"] = json!(failure.client.to_string());
    shown["sni"] = json!(failure.sni.as_deref().map(escape::text));
    shown["route"] = json!(failure.route.as_deref());
    shown["stage"] = json!(outcome.stage.word());
    shown["bytes_up"] = json!(failure.traffic.up);
    shown["bytes_down"] = json!(failure.traffic.down);
    let mut maybe = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            shown[key] = json!(value);
        }
    };
    maybe("upstream", failure.upstream.as_deref().map(str::to_owned));
    maybe("origin", failure.origin.as_deref().map(str::to_owned));
    if let Some(names) = &failure.client_cert {
        let [subject, serial] = &**names;
        maybe("client_cert", Some(escape::name(subject)));
        maybe("client_cert_serial", Some(escape::text(serial)));
    }
    maybe(
        "limit",
        outcome
            .limit
            .map(|limit| LimitOwner::word(limit).to_owned()),
    );
    maybe("detail", outcome.detail.as_deref().map(escape::text));
    shown
}
