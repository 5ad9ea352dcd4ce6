//! The page of all metrics: where the samples of each family come from.

mod origins;
mod scopes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::counts::EndpointTotals;
use super::families::*;
use super::inventory::Inventory;
use super::page::{Page, unix};
use super::process::Metrics;
use super::usage::ProcessUsage;

impl Metrics {
    /// Renders all metrics in the text format of Prometheus.
    pub fn render(&self) -> String {
        render(self)
    }
}

fn render(metrics: &Metrics) -> String {
    let mut page = Page::default();
    page.family(&BUILD).add(&[env!("CARGO_PKG_VERSION")], 1);
    process(&mut page, metrics);
    connections(&mut page, metrics);
    origins::render(&mut page, metrics);
    limits(&mut page, metrics);
    ends(&mut page, &metrics.inventory.load());
    fetches(&mut page, metrics);
    issuers(&mut page, metrics);
    let mut reloads = page.family(&RELOADS);
    for (result, count) in metrics.reloads.counts() {
        reloads.add(&[result.word()], count);
    }
    let is_successful = u8::from(metrics.reloads.is_successful());
    page.family(&RELOAD_SUCCESSFUL).add(&[], is_successful);
    page.family(&RELOAD_SUCCESS)
        .add(&[], unix(metrics.reloads.succeeded()));
    let mut dropped = page.family(&LOG_DROPPED);
    for (log, count) in &metrics.logs {
        dropped.add(&[log], (count.0)());
    }
    let fleet = metrics.fleet();
    let mut age = page.family(&FLEET_AGE);
    if let Some(fleet) = fleet {
        age.add(&[], fleet.age.as_secs_f64());
    }
    let mut refused = page.family(&FLEET_REFUSED);
    if let Some(fleet) = fleet {
        refused.add(&[], u8::from(fleet.is_refused));
    }
    page.finish()
}

/// The issuers of certificates.
fn issuers(page: &mut Page, metrics: &Metrics) {
    let inventory = metrics.inventory.load();
    let mut pending = page.family(&ACME_PENDING);
    for issuer in &inventory.issuers {
        pending.add(&[&issuer.issuer], issuer.pending);
    }
    let mut expiry = page.family(&ACME_EXPIRY);
    for issuer in &inventory.issuers {
        if let Some(end) = issuer.first_end {
            expiry.add(&[&issuer.issuer], end);
        }
    }
    let samples = metrics.issuers();
    let mut failing = page.family(&ACME_FAILING);
    for sample in &samples {
        failing.add(&[&sample.issuer], sample.failing);
    }
    let mut orders = page.family(&ACME_ORDERS);
    for sample in &samples {
        for (result, count) in &sample.orders {
            orders.add(&[&sample.issuer, result], count);
        }
    }
}

/// What the process and its workers use of the machine.
fn process(page: &mut Page, metrics: &Metrics) {
    page.family(&START).add(&[], unix(metrics.start));
    let usage = ProcessUsage::read();
    page.family(&CPU).add(&[], usage.cpu);
    for (family, value) in [
        (&RESIDENT, usage.resident),
        (&VIRTUAL, usage.virtual_memory),
        (&OPEN_FDS, usage.open_fds),
        (&MAX_FDS, usage.max_fds),
    ] {
        let mut samples = page.family(family);
        if let Some(value) = value {
            samples.add(&[], value);
        }
    }
    let workers = metrics.workers();
    let numbered = || {
        workers
            .iter()
            .enumerate()
            .map(|(n, worker)| (n.to_string(), worker))
    };
    let mut connections = page.family(&WORKER_CONNECTIONS);
    for (number, worker) in numbered() {
        connections.add(&[&number], worker.connections);
    }
    let mut busy = page.family(&WORKER_BUSY);
    for (number, worker) in numbered() {
        busy.add(&[&number], worker.busy.as_secs_f64());
    }
}

/// What was fetched about revocation.
fn fetches(page: &mut Page, metrics: &Metrics) {
    let samples = metrics.fetches();
    let mut fetches = page.family(&FETCHES);
    for sample in &samples {
        fetches.add(&[sample.kind, &sample.url, "used"], sample.used);
        fetches.add(&[sample.kind, &sample.url, "failed"], sample.failed);
    }
    let mut failing = page.family(&FETCH_FAILING);
    for sample in &samples {
        failing.add(&[sample.kind, &sample.url], u8::from(sample.is_failing));
    }
    let mut fetched = page.family(&FETCHED);
    for sample in &samples {
        fetched.add(&[sample.kind, &sample.url], sample.fetched);
    }
}

