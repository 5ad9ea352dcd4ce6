//! The thread that writes the lines of the queue.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::output::Destination;
use crate::observe::queue::{BATCH, LogQueue};

/// The shortest interval between two reports of lost lines.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// The writer thread: writes the lines of the queue, and flushes whenever that is empty.
pub(super) fn write(queue: &LogQueue<String>, destination: Destination) {
    let mut out = BufWriter::with_capacity(64 * 1024, destination);
    let mut report = LossReport::new();
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        // There may never be another line to report losses with.
        let bound = match report.is_due(&queue.lost) {
            true => REPORT_INTERVAL,
            false => Duration::MAX,
        };
        let orders = queue.take(&mut batch, bound);
        if orders.reopen {
            report.note(out.flush(), 0);
            report.note(out.get_mut().reopen(), 0);
        }
        for line in batch.drain(..) {
            // Reports also under a load that never empties the queue.
            report.write(&queue.lost);
            let written = out.write_all(line.as_bytes());
            if written.is_err() {
                queue.dropped.fetch_add(1, Ordering::Relaxed);
            }
            report.note(written, 1);
        }
        if orders.is_last {
            report.note(out.flush(), 0);
            report.write(&queue.lost);
            for flushed in orders.flushes {
                let _ = flushed.send(());
            }
            if orders.is_closed {
                return;
            }
            queue.pause();
        }
    }
}

/// Reports output errors and lost lines on standard error, at a limited rate.
struct LossReport {
    last: Option<Instant>,
    failed: u64,
    error: Option<io::Error>,
}

impl LossReport {
    const fn new() -> Self {
        Self {
            last: None,
            failed: 0,
            error: None,
        }
    }

    fn note(&mut self, result: io::Result<()>, lines: u64) {
        if let Err(error) = result {
            self.failed += lines;
            self.error = Some(error);
        }
    }

    /// Whether there is anything to report.
    fn is_due(&self, lost: &AtomicU64) -> bool {
        lost.load(Ordering::Relaxed) > 0 || self.error.is_some()
    }

    fn write(&mut self, lost: &AtomicU64) {
        let dropped = lost.load(Ordering::Relaxed);
        if !self.is_due(lost) || self.last.is_some_and(|at| at.elapsed() < REPORT_INTERVAL) {
            return;
        }
        self.last = Some(Instant::now());
        lost.fetch_sub(dropped, Ordering::Relaxed);
        let reason = match self.error.take() {
            Some(error) => error.to_string(),
            None => "the output is too slow".to_owned(),
        };
        let lines = dropped + std::mem::take(&mut self.failed);
        let what = match lines {
            0 => "the log cannot be written at the moment".to_owned(),
            lines => format!("log lines lost: {lines}"),
        };
        let _ = writeln!(io::stderr(), "reseal: {what}: {reason}");
    }
}
