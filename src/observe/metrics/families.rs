//! Every metric: its name, labels and help text, and the source of its samples. docs/metrics.md lists the
//! same.

use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;

use super::counts::HANDSHAKES;
use super::inventory::Inventory;
use super::page::{MetricFamily, MetricKind, Page};
use super::process::{Metrics, ReloadResult};

macro_rules! families {
    ($($id:ident $name:literal $kind:ident [$($label:literal),*] $help:literal;)+) => {
        $(
            static $id: MetricFamily = MetricFamily {
                name: $name,
                kind: MetricKind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )+

        /// Every metric, in the order of the page.
        #[cfg(test)]
        static ALL: &[&MetricFamily] = &[$(&$id),+];
    };
}

families! {
    BUILD "reseal_build_info" Gauge ["version"] "Always 1; the version is a label.";
    START "process_start_time_seconds" Gauge [] "When the process began, in seconds of unix time.";
    CONNECTIONS "reseal_connections_total" Counter ["endpoint"] "Connections accepted.";
    LIVE "reseal_connections_live" Gauge ["endpoint"] "Connections that have no outcome yet.";
    HANDSHAKES_DONE "reseal_handshakes_total" Counter ["endpoint", "version", "resumed"]
        "TLS handshakes with clients that were finished.";
    HANDSHAKES_NOW "reseal_handshakes_active" Gauge ["state"]
        "TLS handshakes with clients that have a permit of `process.limits.handshakes` (`admitted`), or \
         wait for one (`waiting`).";
    OUTCOMES "reseal_outcomes_total" Counter ["endpoint", "route", "stage", "reason", "fault"]
        "Connections ended, by their outcome.";
    BYTES "reseal_bytes_total" Counter ["endpoint", "route", "direction"]
        "Application bytes carried, those of connections that go on included.";
    ORIGINS_USABLE "reseal_origin_usable_addresses" Gauge ["upstream", "origin"]
        "Addresses of an origin that may get new connections: 0 when it is down, drained, disabled or \
         unresolved, or ejected while others are not.";
    ORIGIN_CONNECTIONS "reseal_origin_connections" Gauge ["upstream", "origin"]
        "Connections to the present addresses of an origin, those that are being made included.";
    ORIGIN_CONNECTIONS_MAX "reseal_origin_connections_max" Gauge ["upstream", "origin"]
        "The most connections at all present addresses of an origin, if it has a limit (`connections`).";
    QUEUED "reseal_queue_waiting" Gauge ["upstream"]
        "Connections that wait because all origins of an upstream are at their limits.";
    LIMITS "reseal_limit" Gauge ["limit"] "The value of a limit of the process.";
    LIMITS_USED "reseal_limit_used" Gauge ["limit"] "How much of a limit of the process is in use.";
    LIMITS_REACHED "reseal_limit_reached_total" Counter ["limit"]
        "How often a client had to wait because of a limit of the process.";
    CERTIFICATES "reseal_certificate_expiry_timestamp_seconds" Gauge ["endpoint", "certificate"]
        "When a certificate for clients expires, in seconds of unix time.";
    CHAINS "reseal_certificate_chain_expiry_timestamp_seconds" Gauge ["endpoint", "certificate"]
        "When the first certificate of a chain for clients expires, in seconds of unix time.";
    RENEWALS "reseal_certificate_renewal_due_timestamp_seconds" Gauge ["endpoint", "certificate"]
        "When the renewal of a certificate for clients or another one of its chain is due: 14 days before \
         its end, or a third of its lifetime if that is less, in seconds of unix time.";
    STAPLES "reseal_ocsp_next_update_timestamp_seconds" Gauge ["endpoint", "certificate"]
        "When a stapled OCSP response has to be replaced by a newer one, in seconds of unix time.";
    CLIENT_CERTIFICATES "reseal_client_certificate_expiry_timestamp_seconds" Gauge ["upstream", "certificate"]
        "When a certificate for origins expires, in seconds of unix time.";
    CLIENT_CHAINS "reseal_client_certificate_chain_expiry_timestamp_seconds" Gauge ["upstream", "certificate"]
        "When the first certificate of a chain for origins expires, in seconds of unix time.";
    CLIENT_RENEWALS "reseal_client_certificate_renewal_due_timestamp_seconds" Gauge ["upstream", "certificate"]
        "When the renewal of a certificate for origins or another one of its chain is due: 14 days before \
         its end, or a third of its lifetime if that is less, in seconds of unix time.";
    AUTHORITIES "reseal_ca_expiry_timestamp_seconds" Gauge ["file", "ca"]
        "When a CA of a file expires, in seconds of unix time.";
    AUTHORITY_RENEWALS "reseal_ca_renewal_due_timestamp_seconds" Gauge ["file", "ca"]
        "When the renewal of a CA of a file is due: 30 days before its end, or a third of its lifetime if \
         that is less, in seconds of unix time.";
    LISTS "reseal_crl_next_update_timestamp_seconds" Gauge ["file", "issuer"]
        "When a revocation list has to be replaced by a newer one, in seconds of unix time.";
    RELOADS "reseal_reloads_total" Counter ["result"]
        "Reloads of the configuration: done, refused, or partial, if a file could not be used and its old \
         content stays.";
    LOG_DROPPED "reseal_log_dropped_total" Counter ["log"]
        "Lines of a log that were lost because its output was too slow or failed.";
}

impl Metrics {
    /// Renders all metrics in the text format of Prometheus.
    pub fn render(&self) -> String {
        render(self)
    }
}

fn render(metrics: &Metrics) -> String {
    let mut page = Page::default();
    page.family(&BUILD).add(&[env!("CARGO_PKG_VERSION")], 1);
    let start = metrics.start.duration_since(UNIX_EPOCH).unwrap_or_default();
    page.family(&START)
        .add(&[], format_args!("{:.3}", start.as_secs_f64()));
    connections(&mut page, metrics);
    let origins = metrics.origins.load();
    let mut usable = page.family(&ORIGINS_USABLE);
    for origin in origins.iter() {
        usable.add(&[&origin.upstream, &origin.origin], origin.usable);
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
    limits(&mut page, metrics);
    ends(&mut page, &metrics.inventory.load());
    let mut reloads = page.family(&RELOADS);
    for (result, count) in ReloadResult::ALL.iter().zip(&metrics.reloads) {
        reloads.add(&[result.word()], count.load(Ordering::Relaxed));
    }
    let mut dropped = page.family(&LOG_DROPPED);
    for (log, sink) in &metrics.logs {
        dropped.add(&[log], sink.dropped());
    }
    page.finish()
}

/// The queues and the limits of the process.
fn limits(page: &mut Page, metrics: &Metrics) {
    let mut queued = page.family(&QUEUED);
    for queue in metrics.queues().iter() {
        queued.add(&[&queue.upstream], queue.waiting);
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
        for ((version, resumed), count) in HANDSHAKES.iter().zip(total.handshakes) {
            if count > 0 {
                let resumed = if *resumed { "true" } else { "false" };
                handshakes.add(&[endpoint, version, resumed], count);
            }
        }
    }
    let mut active = page.family(&HANDSHAKES_NOW);
    for (state, count) in &metrics.handshakes {
        active.add(&[state], count.load(Ordering::Relaxed));
    }
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documented() -> Vec<String> {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        let docs = std::fs::read_to_string(docs).unwrap();
        let is_row =
            |line: &&str| line.starts_with("| `reseal_") || line.starts_with("| `process_");
        let rows = docs.lines().filter(is_row);
        rows.map(str::to_owned).collect()
    }

    #[test]
    fn the_documentation_has_every_metric() {
        let rows: Vec<_> = ALL
            .iter()
            .map(|family| {
                let labels: Vec<_> = family.labels.iter().map(|l| format!("`{l}`")).collect();
                let (name, kind) = (family.name, family.kind.word());
                format!(
                    "| `{name}` | {kind} | {} | {} |",
                    labels.join(", "),
                    family.help
                )
            })
            .collect();
        assert_eq!(documented(), rows);
    }

    #[test]
    fn names_say_their_unit_and_counters_end_in_total() {
        for family in ALL {
            let total = family.name.ends_with("_total");
            assert_eq!(total, family.kind == MetricKind::Counter, "{}", family.name);
            assert!(family.help.ends_with('.') && !family.help.contains('\n'));
        }
    }
}
