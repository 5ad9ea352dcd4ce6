//! The samples of upstreams and their origins.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::families::*;
use super::super::page::{Page, unix};
use super::super::process::Metrics;
use super::super::upstreams::UpstreamTotals;

/// The state and the counters of origins and upstreams.
pub(super) fn render(page: &mut Page, metrics: &Metrics) {
    let origins = metrics.origins.load();
    let mut usable = page.family(&ORIGINS_USABLE);
    for origin in origins.iter() {
        usable.add(&[&origin.upstream, &origin.origin], origin.usable);
    }
    let mut changed = page.family(&ORIGIN_CHANGED);
    for origin in origins.iter() {
        changed.add(&[&origin.upstream, &origin.origin], unix(origin.changed));
    }
    let mut connected = page.family(&ORIGIN_CONNECTIONS);
    for origin in origins.iter() {
        connected.add(&[&origin.upstream, &origin.origin], origin.connections);
    }
    let mut max = page.family(&ORIGIN_CONNECTIONS_MAX);
    for origin in origins.iter() {
        if let Some(limit) = origin.max {
            max.add(&[&origin.upstream, &origin.origin], limit);
        }
    }
    let upstreams = metrics.upstreams();
    attempts(page, &upstreams);
    let mut checks = page.family(&ORIGIN_CHECKS);
    for origin in origins.iter() {
        for (result, count) in ["passed", "failed"]
            .iter()
            .zip(origin.checks.iter().flatten())
        {
            checks.add(&[&origin.upstream, &origin.origin, result], count);
        }
    }
    steps(page, &upstreams);
}

/// What became of the attempts at origins.
fn attempts(page: &mut Page, upstreams: &BTreeMap<Arc<str>, UpstreamTotals>) {
    let origins = || {
        upstreams.iter().flat_map(|(upstream, total)| {
            let origins = total.origins.iter();
            origins.map(move |(name, origin)| (&**upstream, &**name, origin))
        })
    };
    let mut established = page.family(&ORIGIN_ESTABLISHED);
    for (upstream, origin, total) in origins() {
        established.add(&[upstream, origin], total.established);
    }
    let mut failures = page.family(&ORIGIN_FAILURES);
    for (upstream, origin, total) in origins() {
        for (reason, count) in total.failures() {
            failures.add(&[upstream, origin, reason.code()], count);
        }
    }
    let mut retries = page.family(&ORIGIN_RETRIES);
    for (upstream, origin, total) in origins() {
        retries.add(&[upstream, origin], total.retries);
    }
}

/// The steps to origins, and their times.
fn steps(page: &mut Page, upstreams: &BTreeMap<Arc<str>, UpstreamTotals>) {
    let mut times = page.family(&CONNECT_TIMES);
    for (upstream, total) in upstreams {
        times.add_histogram(&[upstream], &total.connect);
    }
    let mut handshakes = page.family(&ORIGIN_HANDSHAKES);
    for (upstream, total) in upstreams {
        for (version, resumed, count) in total.handshakes.happened() {
            handshakes.add(&[upstream, version, resumed], count);
        }
    }
    let mut times = page.family(&ORIGIN_HANDSHAKE_TIMES);
    for (upstream, total) in upstreams {
        times.add_histogram(&[upstream], &total.handshake);
    }
}