/// The queues and the limits of the process.
fn limits(page: &mut Page, metrics: &Metrics) {
    let queues = metrics.queues();
    let mut queued = page.family(&QUEUED);
    for queue in queues.iter() {
        queued.add(&[&queue.upstream], queue.waiting);
    }
    let mut max = page.family(&QUEUE_MAX);
    for queue in queues.iter() {
        if let Some(limit) = queue.max {
            max.add(&[&queue.upstream], limit);
        }
    }
    let samples: Vec<_> = metrics.limits().collect();
    let mut values = page.family(&LIMITS);
    for (limit, sample) in &samples {
        values.add(&[limit], sample.max);
    }
    let mut used = page.family(&LIMITS_USED);
    for (limit, sample) in &samples {
        used.add(&[limit], sample.used);
    }
    let mut reached = page.family(&LIMITS_REACHED);
    for (limit, sample) in &samples {
        reached.add(&[limit], sample.reached);
    }
    scopes::render(page, &metrics.scopes());
}

/// The expiry times of the current generation's certificates, CAs and CRLs.
fn ends(page: &mut Page, inventory: &Inventory) {
    let mut certificates = page.family(&CERTIFICATES);
    for end in &inventory.certificates {
        certificates.add(&[&end.owner, &end.certificate], end.not_after);
    }
    let mut chains = page.family(&CHAINS);
    for end in &inventory.certificates {
        chains.add(&[&end.owner, &end.certificate], end.chain_end);
    }
    let mut renewals = page.family(&RENEWALS);
    for end in &inventory.certificates {
        renewals.add(&[&end.owner, &end.certificate], end.renewal_due);
    }
    let mut staples = page.family(&STAPLES);
    for end in &inventory.certificates {
        if let Some(staple_end) = end.staple_end {
            staples.add(&[&end.owner, &end.certificate], staple_end);
        }
    }
    let mut certificates = page.family(&CLIENT_CERTIFICATES);
    for end in &inventory.client_certificates {
        certificates.add(&[&end.owner, &end.certificate], end.not_after);
    }
    let mut chains = page.family(&CLIENT_CHAINS);
    for end in &inventory.client_certificates {
        chains.add(&[&end.owner, &end.certificate], end.chain_end);
    }
    let mut renewals = page.family(&CLIENT_RENEWALS);
    for end in &inventory.client_certificates {
        renewals.add(&[&end.owner, &end.certificate], end.renewal_due);
    }
    let mut authorities = page.family(&AUTHORITIES);
    for end in &inventory.authorities {
        authorities.add(&[&end.file, &end.subject], end.not_after);
    }
    let mut renewals = page.family(&AUTHORITY_RENEWALS);
    for end in &inventory.authorities {
        renewals.add(&[&end.file, &end.subject], end.renewal_due);
    }
    let mut lists = page.family(&LISTS);
    for list in &inventory.lists {
        lists.add(&[&list.file, &list.issuer], list.next_update);
    }
}

/// The counters of connections.
fn connections(page: &mut Page, metrics: &Metrics) {
    let totals = metrics.totals();
    let mut begun = page.family(&CONNECTIONS);
    for (endpoint, total) in &totals {
        begun.add(&[endpoint], total.begun);
    }
    let mut live = page.family(&LIVE);
    for (endpoint, total) in &totals {
        live.add(&[endpoint], total.live);
    }
    let mut handshakes = page.family(&HANDSHAKES_DONE);
    for (endpoint, total) in &totals {
        for (version, resumed, count) in total.handshakes.happened() {
            handshakes.add(&[endpoint, version, resumed], count);
        }
    }
    let mut active = page.family(&HANDSHAKES_NOW);
    for (state, count) in &metrics.handshakes {
        active.add(&[state], count.load(Ordering::Relaxed));
    }
    let tickets = metrics.tickets();
    page.family(&TICKETS_ISSUED).add(&[], tickets.issued);
    let mut offered = page.family(&TICKETS_OFFERED);
    offered.add(&["accepted"], tickets.accepted);
    offered.add(&["refused"], tickets.refused);
    let mut times = page.family(&HANDSHAKE_TIMES);
    for (endpoint, total) in &totals {
        times.add_histogram(&[endpoint], &total.handshake);
    }
    routes(page, &totals);
}

/// The counters of routes.
fn routes(page: &mut Page, totals: &BTreeMap<Arc<str>, EndpointTotals>) {
    let routes = || {
        totals.iter().flat_map(|(endpoint, total)| {
            let named = total.routes.iter().map(|(name, route)| (&**name, route));
            let all = [("", &total.unrouted)].into_iter().chain(named);
            all.map(move |(name, route)| (&**endpoint, name, route))
        })
    };
    let mut outcomes = page.family(&OUTCOMES);
    for (endpoint, route, total) in routes() {
        for (kind, reason, count) in total.outcomes.happened() {
            let fault = kind.fault(reason).map_or("", |fault| fault.word());
            let stage = kind.stage().word();
            outcomes.add(&[endpoint, route, stage, reason.code(), fault], count);
        }
    }
    let mut bytes = page.family(&BYTES);
    for (endpoint, route, total) in routes().filter(|(_, route, _)| !route.is_empty()) {
        bytes.add(&[endpoint, route, "up"], total.up);
        bytes.add(&[endpoint, route, "down"], total.down);
    }
    let mut times = page.family(&CONNECTION_TIMES);
    for (endpoint, route, total) in routes() {
        times.add_histogram(&[endpoint, route], &total.duration);
    }
}
