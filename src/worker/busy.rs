//! Which workers were busy lately. A few connections can keep a worker busier than many idle ones, so the
//! number of connections alone does not tell which worker can serve a new one best.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::RuntimeMetrics;

/// The shortest period between two samples: long enough for many turns of each worker.
const PERIOD: Duration = Duration::from_millis(100);

/// A worker counts as busy if it spent at least this share of the period, in percent, on its tasks. Below
/// that it still serves new events at once.
const BUSY_PERCENT: u128 = 75;

/// The metrics of the runtimes, and the result of the last sample.
pub(crate) struct Busy {
    runtimes: Vec<RuntimeMetrics>,
    last: Mutex<Sample>,
    busy: Vec<AtomicBool>,
}

struct Sample {
    at: Instant,
    /// The busy time of each worker since its start.
    totals: Vec<Duration>,
}

impl Busy {
    /// One worker per runtime.
    pub(crate) fn new(runtimes: Vec<RuntimeMetrics>) -> Self {
        let sample = Sample {
            at: Instant::now(),
            totals: vec![Duration::ZERO; runtimes.len()],
        };
        Self {
            busy: runtimes.iter().map(|_| AtomicBool::new(false)).collect(),
            last: Mutex::new(sample),
            runtimes,
        }
    }

    /// Whether a worker was busy at the last sample.
    pub(crate) fn is(&self, index: usize) -> bool {
        let busy = self.busy.get(index);
        busy.is_some_and(|busy| busy.load(Ordering::Relaxed))
    }

    /// The busy time of each worker since its start.
    pub(crate) fn totals(&self) -> impl Iterator<Item = Duration> {
        let runtimes = self.runtimes.iter();
        runtimes.map(|runtime| runtime.worker_total_busy_duration(0))
    }

    /// Samples the workers if the period is over. A caller that finds another one sampling uses the last
    /// result.
    pub(crate) fn refresh(&self) {
        let Ok(mut last) = self.last.try_lock() else {
            return;
        };
        let period = last.at.elapsed();
        if period < PERIOD {
            return;
        }
        last.at += period;
        let workers = self.runtimes.iter().zip(&mut last.totals).zip(&self.busy);
        for ((runtime, total), busy) in workers {
            let now = runtime.worker_total_busy_duration(0);
            let spent = now.saturating_sub(std::mem::replace(total, now));
            busy.store(is_busy(spent, period), Ordering::Relaxed);
        }
    }
}

const fn is_busy(spent: Duration, period: Duration) -> bool {
    spent.as_nanos() * 100 >= period.as_nanos() * BUSY_PERCENT
}
