//! What the process counts, for `/metrics`.
//!
//! Every worker counts in a [`Shard`] of its own, so that counting is an addition nobody else waits
//! for: no lock, no allocation. A scrape adds the shards up. Series are made from the configuration
//! ([`Inventory`]) and from closed sets of words, never from what a peer sent.

mod families;
mod page;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use super::sink::Sink;
use crate::outcome::Reason;
use crate::tls::facts::TlsFacts;

/// What of the configuration has series of its own.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The endpoints and the names of their routes.
    pub endpoints: Vec<(Arc<str>, Vec<Arc<str>>)>,
    /// The certificates that are presented.
    pub certificates: Vec<CertificateEnd>,
}

/// When a certificate ends.
#[derive(Clone, Debug)]
pub struct CertificateEnd {
    /// The endpoint that presents it.
    pub endpoint: Arc<str>,
    /// Its name there.
    pub certificate: String,
    /// End of validity, in seconds of unix time.
    pub not_after: i64,
}

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadResult {
    /// The new configuration is the running one.
    Done,
    /// It was refused, and the old one stays.
    Refused,
}

impl ReloadResult {
    const ALL: [Self; 2] = [Self::Done, Self::Refused];

    const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
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
    certificates: ArcSwap<Vec<CertificateEnd>>,
    logs: Vec<(&'static str, Sink)>,
}

impl Metrics {
    /// Counters for so many workers. `logs` are those whose lost lines are counted, by a word for each.
    pub fn new(workers: usize, logs: Vec<(&'static str, Sink)>) -> Self {
        Self {
            start: SystemTime::now(),
            shards: (0..workers).map(|_| Arc::default()).collect(),
            reloads: Default::default(),
            certificates: ArcSwap::default(),
            logs,
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

    /// Makes room for what a generation of the configuration counts; to be called before it takes
    /// connections. What left the configuration stays, as a counter that vanishes is a hole in every
    /// sum.
    pub fn adopt(&self, inventory: &Inventory) {
        for shard in &self.shards {
            shard.adopt(&inventory.endpoints);
        }
        let ends = inventory.certificates.clone();
        self.certificates.store(Arc::new(ends));
    }

    /// A reload has ended.
    pub fn reloaded(&self, result: ReloadResult) {
        if let Some(count) = self.reloads.get(result as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All of it, in the text format of Prometheus.
    pub fn render(&self) -> String {
        families::render(self)
    }

    fn totals(&self) -> BTreeMap<Arc<str>, EndpointTotals> {
        let mut totals: BTreeMap<Arc<str>, EndpointTotals> = BTreeMap::new();
        for shard in &self.shards {
            for (name, counts) in shard.endpoints.load().iter() {
                totals.entry(Arc::clone(name)).or_default().add(counts);
            }
        }
        totals
    }
}

type Endpoints = HashMap<Arc<str>, Arc<EndpointCounts>>;

/// The counters of one worker.
#[derive(Debug, Default)]
pub struct Shard {
    endpoints: ArcSwap<Endpoints>,
}

impl Shard {
    /// The counters of an endpoint. One that is not in the configuration has some that nobody sees.
    pub fn endpoint(&self, name: &str) -> Arc<EndpointCounts> {
        self.endpoints.load().get(name).cloned().unwrap_or_default()
    }

    fn adopt(&self, endpoints: &[(Arc<str>, Vec<Arc<str>>)]) {
        let mut next = Endpoints::clone(&self.endpoints.load());
        for (name, routes) in endpoints {
            let known = next.get(name);
            let mut counts = known.map_or_else(EndpointCounts::default, |c| (**c).clone());
            for route in routes {
                counts.routes.entry(Arc::clone(route)).or_default();
            }
            next.insert(Arc::clone(name), Arc::new(counts));
        }
        self.endpoints.store(Arc::new(next));
    }
}

/// What one worker counts of one endpoint. A clone counts in the same places.
#[derive(Clone, Debug, Default)]
pub struct EndpointCounts {
    door: Arc<DoorCounts>,
    /// Of connections that reached no route.
    unrouted: Arc<RouteCounts>,
    routes: HashMap<Arc<str>, Arc<RouteCounts>>,
}

impl EndpointCounts {
    /// A connection was accepted.
    pub fn begin(&self) {
        self.door.begun.fetch_add(1, Ordering::Relaxed);
        self.door.live.fetch_add(1, Ordering::Relaxed);
    }

    /// A handshake with its client is done.
    pub fn handshake(&self, facts: &TlsFacts) {
        let handshake = HANDSHAKES
            .iter()
            .position(|known| Some(known.0) == facts.version && known.1 == facts.resumed);
        if let Some(count) = handshake.and_then(|index| self.door.handshakes.get(index)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The connection has ended, after so many bytes from the client to the origin and back.
    pub fn end(&self, route: Option<&str>, reason: Reason, up: u64, down: u64) {
        let known = route.and_then(|route| self.routes.get(route));
        let counts = known.unwrap_or(&self.unrouted);
        if let Some(count) = counts.outcomes.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if up > 0 {
            counts.up.fetch_add(up, Ordering::Relaxed);
        }
        if down > 0 {
            counts.down.fetch_add(down, Ordering::Relaxed);
        }
        self.door.live.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The kinds of handshakes: version, and whether a session was resumed.
const HANDSHAKES: [(&str, bool); 4] = [
    ("TLSv1.2", false),
    ("TLSv1.2", true),
    ("TLSv1.3", false),
    ("TLSv1.3", true),
];

#[derive(Debug, Default)]
struct DoorCounts {
    begun: AtomicU64,
    live: AtomicU64,
    handshakes: [AtomicU64; HANDSHAKES.len()],
}

#[derive(Debug)]
struct RouteCounts {
    outcomes: [AtomicU64; Reason::ALL.len()],
    up: AtomicU64,
    down: AtomicU64,
}

impl Default for RouteCounts {
    fn default() -> Self {
        Self {
            outcomes: std::array::from_fn(|_| AtomicU64::new(0)),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
        }
    }
}

/// What all workers have counted of one endpoint.
#[derive(Debug, Default)]
struct EndpointTotals {
    begun: u64,
    live: u64,
    handshakes: [u64; HANDSHAKES.len()],
    unrouted: RouteTotals,
    routes: BTreeMap<Arc<str>, RouteTotals>,
}

impl EndpointTotals {
    fn add(&mut self, counts: &EndpointCounts) {
        self.begun += counts.door.begun.load(Ordering::Relaxed);
        self.live += counts.door.live.load(Ordering::Relaxed);
        for (total, count) in self.handshakes.iter_mut().zip(&counts.door.handshakes) {
            *total += count.load(Ordering::Relaxed);
        }
        self.unrouted.add(&counts.unrouted);
        for (name, route) in &counts.routes {
            let total = self.routes.entry(Arc::clone(name)).or_default();
            total.add(route);
        }
    }
}

#[derive(Debug)]
struct RouteTotals {
    outcomes: [u64; Reason::ALL.len()],
    up: u64,
    down: u64,
}

impl Default for RouteTotals {
    fn default() -> Self {
        Self {
            outcomes: [0; Reason::ALL.len()],
            up: 0,
            down: 0,
        }
    }
}

impl RouteTotals {
    fn add(&mut self, counts: &RouteCounts) {
        for (total, count) in self.outcomes.iter_mut().zip(&counts.outcomes) {
            *total += count.load(Ordering::Relaxed);
        }
        self.up += counts.up.load(Ordering::Relaxed);
        self.down += counts.down.load(Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(endpoint: &str, routes: &[&str]) -> Inventory {
        Inventory {
            endpoints: vec![(
                endpoint.into(),
                routes.iter().map(|r| (*r).into()).collect(),
            )],
            certificates: Vec::new(),
        }
    }

    #[test]
    fn a_connection_that_began_before_a_reload_is_counted_after_it() {
        let metrics = Metrics::new(2, Vec::new());
        metrics.adopt(&inventory("edge", &["a"]));
        let before = metrics.shard(0).endpoint("edge");
        before.begin();
        metrics.adopt(&inventory("edge", &["b"]));
        let after = metrics.shard(1).endpoint("edge");
        after.begin();
        before.end(Some("a"), Reason::Ok, 3, 4);
        after.end(Some("b"), Reason::IdleTimeout, 0, 0);
        let text = metrics.render();
        for line in [
            "reseal_connections_total{endpoint=\"edge\"} 2",
            "reseal_connections_live{endpoint=\"edge\"} 0",
            "reseal_outcomes_total{endpoint=\"edge\",route=\"a\",reason=\"ok\",fault=\"\"} 1",
            "reseal_outcomes_total{endpoint=\"edge\",route=\"b\",reason=\"idle_timeout\",fault=\"policy\"} 1",
            "reseal_bytes_total{endpoint=\"edge\",route=\"a\",direction=\"up\"} 3",
            "reseal_bytes_total{endpoint=\"edge\",route=\"a\",direction=\"down\"} 4",
        ] {
            assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn a_name_that_the_configuration_does_not_have_makes_no_series() {
        let metrics = Metrics::new(1, Vec::new());
        metrics.adopt(&inventory("edge", &["a"]));
        let stray = metrics.shard(0).endpoint("from the wire");
        stray.begin();
        stray.end(Some("also"), Reason::Ok, 1, 1);
        let edge = metrics.shard(0).endpoint("edge");
        edge.begin();
        edge.end(Some("unheard of"), Reason::Ok, 1, 1);
        let text = metrics.render();
        assert!(
            !text.contains("wire") && !text.contains("unheard"),
            "{text}"
        );
    }
}
