//! The counters of upstreams and their origins, one set for each worker.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::handshakes::{HandshakeCounts, HandshakeTotals};
use super::histogram::{Histogram, HistogramTotals, STEP};
use super::outcomes::ReasonCounts;
use crate::outcome::Reason;
use crate::tls::info::TlsFacts;

/// The upstreams of one worker, by name.
pub(super) type Upstreams = HashMap<Arc<str>, Arc<UpstreamCounts>>;

/// The counters of one worker for one upstream. Clones share the counters.
#[derive(Clone, Debug, Default)]
pub struct UpstreamCounts {
    steps: Arc<Steps>,
    origins: HashMap<Arc<str>, Arc<OriginCounts>>,
}

#[derive(Debug)]
struct Steps {
    connect: Histogram,
    handshake: Histogram,
    handshakes: HandshakeCounts,
}

impl Default for Steps {
    fn default() -> Self {
        Self {
            connect: Histogram::new(&STEP),
            handshake: Histogram::new(&STEP),
            handshakes: HandshakeCounts::default(),
        }
    }
}

#[derive(Debug, Default)]
struct OriginCounts {
    established: AtomicU64,
    retries: AtomicU64,
    /// Allocated with the first failure.
    failures: OnceLock<Box<ReasonCounts>>,
}

impl UpstreamCounts {
    /// Creates the counters of origins that are new.
    pub(super) fn add_origins(&mut self, names: &[Arc<str>]) {
        for name in names {
            self.origins.entry(Arc::clone(name)).or_default();
        }
    }

    /// A connect has succeeded.
    pub fn connected(&self, time: Duration) {
        self.steps.connect.observe(time);
    }

    /// A TLS handshake has succeeded.
    pub fn handshake(&self, facts: &TlsFacts, time: Duration) {
        self.steps.handshakes.add(facts);
        self.steps.handshake.observe(time);
    }

    /// Counts a connection whose relay begins.
    pub fn established(&self, origin: &str) {
        if let Some(counts) = self.origins.get(origin) {
            counts.established.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an attempt that follows a failed one.
    pub fn retry(&self, origin: &str) {
        if let Some(counts) = self.origins.get(origin) {
            counts.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a failed attempt.
    pub fn failed(&self, origin: &str, reason: Reason) {
        if let Some(counts) = self.origins.get(origin) {
            counts.failures.get_or_init(Box::default).add(reason);
        }
    }
}

/// The sums over all workers for one upstream.
#[derive(Debug, Default)]
pub(super) struct UpstreamTotals {
    pub(super) connect: HistogramTotals,
    pub(super) handshake: HistogramTotals,
    pub(super) handshakes: HandshakeTotals,
    pub(super) origins: BTreeMap<Arc<str>, OriginTotals>,
}

/// The sums over all workers for one origin.
#[derive(Debug, Default)]
pub(super) struct OriginTotals {
    pub(super) established: u64,
    pub(super) retries: u64,
    failures: BTreeMap<usize, u64>,
}

impl UpstreamTotals {
    pub(super) fn add(&mut self, counts: &UpstreamCounts) {
        self.connect.add(&counts.steps.connect);
        self.handshake.add(&counts.steps.handshake);
        self.handshakes.add(&counts.steps.handshakes);
        for (name, origin) in &counts.origins {
            let totals = self.origins.entry(Arc::clone(name)).or_default();
            totals.established += origin.established.load(Ordering::Relaxed);
            totals.retries += origin.retries.load(Ordering::Relaxed);
            let failures = origin.failures.get().into_iter();
            for (reason, count) in failures.flat_map(|failures| failures.happened()) {
                *totals.failures.entry(reason).or_default() += count;
            }
        }
    }
}

impl OriginTotals {
    /// The failures with a count above zero.
    pub(super) fn failures(&self) -> impl Iterator<Item = (Reason, u64)> {
        let named = |(reason, count): (&usize, &u64)| Some((*Reason::ALL.get(*reason)?, *count));
        self.failures.iter().filter_map(named)
    }
}
