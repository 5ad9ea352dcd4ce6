//! Every metric: its name, labels and help text. docs/metrics.md lists the same.

use super::page::{MetricFamily, MetricKind};

macro_rules! families {
    ($($id:ident $name:literal $kind:ident [$($label:literal),*] $help:literal;)+) => {
        $(
            pub(super) static $id: MetricFamily = MetricFamily {
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
    CPU "process_cpu_seconds_total" Counter [] "CPU time of all threads, in seconds.";
    RESIDENT "process_resident_memory_bytes" Gauge [] "Resident memory, in bytes.";
    VIRTUAL "process_virtual_memory_bytes" Gauge [] "Virtual memory, in bytes.";
    OPEN_FDS "process_open_fds" Gauge [] "Open file descriptors.";
    MAX_FDS "process_max_fds" Gauge [] "The most file descriptors that the process may open.";
    WORKER_CONNECTIONS "reseal_worker_connections" Gauge ["worker"]
        "Connections that a worker serves, those in their setup included.";
    WORKER_BUSY "reseal_worker_busy_seconds_total" Counter ["worker"]
        "How long a worker was at work, and not waiting for events, in seconds.";
    CONNECTIONS "reseal_connections_total" Counter ["endpoint"] "Connections accepted.";
    LIVE "reseal_connections_live" Gauge ["endpoint"] "Connections that have no outcome yet.";
    HANDSHAKES_DONE "reseal_handshakes_total" Counter ["endpoint", "version", "resumed"]
        "TLS handshakes with clients that were finished.";
    HANDSHAKES_NOW "reseal_handshakes_active" Gauge ["state"]
        "TLS handshakes with clients that have a permit of `process.limits.handshakes` (`admitted`), or \
         wait for one (`waiting`).";
    TICKETS_ISSUED "reseal_tickets_issued_total" Counter []
        "Tickets for the resumption of a session that clients were sent.";
    TICKETS_OFFERED "reseal_tickets_offered_total" Counter ["result"]
        "Tickets that clients offered: accepted, or refused because they are too old, of another policy or \
         under an unknown key.";
    HANDSHAKE_TIMES "reseal_handshake_duration_seconds" Histogram ["endpoint"]
        "How long finished TLS handshakes with clients took, from the whole ClientHello on, waiting for a \
         permit included.";
    OUTCOMES "reseal_outcomes_total" Counter ["endpoint", "route", "stage", "reason", "fault"]
        "Connections ended, by their outcome.";
    BYTES "reseal_bytes_total" Counter ["endpoint", "route", "direction"]
        "Application bytes carried, those of connections that go on included.";
    CONNECTION_TIMES "reseal_connection_duration_seconds" Histogram ["endpoint", "route"]
        "How long connections lasted whose relay had begun, from accepting to the end.";
    ORIGINS_USABLE "reseal_origin_usable_addresses" Gauge ["upstream", "origin"]
        "Addresses of an origin that may get new connections: 0 when it is down, drained, disabled or \
         unresolved, or ejected while others are not.";
    ORIGIN_CHANGED "reseal_origin_last_change_timestamp_seconds" Gauge ["upstream", "origin"]
        "When the number of usable addresses of an origin last changed, in seconds of unix time.";
    ORIGIN_CONNECTIONS "reseal_origin_connections_live" Gauge ["upstream", "origin"]
        "Connections to the present addresses of an origin, those that are being made included.";
    ORIGIN_CONNECTIONS_MAX "reseal_origin_connections_max" Gauge ["upstream", "origin"]
        "The most connections at all present addresses of an origin, if it has a limit (`connections`).";
    ORIGIN_ESTABLISHED "reseal_origin_connections_total" Counter ["upstream", "origin"]
        "Connections to an origin that were established: their relay began.";
    ORIGIN_FAILURES "reseal_origin_failures_total" Counter ["upstream", "origin", "reason"]
        "Attempts at an origin that failed, those that another attempt followed included.";
    ORIGIN_RETRIES "reseal_origin_retries_total" Counter ["upstream", "origin"]
        "Attempts at an origin that followed a failed attempt of the same connection, there or elsewhere.";
    ORIGIN_CHECKS "reseal_origin_checks_total" Counter ["upstream", "origin", "result"]
        "Health checks of an origin that were done.";
    CONNECT_TIMES "reseal_origin_connect_duration_seconds" Histogram ["upstream"]
        "How long connects to origins took that succeeded.";
    ORIGIN_HANDSHAKES "reseal_origin_handshakes_total" Counter ["upstream", "version", "resumed"]
        "TLS handshakes with origins that were finished.";
    ORIGIN_HANDSHAKE_TIMES "reseal_origin_handshake_duration_seconds" Histogram ["upstream"]
        "How long finished TLS handshakes with origins took.";
    QUEUED "reseal_queue_waiting" Gauge ["upstream"]
        "Connections that wait because all origins of an upstream are at their limits.";
    QUEUE_MAX "reseal_queue_max" Gauge ["upstream"]
        "The most connections that may wait for an upstream, if it has a limit (`connect.queue`).";
    LIMITS "reseal_limit" Gauge ["limit"] "The value of a limit of the process.";
    LIMITS_USED "reseal_limit_used" Gauge ["limit"] "How much of a limit of the process is in use.";
    LIMITS_REACHED "reseal_limit_reached_total" Counter ["limit"]
        "How often a client had to wait because of a limit of the process.";
    SCOPE_LIMITS "reseal_admission_limit" Gauge ["endpoint", "route", "limit"]
        "The value of `limits.connections` or `limits.handshakes` of an endpoint or route.";
    SCOPE_LIMITS_USED "reseal_admission_limit_used" Gauge ["endpoint", "route", "limit"]
        "How much of it is in use.";
    SCOPE_REFUSED "reseal_admission_refused_total" Counter ["endpoint", "route", "limit", "dry_run"]
        "Clients that a limit of an endpoint or route has refused, or would have refused in a dry run.";
    BANDWIDTH "reseal_bandwidth_limit_bytes_per_second" Gauge ["endpoint", "route", "limit", "direction"]
        "A limit of bandwidth of a route (`bandwidth`), or of each of its connections \
         (`bandwidth_per_connection`); `reseal_bytes_total` has what the route uses of it.";
    BANDWIDTH_WAITING "reseal_bandwidth_waiting" Gauge ["endpoint", "route", "direction"]
        "Connections with bytes that wait for their share of the bandwidth.";
    BANDWIDTH_DELAYED "reseal_bandwidth_delayed_bytes_total" Counter
        ["endpoint", "route", "limit", "direction", "dry_run"]
        "Bytes that had to wait for their share of the bandwidth, or would have had to in a dry run.";
    SOURCES "reseal_sources_tracked" Gauge [] "Sources of clients that are counted for limits.";
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
    FETCHES "reseal_revocation_fetches_total" Counter ["kind", "url", "result"]
        "Fetches of revocation lists (`crl`) and of responses to be stapled (`ocsp`): `used`, or `failed`, also if \
         what came could not be used.";
    FETCH_FAILING "reseal_revocation_fetch_failing" Gauge ["kind", "url"]
        "1 if the last fetch of a revocation list or of a response to be stapled failed, 0 otherwise.";
    FETCHED "reseal_revocation_last_fetch_timestamp_seconds" Gauge ["kind", "url"]
        "When a revocation list or a response to be stapled was last fetched and could be used, in seconds of unix \
         time; 0 if not since the start.";
    ACME_PENDING "reseal_acme_certificates_pending" Gauge ["issuer"]
        "Certificates that an issuer of `acme` has yet to issue: their routes refuse clients.";
    ACME_EXPIRY "reseal_acme_certificate_expiry_timestamp_seconds" Gauge ["issuer"]
        "When the first of the certificates expires that an issuer of `acme` keeps, in seconds of unix time.";
    ACME_FAILING "reseal_acme_certificates_failing" Gauge ["issuer"]
        "Certificates whose last order at an issuer of `acme` failed.";
    ACME_ORDERS "reseal_acme_orders_total" Counter ["issuer", "result"]
        "Orders at an issuer of `acme`: `issued`, or why they failed.";
    RELOADS "reseal_reloads_total" Counter ["result"]
        "Reloads of the configuration: done, refused, or partial, if a file could not be used and its old \
         content stays.";
    RELOAD_SUCCESSFUL "reseal_last_reload_successful" Gauge []
        "1 if the configuration and the files on disk are in use as far as they were read; 0 after a reload \
         that was refused, and while a file cannot be used.";
    RELOAD_SUCCESS "reseal_last_reload_success_timestamp_seconds" Gauge []
        "When a load or reload last left everything in use, in seconds of unix time.";
    LOG_DROPPED "reseal_log_dropped_total" Counter ["log"]
        "Lines of a log that were lost because its output was too slow or failed; records that did not reach \
         a collector (`syslog`, `otlp`).";
    FLEET_AGE "reseal_fleet_age_seconds" Gauge []
        "How long ago the store of the fleet was last heard; since the start, before that.";
    FLEET_REFUSED "reseal_fleet_document_refused" Gauge []
        "1 while this instance refuses the document that its fleet wants.";
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

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

    /// Whether a word is the name of a family or of a sample of one, or the beginning of some
    /// (`reseal_limit_*`).
    fn is_metric(word: &str) -> bool {
        ALL.iter().any(|family| {
            if word.ends_with('_') {
                return family.name.starts_with(word);
            }
            let suffix = word.strip_prefix(family.name);
            let is_histogram = family.kind == MetricKind::Histogram;
            suffix.is_some_and(|suffix| match suffix {
                "" => true,
                "_bucket" | "_sum" | "_count" => is_histogram,
                _ => false,
            })
        })
    }

    /// The pages in this directory and those below it.
    fn pages(directory: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(directory).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let (directories, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
        let is_page = |file: &PathBuf| file.extension().is_some_and(|end| end == "md");
        let mut found: Vec<_> = files.into_iter().filter(is_page).collect();
        found.extend(directories.iter().flat_map(|directory| pages(directory)));
        found
    }

    #[test]
    fn no_page_rule_or_panel_names_a_metric_that_does_not_exist() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let docs = pages(&root.join("docs"));
        let files = [
            "README.md",
            "SECURITY.md",
            "packaging/grafana/reseal.json",
            "packaging/prometheus/reseal.rules.yml",
            "packaging/prometheus/tests/alerts.yml",
            "packaging/prometheus/tests/good_traffic.yml",
        ];
        let mut named = 0;
        for file in docs.into_iter().chain(files.map(|file| root.join(file))) {
            let text = std::fs::read_to_string(&file).unwrap();
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for word in words.filter(|word| word.starts_with("reseal_")) {
                assert!(is_metric(word), "{}: {word}", file.display());
                named += 1;
            }
        }
        assert!(named > 100, "{named}");
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
