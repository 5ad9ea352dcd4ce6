//! Counts of handshakes by version and resumption.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::tls::info::TlsFacts;

/// The kinds of handshakes: version, and whether a session was resumed, as label values.
const KINDS: [(&str, bool); 4] = [
    ("TLSv1.2", false),
    ("TLSv1.2", true),
    ("TLSv1.3", false),
    ("TLSv1.3", true),
];

/// The handshakes of one worker.
#[derive(Debug, Default)]
pub(super) struct HandshakeCounts([AtomicU64; KINDS.len()]);

impl HandshakeCounts {
    pub(super) fn add(&self, facts: &TlsFacts) {
        let mut kinds = KINDS.iter().zip(&self.0);
        let kind = kinds.find(|((version, resumed), _)| {
            Some(*version) == facts.version && *resumed == facts.resumed
        });
        if let Some((_, count)) = kind {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The sums over all workers.
#[derive(Debug, Default)]
pub(super) struct HandshakeTotals([u64; KINDS.len()]);

impl HandshakeTotals {
    pub(super) fn add(&mut self, counts: &HandshakeCounts) {
        for (total, count) in self.0.iter_mut().zip(&counts.0) {
            *total += count.load(Ordering::Relaxed);
        }
    }

    /// The counts above zero, with version and resumption as label values.
    pub(super) fn happened(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let counted = KINDS.iter().zip(self.0).filter(|(_, count)| *count > 0);
        counted.map(|((version, resumed), count)| {
            let resumed = if *resumed { "true" } else { "false" };
            (*version, resumed, count)
        })
    }
}
