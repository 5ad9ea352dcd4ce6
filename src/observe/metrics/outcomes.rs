//! Counts of outcomes by stage, reason and fault.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::outcome::{Fault, Outcome, Reason, Stage};

/// What distinguishes outcomes of one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndKind {
    /// The connection ended in this stage, with the fault of its reason.
    In(Stage),
    /// It ended in the relay without a fault, although its reason has one.
    Harmless,
}

impl EndKind {
    const COUNT: usize = Stage::ALL.len() + 1;

    fn of(outcome: &Outcome) -> Self {
        match outcome.stage {
            Stage::Relay if outcome.fault != outcome.reason.fault() => Self::Harmless,
            stage => Self::In(stage),
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::In(stage) => stage as usize,
            Self::Harmless => Stage::ALL.len(),
        }
    }

    fn at(index: usize) -> Self {
        let stage = Stage::ALL.get(index);
        stage.map_or(Self::Harmless, |stage| Self::In(*stage))
    }

    /// The stage.
    pub(super) const fn stage(self) -> Stage {
        match self {
            Self::In(stage) => stage,
            Self::Harmless => Stage::Relay,
        }
    }

    /// The fault, if any.
    pub(super) const fn fault(self, reason: Reason) -> Option<Fault> {
        match self {
            Self::In(_) => reason.fault(),
            Self::Harmless => None,
        }
    }
}

/// The counts of one kind of end, by reason.
#[derive(Debug)]
pub(super) struct ReasonCounts([AtomicU64; Reason::ALL.len()]);

impl Default for ReasonCounts {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl ReasonCounts {
    pub(super) fn add(&self, reason: Reason) {
        if let Some(count) = self.0.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counts above zero, each with the index of its reason.
    pub(super) fn happened(&self) -> impl Iterator<Item = (usize, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        counts.enumerate().filter(|(_, count)| *count > 0)
    }
}

/// The outcomes of one worker for one route. Most routes see few kinds of ends, so each kind is allocated
/// with its first one.
#[derive(Debug, Default)]
pub(super) struct OutcomeCounts([OnceLock<Box<ReasonCounts>>; EndKind::COUNT]);

impl OutcomeCounts {
    pub(super) fn add(&self, outcome: &Outcome) {
        if let Some(kind) = self.0.get(EndKind::of(outcome).index()) {
            kind.get_or_init(Box::default).add(outcome.reason);
        }
    }
}

/// The sums over all workers. A route could have several hundred series, so those that are zero do not
/// exist.
#[derive(Debug, Default)]
pub(super) struct OutcomeTotals(BTreeMap<(usize, usize), u64>);

impl OutcomeTotals {
    pub(super) fn add(&mut self, counts: &OutcomeCounts) {
        for (kind, reasons) in counts.0.iter().enumerate() {
            let Some(reasons) = reasons.get() else {
                continue;
            };
            for (reason, count) in reasons.happened() {
                *self.0.entry((kind, reason)).or_default() += count;
            }
        }
    }

    /// The outcomes with a count above zero.
    pub(super) fn happened(&self) -> impl Iterator<Item = (EndKind, Reason, u64)> {
        self.0.iter().filter_map(|((kind, reason), count)| {
            let reason = Reason::ALL.get(*reason)?;
            Some((EndKind::at(*kind), *reason, *count))
        })
    }
}
