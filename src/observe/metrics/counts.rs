//! The counters: each worker counts in its own shard, and a scrape adds the shards up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::outcome::{After, Fault, Outcome, Reason};
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

    /// Counts the end of a connection, with its bytes from the client to the origin and back.
    pub fn end(&self, route: Option<&str>, outcome: &Outcome, up: u64, down: u64) {
        let known = route.and_then(|route| self.routes.get(route));
        let counts = known.unwrap_or(&self.unrouted);
        let kind = EndKind::of(outcome) as usize;
        let count = counts.outcomes.get(kind);
        if let Some(count) = count.and_then(|kind| kind.get(outcome.reason as usize)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if up > 0 {
            counts.up.fetch_add(up, Ordering::Relaxed);
        }
        if down > 0 {
            counts.down.fetch_add(down, Ordering::Relaxed);
        }
        self.listener.live.fetch_sub(1, Ordering::Relaxed);
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

/// What distinguishes outcomes of one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndKind {
    /// The connection ended before its relay began.
    Setup,
    /// It ended in the relay, with the fault of its reason.
    Relay,
    /// It ended in the relay without a fault, although its reason has one.
    Harmless,
}

impl EndKind {
    const ALL: [Self; 3] = [Self::Setup, Self::Relay, Self::Harmless];

    fn of(outcome: &Outcome) -> Self {
        match outcome.after() {
            After::Setup => Self::Setup,
            After::Relay if outcome.fault == outcome.reason.fault() => Self::Relay,
            After::Relay => Self::Harmless,
        }
    }

    /// How far the connection had come.
    pub(super) const fn after(self) -> After {
        match self {
            Self::Setup => After::Setup,
            Self::Relay | Self::Harmless => After::Relay,
        }
    }

    /// The fault, if any.
    pub(super) const fn fault(self, reason: Reason) -> Option<Fault> {
        match self {
            Self::Setup | Self::Relay => reason.fault(),
            Self::Harmless => None,
        }
    }
}

#[derive(Debug)]
struct RouteCounts {
    outcomes: [[AtomicU64; Reason::ALL.len()]; EndKind::ALL.len()],
    up: AtomicU64,
    down: AtomicU64,
}

impl Default for RouteCounts {
    fn default() -> Self {
        Self {
            outcomes: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
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

#[derive(Debug)]
pub(super) struct RouteTotals {
    outcomes: [[u64; Reason::ALL.len()]; EndKind::ALL.len()],
    pub(super) up: u64,
    pub(super) down: u64,
}

impl Default for RouteTotals {
    fn default() -> Self {
        Self {
            outcomes: [[0; Reason::ALL.len()]; EndKind::ALL.len()],
            up: 0,
            down: 0,
        }
    }
}

impl RouteTotals {
    /// The outcomes with a count above zero. Each route could have more than a hundred; series that are
    /// always zero would only cost storage.
    pub(super) fn happened(&self) -> impl Iterator<Item = (EndKind, Reason, u64)> {
        let kinds = EndKind::ALL.into_iter().zip(&self.outcomes);
        let all = kinds.flat_map(|(kind, counts)| {
            let counted = Reason::ALL.iter().zip(counts);
            counted.map(move |(reason, count)| (kind, *reason, *count))
        });
        all.filter(|(_, _, count)| *count > 0)
    }

    fn add(&mut self, counts: &RouteCounts) {
        let totals = self.outcomes.iter_mut().flatten();
        for (total, count) in totals.zip(counts.outcomes.iter().flatten()) {
            *total += count.load(Ordering::Relaxed);
        }
        self.up += counts.up.load(Ordering::Relaxed);
        self.down += counts.down.load(Ordering::Relaxed);
    }
}
