//! The limits of endpoints and routes.

use std::sync::Arc;

use super::super::families::*;
use super::super::limits::{BandwidthLimit, BandwidthSample, ScopeReport, ScopeSample};
use super::super::page::Page;

/// The limits of endpoints and routes.
pub(super) fn render(page: &mut Page, report: &ScopeReport) {
    let place = |sample: &ScopeSample| {
        let route = sample.route.clone().unwrap_or_default();
        (Arc::clone(&sample.endpoint), route)
    };
    let mut values = page.family(&SCOPE_LIMITS);
    for sample in &report.limits {
        if let Some((max, _)) = sample.use_of {
            let (endpoint, route) = place(sample);
            values.add(&[&endpoint, &route, sample.limit], max);
        }
    }
    let mut used = page.family(&SCOPE_LIMITS_USED);
    for sample in &report.limits {
        if let Some((_, in_use)) = sample.use_of {
            let (endpoint, route) = place(sample);
            used.add(&[&endpoint, &route, sample.limit], in_use);
        }
    }
    let mut refused = page.family(&SCOPE_REFUSED);
    for sample in &report.limits {
        let (endpoint, route) = place(sample);
        let counts = [(false, sample.refused), (true, sample.would_refuse)];
        for (dry_run, count) in counts {
            // The other mode was in force before a reload, if at all.
            if count > 0 || dry_run == sample.is_dry_run {
                let dry_run = if dry_run { "true" } else { "false" };
                refused.add(&[&endpoint, &route, sample.limit, dry_run], count);
            }
        }
    }
    bandwidth(page, report);
    page.family(&SOURCES).add(&[], report.sources);
}

/// The bandwidth of routes.
fn bandwidth(page: &mut Page, report: &ScopeReport) {
    let each = |add: &mut dyn FnMut(&BandwidthSample, &BandwidthLimit)| {
        for sample in &report.bandwidth {
            sample.limits.iter().for_each(|limit| add(sample, limit));
        }
    };
    let mut rates = page.family(&BANDWIDTH);
    each(&mut |of, limit| {
        let labels = [&*of.endpoint, &*of.route, limit.limit, of.direction];
        rates.add(&labels, limit.rate);
    });
    let mut waiting = page.family(&BANDWIDTH_WAITING);
    for of in &report.bandwidth {
        waiting.add(&[&of.endpoint, &of.route, of.direction], of.waiting);
    }
    let mut delayed = page.family(&BANDWIDTH_DELAYED);
    each(&mut |of, limit| {
        for (dry_run, bytes) in [(false, limit.delayed), (true, limit.would_delay)] {
            if bytes > 0 || dry_run == of.is_dry_run {
                let word = if dry_run { "true" } else { "false" };
                let labels = [&*of.endpoint, &*of.route, limit.limit, of.direction, word];
                delayed.add(&labels, bytes);
            }
        }
    });
}
