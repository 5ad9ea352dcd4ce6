//! The counters of the process, for `/metrics`.
//!
//! Each worker counts in its own [`Shard`], so counting is one uncontended atomic add: no lock, no
//! allocation. A scrape adds the shards up. Series derive from the configuration ([`Inventory`]) and from
//! closed sets of words, never from data of a peer.

mod counts;
mod families;
mod page;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use self::counts::EndpointTotals;
pub use self::counts::{EndpointCounts, Shard};
use super::sink::Sink;

/// The parts of a configuration that have their own series.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The endpoints and the names of their routes.
    pub endpoints: Vec<(Arc<str>, Vec<Arc<str>>)>,
    /// The certificates that are presented to clients.
    pub certificates: Vec<CertificateEnd>,
    /// The certificates that are presented to origins.
    pub client_certificates: Vec<CertificateEnd>,
    /// The CAs in files.
    pub authorities: Vec<AuthorityEnd>,
    /// The revocation lists in use.
    pub lists: Vec<ListEnd>,
}

/// The expiry of a revocation list.
#[derive(Clone, Debug)]
pub struct ListEnd {
    /// The file that holds it.
    pub file: String,
    /// Its issuer.
    pub issuer: String,
    /// Its `nextUpdate`, in seconds of unix time.
    pub next_update: i64,
}

/// The expiry times of a certificate and its chain.
#[derive(Clone, Debug)]
pub struct CertificateEnd {
    /// The endpoint or upstream that presents it.
    pub owner: Arc<str>,
    /// Its name in the configuration.
    pub certificate: String,
    /// End of validity, in seconds of unix time.
    pub not_after: i64,
    /// The first end of validity in its chain, in seconds of unix time.
    pub chain_end: i64,
    /// The first due date for a renewal in its chain, in seconds of unix time.
    pub renewal_due: i64,
    /// When its stapled OCSP response expires, in seconds of unix time.
    pub staple_end: Option<i64>,
}

/// The expiry of a CA in a file.
#[derive(Clone, Debug)]
pub struct AuthorityEnd {
    /// The file.
    pub file: String,
    /// Its subject.
    pub subject: String,
    /// End of validity, in seconds of unix time.
    pub not_after: i64,
    /// The due date of its renewal, in seconds of unix time.
    pub renewal_due: i64,
}

/// The state of an origin, summed over its addresses.
#[derive(Clone, Debug)]
pub struct OriginGauge {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The origin's name.
    pub origin: Arc<str>,
    /// The number of its addresses that may get new connections.
    pub usable: usize,
    /// The number of its connections, with those that are being made.
    pub connections: usize,
}

/// The result of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadResult {
    /// The new configuration is active.
    Done,
    /// The new configuration is active, except for files that could not be used; their old content stays.
    Partial,
    /// The new configuration was refused, and the old one stays.
    Refused,
}

impl ReloadResult {
    const ALL: [Self; 3] = [Self::Done, Self::Partial, Self::Refused];

    /// The word used in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Partial => "partial",
            Self::Refused => "refused",
        }
    }
}

