//! The counters of the process: those of its workers, and those that the control loop sets.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use super::counts::{EndpointTotals, Shard};
use super::inventory::{Inventory, OriginGauge, QueueGauge};
use super::limits::{LimitGauge, LimitSample, ScopeReport};
use super::reloads::{ReloadExtent, ReloadResult, Reloads};
use super::samples::{FetchSample, FleetSample, IssuerSample, Source, TicketSample, WorkerSample};
use super::upstreams::{self, AttemptFailure, UpstreamTotals};

/// The counters of the process.
#[derive(Debug)]
pub struct Metrics {
    pub(super) start: SystemTime,
    shards: Vec<Arc<Shard>>,
    pub(super) reloads: Reloads,
    /// The inventory of the current generation; its counters are in the shards.
    pub(super) inventory: ArcSwap<Inventory>,
    pub(super) origins: ArcSwap<Vec<OriginGauge>>,
    /// How many lines or records of each log were lost.
    pub(super) logs: Vec<(&'static str, DropSource)>,
    pub(super) handshakes: Handshakes,
    pub(super) queues: ArcSwap<Vec<QueueGauge>>,
    limits: Vec<LimitGauge>,
    scopes: Source<dyn Fn() -> ScopeReport + Send + Sync>,
    /// Adds what connections have moved by now to the counts of a shard.
    traffic: Source<dyn Fn(&Shard) + Send + Sync>,
    tickets: Source<dyn Fn() -> TicketSample + Send + Sync>,
    fleet: Source<dyn Fn() -> Option<FleetSample> + Send + Sync>,
    /// Absent until the workers run.
    workers: OnceLock<WorkerSource>,
    /// Absent until certificates are kept.
    issuers: OnceLock<IssuerSource>,
    /// Absent until something is fetched.
    fetches: OnceLock<FetchSource>,
}

type DropSource = Source<dyn Fn() -> u64 + Send + Sync>;
type FetchSource = Source<dyn Fn() -> Vec<FetchSample> + Send + Sync>;
type IssuerSource = Source<dyn Fn() -> Vec<IssuerSample> + Send + Sync>;
type WorkerSource = Source<dyn Fn() -> Vec<WorkerSample> + Send + Sync>;

/// Functions that count what was lost of a log, by its label value.
pub type DropCounts = Vec<(&'static str, Box<dyn Fn() -> u64 + Send + Sync>)>;

/// The handshakes with clients, by state.
pub type Handshakes = Vec<(&'static str, Arc<AtomicUsize>)>;

impl Metrics {
    /// Counters for this many workers. `logs` are the logs whose lost lines are counted, each with its
    /// label value; `handshakes` are counted by the gate.
    pub fn new(workers: usize, logs: DropCounts, handshakes: Handshakes) -> Self {
        let logs = logs.into_iter().map(|(log, count)| (log, Source(count)));
        let start = SystemTime::now();
        Self {
            start,
            shards: (0..workers).map(|_| Arc::default()).collect(),
            reloads: Reloads::new(start),
            inventory: ArcSwap::default(),
            origins: ArcSwap::default(),
            logs: logs.collect(),
            handshakes,
            queues: ArcSwap::default(),
            limits: Vec::new(),
            scopes: Source(Box::new(ScopeReport::default)),
            traffic: Source(Box::new(|_| {})),
            tickets: Source(Box::new(TicketSample::default)),
            fleet: Source(Box::new(|| None)),
            workers: OnceLock::new(),
            issuers: OnceLock::new(),
            fetches: OnceLock::new(),
        }
    }

    /// Has `count` called at each scrape: it adds what connections have moved by then to the shard.
    #[must_use]
    pub fn with_traffic(mut self, count: impl Fn(&Shard) + Send + Sync + 'static) -> Self {
        self.traffic = Source(Box::new(count));
        self
    }

    /// Has the tickets of sessions read by `read`.
    #[must_use]
    pub fn with_tickets(mut self, read: impl Fn() -> TicketSample + Send + Sync + 'static) -> Self {
        self.tickets = Source(Box::new(read));
        self
    }

    /// Has the state of the fleet read by `read`.
    #[must_use]
    pub fn with_fleet(
        mut self,
        read: impl Fn() -> Option<FleetSample> + Send + Sync + 'static,
    ) -> Self {
        self.fleet = Source(Box::new(read));
        self
    }

    /// How it stands with the fleet at this moment; `None` without one.
    pub fn fleet(&self) -> Option<FleetSample> {
        (self.fleet.0)()
    }

    /// Has the workers read by `read`, which gives one sample for each. Only the first call counts.
    pub fn watch_workers(&self, read: impl Fn() -> Vec<WorkerSample> + Send + Sync + 'static) {
        let _ = self.workers.set(Source(Box::new(read)));
    }

    /// Has the issuers of certificates read by `read`. Only the first call counts.
    pub fn watch_issuers(&self, read: impl Fn() -> Vec<IssuerSample> + Send + Sync + 'static) {
        let _ = self.issuers.set(Source(Box::new(read)));
    }

    /// The issuers of certificates at this moment.
    pub(super) fn issuers(&self) -> Vec<IssuerSample> {
        let issuers = self.issuers.get();
        issuers.map(|issuers| (issuers.0)()).unwrap_or_default()
    }

    /// Has the fetches about revocation read by `read`, one sample for each kind and URL. Only the first call
    /// counts.
    pub fn watch_fetches(&self, read: impl Fn() -> Vec<FetchSample> + Send + Sync + 'static) {
        let _ = self.fetches.set(Source(Box::new(read)));
    }

    /// The fetches about revocation so far.
    pub(super) fn fetches(&self) -> Vec<FetchSample> {
        let fetches = self.fetches.get();
        fetches.map(|fetches| (fetches.0)()).unwrap_or_default()
    }

    /// The tickets of sessions at this moment.
    pub(super) fn tickets(&self) -> TicketSample {
        (self.tickets.0)()
    }

    /// The workers at this moment, in the order of their numbers.
    pub(super) fn workers(&self) -> Vec<WorkerSample> {
        let workers = self.workers.get();
        workers.map(|workers| (workers.0)()).unwrap_or_default()
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
        self.scopes = Source(Box::new(read));
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
    pub fn reloaded(&self, result: ReloadResult, extent: ReloadExtent) {
        self.reloads.add(result, extent);
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

    /// The latest failures of connections to an origin, the last one first.
    pub fn attempt_failures(&self, upstream: &str, origin: &str) -> Vec<AttemptFailure> {
        let shards: Vec<_> = self.shards.iter().map(|shard| shard.upstreams()).collect();
        let counts = shards.iter().filter_map(|shard| shard.get(upstream));
        upstreams::latest(counts.map(|counts| &**counts), origin)
    }

    /// The live connections of each endpoint.
    pub fn live(&self) -> BTreeMap<Arc<str>, u64> {
        let mut live = BTreeMap::new();
        for shard in &self.shards {
            for (name, counts) in shard.endpoints().iter() {
                let sum: &mut u64 = live.entry(Arc::clone(name)).or_default();
                // Each worker counts the ends of its own connections alone, so that none is below zero.
                *sum += counts.live();
            }
        }
        live
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
