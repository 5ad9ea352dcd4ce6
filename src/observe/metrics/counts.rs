//! The counters: each worker counts in its own shard, and a scrape adds the shards up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::super::access_log::Traffic;
use super::handshakes::{HandshakeCounts, HandshakeTotals};
use super::histogram::{CONNECTION, Histogram, HistogramTotals, STEP};
use super::inventory::Inventory;
use super::outcomes::{OutcomeCounts, OutcomeTotals};
use super::upstreams::{UpstreamCounts, Upstreams};
use crate::outcome::{After, Outcome};
use crate::tls::info::TlsFacts;

pub(super) type Endpoints = HashMap<Arc<str>, Arc<EndpointCounts>>;

/// The counters of one worker.
#[derive(Debug, Default)]
pub struct Shard {
    endpoints: ArcSwap<Endpoints>,
    upstreams: Arc<ArcSwap<Upstreams>>,
}

impl Shard {
    /// The counters of an endpoint. For one outside the configuration they appear in no series.
    pub fn endpoint(&self, name: &str) -> Arc<EndpointCounts> {
        self.endpoints.load().get(name).cloned().unwrap_or_default()
    }

    pub(super) fn endpoints(&self) -> Arc<Endpoints> {
        self.endpoints.load_full()
    }

    pub(super) fn upstreams(&self) -> Arc<Upstreams> {
        self.upstreams.load_full()
    }

    /// Creates the counters of parts that are new.
    pub(super) fn register(&self, inventory: &Inventory) {
        let mut upstreams = Upstreams::clone(&self.upstreams.load());
        for (name, origins) in &inventory.upstreams {
            let known = upstreams.get(name);
            let mut counts = known.map_or_else(UpstreamCounts::default, |c| (**c).clone());
            counts.add_origins(origins);
            upstreams.insert(Arc::clone(name), Arc::new(counts));
        }
        self.upstreams.store(Arc::new(upstreams));
        let mut endpoints = Endpoints::clone(&self.endpoints.load());
        for (name, routes) in &inventory.endpoints {
            let known = endpoints.get(name);
            let mut counts = known.map_or_else(EndpointCounts::default, |c| (**c).clone());
            for route in routes {
                counts.routes.entry(Arc::clone(route)).or_default();
            }
            counts.upstreams = Arc::clone(&self.upstreams);
            endpoints.insert(Arc::clone(name), Arc::new(counts));
        }
        self.endpoints.store(Arc::new(endpoints));
    }
}

/// The counters of one worker for one endpoint. Clones share the counters.
#[derive(Clone, Debug, Default)]
pub struct EndpointCounts {
    listener: Arc<ListenerCounts>,
    /// Connections that reached no route.
    unrouted: Arc<RouteCounts>,
    routes: HashMap<Arc<str>, Arc<RouteCounts>>,
    /// Those of the worker.
    upstreams: Arc<ArcSwap<Upstreams>>,
}

impl EndpointCounts {
    /// The counters of an upstream. For one outside the configuration they appear in no series.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamCounts> {
        self.upstreams.load().get(name).cloned().unwrap_or_default()
    }

    /// Counts an accepted connection.
    pub fn begin(&self) {
        self.listener.begun.fetch_add(1, Ordering::Relaxed);
        self.listener.live.fetch_add(1, Ordering::Relaxed);
    }

    /// The connections that have not ended.
    pub(super) fn live(&self) -> u64 {
        self.listener.live.load(Ordering::Relaxed)
    }

    /// Counts a finished handshake with a client, and how long it took.
    pub fn handshake(&self, facts: &TlsFacts, time: Duration) {
        self.listener.handshakes.add(facts);
        self.listener.handshake.observe(time);
    }

    /// Counts bytes that were moved.
    pub fn moved(&self, route: Option<&str>, traffic: Traffic) {
        let counts = self.route(route);
        counts.up.fetch_add(traffic.up, Ordering::Relaxed);
        counts.down.fetch_add(traffic.down, Ordering::Relaxed);
    }

    /// Counts the end of a connection, and how long it lasted if its relay had begun.
    pub fn end(&self, route: Option<&str>, outcome: &Outcome, total: Duration) {
        let counts = self.route(route);
        counts.outcomes.add(outcome);
        if outcome.after() == After::Relay {
            counts.duration.observe(total);
        }
        self.listener.live.fetch_sub(1, Ordering::Relaxed);
    }

    fn route(&self, name: Option<&str>) -> &RouteCounts {
        let known = name.and_then(|name| self.routes.get(name));
        known.unwrap_or(&self.unrouted)
    }
}

#[derive(Debug)]
struct ListenerCounts {
    begun: AtomicU64,
    live: AtomicU64,
    handshakes: HandshakeCounts,
    handshake: Histogram,
}

impl Default for ListenerCounts {
    fn default() -> Self {
        Self {
            begun: AtomicU64::new(0),
            live: AtomicU64::new(0),
            handshakes: HandshakeCounts::default(),
            handshake: Histogram::new(&STEP),
        }
    }
}

#[derive(Debug)]
struct RouteCounts {
    outcomes: OutcomeCounts,
    duration: Histogram,
    up: AtomicU64,
    down: AtomicU64,
}

impl Default for RouteCounts {
    fn default() -> Self {
        Self {
            outcomes: OutcomeCounts::default(),
            duration: Histogram::new(&CONNECTION),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
        }
    }
}

/// The sums over all workers for one endpoint.
#[derive(Debug, Default)]
pub(super) struct EndpointTotals {
    pub(super) begun: u64,
    pub(super) live: u64,
    pub(super) handshakes: HandshakeTotals,
    pub(super) handshake: HistogramTotals,
    pub(super) unrouted: RouteTotals,
    pub(super) routes: BTreeMap<Arc<str>, RouteTotals>,
}

impl EndpointTotals {
    pub(super) fn add(&mut self, counts: &EndpointCounts) {
        self.begun += counts.listener.begun.load(Ordering::Relaxed);
        self.live += counts.listener.live.load(Ordering::Relaxed);
        self.handshakes.add(&counts.listener.handshakes);
        self.handshake.add(&counts.listener.handshake);
        self.unrouted.add(&counts.unrouted);
        for (name, route) in &counts.routes {
            let total = self.routes.entry(Arc::clone(name)).or_default();
            total.add(route);
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct RouteTotals {
    pub(super) outcomes: OutcomeTotals,
    pub(super) duration: HistogramTotals,
    pub(super) up: u64,
    pub(super) down: u64,
}

impl RouteTotals {
    fn add(&mut self, counts: &RouteCounts) {
        self.outcomes.add(&counts.outcomes);
        self.duration.add(&counts.duration);
        self.up += counts.up.load(Ordering::Relaxed);
        self.down += counts.down.load(Ordering::Relaxed);
    }
}
