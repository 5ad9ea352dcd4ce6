//! The counters of upstreams and their origins, one set for each worker.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use super::handshakes::{HandshakeCounts, HandshakeTotals};
use super::histogram::{Histogram, HistogramTotals, STEP};
use super::outcomes::ReasonCounts;
use crate::outcome::Reason;
use crate::sync::Mutex;
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
    latest: Mutex<VecDeque<AttemptFailure>>,
}

/// Failures of connections to an origin that were alike.
#[derive(Clone, Debug)]
pub struct AttemptFailure {
    /// When the last one was.
    pub at: SystemTime,
    /// The reason.
    pub reason: Reason,
    /// The detail of the first one. It may hold text from the wire.
    pub detail: Option<Box<str>>,
    /// How many there were, one after the other with less than a second in between.
    pub count: u64,
}

/// How many kinds of failures are kept for each origin.
const LATEST: usize = 8;

/// Failures that are alike are one, if they are closer together than this: a flood of them is one entry, and
/// costs a worker no allocation.
const ALIKE_WITHIN: Duration = Duration::from_secs(1);

/// The longest detail that is kept, in bytes; what is shown is no longer.
const DETAIL_MAX: usize = 256;

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
    pub fn failed(&self, origin: &str, reason: Reason, detail: Option<&str>) {
        if let Some(counts) = self.origins.get(origin) {
            counts.failures.get_or_init(Box::default).add(reason);
            counts.note(SystemTime::now(), reason, detail);
        }
    }

    /// Adds the latest failures of an origin.
    pub(super) fn add_latest(&self, origin: &str, latest: &mut Vec<AttemptFailure>) {
        if let Some(counts) = self.origins.get(origin) {
            latest.extend(counts.latest.lock().iter().cloned());
        }
    }
}

impl OriginCounts {
    fn note(&self, at: SystemTime, reason: Reason, detail: Option<&str>) {
        let mut latest = self.latest.lock();
        if let Some(last) = latest.back_mut()
            && last.reason == reason
            && at
                .duration_since(last.at)
                .is_ok_and(|time| time < ALIKE_WITHIN)
        {
            last.at = at;
            last.count += 1;
            return;
        }
        if latest.len() >= LATEST {
            latest.pop_front();
        }
        let end = |detail: &str| {
            (0..=detail.len().min(DETAIL_MAX))
                .rev()
                .find(|n| detail.is_char_boundary(*n))
        };
        let start = |detail: &str| detail.get(..end(detail)?).map(Box::from);
        latest.push_back(AttemptFailure {
            at,
            reason,
            detail: detail.and_then(start),
            count: 1,
        });
    }
}

/// The latest failures of one origin over all workers, the last one first.
pub(super) fn latest<'a>(
    workers: impl Iterator<Item = &'a UpstreamCounts>,
    origin: &str,
) -> Vec<AttemptFailure> {
    let mut latest = Vec::new();
    workers.for_each(|counts| counts.add_latest(origin, &mut latest));
    latest.sort_by_key(|failure| std::cmp::Reverse(failure.at));
    latest.truncate(LATEST);
    latest
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