/// The counters of the process.
#[derive(Debug)]
pub struct Metrics {
    start: SystemTime,
    shards: Vec<Arc<Shard>>,
    reloads: [AtomicU64; ReloadResult::ALL.len()],
    /// The inventory of the current generation; its counters are in the shards.
    inventory: ArcSwap<Inventory>,
    origins: ArcSwap<Vec<OriginGauge>>,
    logs: Vec<(&'static str, Sink)>,
    handshakes: Handshakes,
}

/// The handshakes with clients, by state.
pub type Handshakes = Vec<(&'static str, Arc<AtomicUsize>)>;

impl Metrics {
    /// Counters for this many workers. `logs` are the logs whose lost lines are counted, each with its
    /// label value; `handshakes` are counted by the gate.
    pub fn new(workers: usize, logs: Vec<(&'static str, Sink)>, handshakes: Handshakes) -> Self {
        Self {
            start: SystemTime::now(),
            shards: (0..workers).map(|_| Arc::default()).collect(),
            reloads: Default::default(),
            inventory: ArcSwap::default(),
            origins: ArcSwap::default(),
            logs,
            handshakes,
        }
    }

    /// When the process began.
    pub const fn start(&self) -> SystemTime {
        self.start
    }

    /// The shard of a worker.
    pub fn shard(&self, worker: usize) -> Arc<Shard> {
        self.shards.get(worker).cloned().unwrap_or_default()
    }

    /// Creates the counters of a new generation; call it before the generation serves connections. Counters
    /// that left the configuration stay, because a counter that vanishes breaks sums.
    pub fn register(&self, inventory: &Inventory) {
        for shard in &self.shards {
            shard.register(&inventory.endpoints);
        }
        self.inventory.store(Arc::new(inventory.clone()));
    }

    /// Sets the state of the origins.
    pub fn set_origins(&self, origins: Vec<OriginGauge>) {
        self.origins.store(Arc::new(origins));
    }

    /// Counts a reload.
    pub fn reloaded(&self, result: ReloadResult) {
        if let Some(count) = self.reloads.get(result as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Renders all metrics in the text format of Prometheus.
    pub fn render(&self) -> String {
        families::render(self)
    }

    fn totals(&self) -> BTreeMap<Arc<str>, EndpointTotals> {
        let mut totals: BTreeMap<Arc<str>, EndpointTotals> = BTreeMap::new();
        for shard in &self.shards {
            for (name, counts) in shard.all().iter() {
                totals.entry(Arc::clone(name)).or_default().add(counts);
            }
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Fault, Outcome, Reason, Stage};

    fn inventory(endpoint: &str, routes: &[&str]) -> Inventory {
        Inventory {
            endpoints: vec![(
                endpoint.into(),
                routes.iter().map(|r| (*r).into()).collect(),
            )],
            ..Inventory::default()
        }
    }

    fn outcome(stage: Stage, reason: Reason, fault: Option<Fault>) -> Outcome {
        Outcome {
            stage,
            reason,
            fault,
            detail: None,
        }
    }

    fn ok() -> Outcome {
        outcome(Stage::Relay, Reason::Ok, None)
    }

    #[test]
    fn a_connection_that_began_before_a_reload_is_counted_after_it() {
        let metrics = Metrics::new(2, Vec::new(), Vec::new());
        metrics.register(&inventory("edge", &["a"]));
        let before = metrics.shard(0).endpoint("edge");
        before.begin();
        metrics.register(&inventory("edge", &["b"]));
        let after = metrics.shard(1).endpoint("edge");
        after.begin();
        before.end(Some("a"), &ok(), 3, 4);
        let idle = outcome(Stage::Relay, Reason::IdleTimeout, Some(Fault::Policy));
        after.end(Some("b"), &idle, 0, 0);
        let text = metrics.render();
        for line in [
            "reseal_connections_total{endpoint=\"edge\"} 2",
            "reseal_connections_live{endpoint=\"edge\"} 0",
            "reseal_outcomes_total{endpoint=\"edge\",route=\"a\",reason=\"ok\",fault=\"\",after=\"relay\"} 1",
            "reseal_outcomes_total{endpoint=\"edge\",route=\"b\",reason=\"idle_timeout\",\
             fault=\"policy\",after=\"relay\"} 1",
            "reseal_bytes_total{endpoint=\"edge\",route=\"a\",direction=\"up\"} 3",
            "reseal_bytes_total{endpoint=\"edge\",route=\"a\",direction=\"down\"} 4",
        ] {
            assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
        }
    }

    /// The same reason in the set-up, with a loss and without one: three series.
    #[test]
    fn one_reason_is_counted_apart_by_how_far_it_came_and_whether_it_was_a_fault() {
        let metrics = Metrics::new(1, Vec::new(), Vec::new());
        metrics.register(&inventory("edge", &["a"]));
        let edge = metrics.shard(0).endpoint("edge");
        let reset = |stage, fault| {
            edge.begin();
            edge.end(Some("a"), &outcome(stage, Reason::ClientReset, fault), 0, 0);
        };
        reset(Stage::Connect, Some(Fault::Client));
        reset(Stage::Relay, Some(Fault::Client));
        reset(Stage::Relay, None);
        reset(Stage::Relay, None);
        let text = metrics.render();
        for (labels, count) in [
            ("fault=\"client\",after=\"setup\"", 1),
            ("fault=\"client\",after=\"relay\"", 1),
            ("fault=\"\",after=\"relay\"", 2),
        ] {
            let series =
                "reseal_outcomes_total{endpoint=\"edge\",route=\"a\",reason=\"client_reset\",";
            let line = format!("{series}{labels}}} {count}");
            assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn a_name_that_the_configuration_does_not_have_makes_no_series() {
        let metrics = Metrics::new(1, Vec::new(), Vec::new());
        metrics.register(&inventory("edge", &["a"]));
        let stray = metrics.shard(0).endpoint("from the wire");
        stray.begin();
        stray.end(Some("also"), &ok(), 1, 1);
        let edge = metrics.shard(0).endpoint("edge");
        edge.begin();
        edge.end(Some("unheard of"), &ok(), 1, 1);
        let text = metrics.render();
        assert!(
            !text.contains("wire") && !text.contains("unheard"),
            "{text}"
        );
    }
}
