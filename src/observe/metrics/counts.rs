//! The counters: each worker counts in its own shard, and a scrape adds the shards up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::super::access_log::Traffic;
use super::outcomes::{OutcomeCounts, OutcomeTotals};
use crate::outcome::Outcome;
use crate::tls::info::TlsFacts;

pub(super) type Endpoints = HashMap<Arc<str>, Arc<EndpointCounts>>;

/// The counters of one worker.
#[derive(Debug, Default)]
pub struct Shard {
    endpoints: ArcSwap<Endpoints>,
}

impl Shard {
    /// The counters of an endpoint. For one outside the configuration they appear in no series.
    pub fn endpoint(&self, name: &str) -> Arc<EndpointCounts> {
        self.endpoints.load().get(name).cloned().unwrap_or_default()
    }

    pub(super) fn all(&self) -> Arc<Endpoints> {
        self.endpoints.load_full()
    }

    pub(super) fn register(&self, endpoints: &[(Arc<str>, Vec<Arc<str>>)]) {
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

/// The counters of one worker for one endpoint. Clones share the counters.
#[derive(Clone, Debug, Default)]
pub struct EndpointCounts {
    listener: Arc<ListenerCounts>,
    /// Connections that reached no route.
    unrouted: Arc<RouteCounts>,
    routes: HashMap<Arc<str>, Arc<RouteCounts>>,
}

impl EndpointCounts {
    /// Counts an accepted connection.
    pub fn begin(&self) {
        self.listener.begun.fetch_add(1, Ordering::Relaxed);
        self.listener.live.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a finished handshake with a client.
    pub fn handshake(&self, facts: &TlsFacts) {
        let handshake = HANDSHAKES
            .iter()
            .position(|known| Some(known.0) == facts.version && known.1 == facts.resumed);
        if let Some(count) = handshake.and_then(|index| self.listener.handshakes.get(index)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts bytes that were moved.
    pub fn moved(&self, route: Option<&str>, traffic: Traffic) {
        let counts = self.route(route);
        counts.up.fetch_add(traffic.up, Ordering::Relaxed);
        counts.down.fetch_add(traffic.down, Ordering::Relaxed);
    }

    /// Counts the end of a connection.
    pub fn end(&self, route: Option<&str>, outcome: &Outcome) {
        self.route(route).outcomes.add(outcome);
        self.listener.live.fetch_sub(1, Ordering::Relaxed);
    }

    fn route(&self, name: Option<&str>) -> &RouteCounts {
        let known = name.and_then(|name| self.routes.get(name));
        known.unwrap_or(&self.unrouted)
    }
}

/// The kinds of handshakes: version, and whether a session was resumed.
pub(super) const HANDSHAKES: [(&str, bool); 4] = [
    ("TLSv1.2", false),
    ("TLSv1.2", true),
    ("TLSv1.3", false),
    ("TLSv1.3", true),
];

#[derive(Debug, Default)]
struct ListenerCounts {
    begun: AtomicU64,
    live: AtomicU64,
    handshakes: [AtomicU64; HANDSHAKES.len()],
}

#[derive(Debug, Default)]
struct RouteCounts {
    outcomes: OutcomeCounts,
    up: AtomicU64,
    down: AtomicU64,
}

/// The sums over all workers for one endpoint.
#[derive(Debug, Default)]
pub(super) struct EndpointTotals {
    pub(super) begun: u64,
    pub(super) live: u64,
    pub(super) handshakes: [u64; HANDSHAKES.len()],
    pub(super) unrouted: RouteTotals,
    pub(super) routes: BTreeMap<Arc<str>, RouteTotals>,
}

impl EndpointTotals {
    pub(super) fn add(&mut self, counts: &EndpointCounts) {
        self.begun += counts.listener.begun.load(Ordering::Relaxed);
        self.live += counts.listener.live.load(Ordering::Relaxed);
        for (total, count) in self.handshakes.iter_mut().zip(&counts.listener.handshakes) {
            *total += count.load(Ordering::Relaxed);
        }
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
    pub(super) up: u64,
    pub(super) down: u64,
}

impl RouteTotals {
    fn add(&mut self, counts: &RouteCounts) {
        self.outcomes.add(&counts.outcomes);
        self.up += counts.up.load(Ordering::Relaxed);
        self.down += counts.down.load(Ordering::Relaxed);
    }
}
