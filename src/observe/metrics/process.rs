//! The counters of the process: those of its workers, and those that the control loop sets.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use super::counts::{EndpointTotals, Shard};
use super::inventory::{Inventory, OriginGauge, QueueGauge};
use super::limits::{LimitGauge, LimitSample, ScopeReport, ScopeSource};
use super::upstreams::UpstreamTotals;
use crate::observe::sink::Sink;

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
    pub(super) const ALL: [Self; 3] = [Self::Done, Self::Partial, Self::Refused];

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
    pub(super) start: SystemTime,
    shards: Vec<Arc<Shard>>,
    pub(super) reloads: [AtomicU64; ReloadResult::ALL.len()],
    /// The inventory of the current generation; its counters are in the shards.
    pub(super) inventory: ArcSwap<Inventory>,
    pub(super) origins: ArcSwap<Vec<OriginGauge>>,
    pub(super) logs: Vec<(&'static str, Sink)>,
    pub(super) handshakes: Handshakes,
    pub(super) queues: ArcSwap<Vec<QueueGauge>>,
    limits: Vec<LimitGauge>,
    scopes: ScopeSource,
    traffic: TrafficSource,
}

/// Adds what connections have moved by now to the counts of a shard.
struct TrafficSource(Box<dyn Fn(&Shard) + Send + Sync>);

impl fmt::Debug for TrafficSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrafficSource")
    }
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
            queues: ArcSwap::default(),
            limits: Vec::new(),
            scopes: ScopeSource(Box::new(ScopeReport::default)),
            traffic: TrafficSource(Box::new(|_| {})),
        }
    }

    /// Has `count` called at each scrape: it adds what connections have moved by then to the shard.
    #[must_use]
    pub fn with_traffic(mut self, count: impl Fn(&Shard) + Send + Sync + 'static) -> Self {
        self.traffic = TrafficSource(Box::new(count));
        self
    }

    /// Adds limits of the process.
    #[must_use]
    pub fn with_limits(mut self, limits: Vec<LimitGauge>) -> Self {
        self.limits = limits;
        self
    }

    /// Has the limits of endpoints and routes read by `read`.
    #[must_use]
    pub fn with_scopes(mut self, read: impl Fn() -> ScopeReport + Send + Sync + 'static) -> Self {
        self.scopes = ScopeSource(Box::new(read));
        self
    }

    /// The limits of endpoints and routes at this moment.
    pub fn scopes(&self) -> ScopeReport {
        (self.scopes.0)()
    }

    /// The limits of the process at this moment, by their words.
    pub fn limits(&self) -> impl Iterator<Item = (&'static str, LimitSample)> {
        self.limits
            .iter()
            .map(|gauge| (gauge.limit, (gauge.read)()))
    }

    /// The origins at the last count.
    pub fn origins(&self) -> Arc<Vec<OriginGauge>> {
        self.origins.load_full()
    }

    /// The queues of the upstreams at the last count.
    pub fn queues(&self) -> Arc<Vec<QueueGauge>> {
        self.queues.load_full()
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
            shard.register(inventory);
        }
        self.inventory.store(Arc::new(inventory.clone()));
    }

    /// Sets the state of the origins and of the queues for them.
    pub fn set_origins(&self, origins: Vec<OriginGauge>, queues: Vec<QueueGauge>) {
        self.origins.store(Arc::new(origins));
        self.queues.store(Arc::new(queues));
    }

    /// Counts a reload.
    pub fn reloaded(&self, result: ReloadResult) {
        if let Some(count) = self.reloads.get(result as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counters of each endpoint, over all workers.
    pub(super) fn totals(&self) -> BTreeMap<Arc<str>, EndpointTotals> {
        if let Some(shard) = self.shards.first() {
            (self.traffic.0)(shard);
        }
        let mut totals: BTreeMap<Arc<str>, EndpointTotals> = BTreeMap::new();
        for shard in &self.shards {
            for (name, counts) in shard.endpoints().iter() {
                totals.entry(Arc::clone(name)).or_default().add(counts);
            }
        }
        totals
    }

    /// The counters of each upstream, over all workers.
    pub(super) fn upstreams(&self) -> BTreeMap<Arc<str>, UpstreamTotals> {
        let mut totals: BTreeMap<Arc<str>, UpstreamTotals> = BTreeMap::new();
        for shard in &self.shards {
            for (name, counts) in shard.upstreams().iter() {
                totals.entry(Arc::clone(name)).or_default().add(counts);
            }
        }
        totals
    }
}
