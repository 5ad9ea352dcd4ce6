//! Which workers have been busy of late. A few connections can keep a worker busy that many idle ones on
//! another do not, so their number alone does not tell where a new one is served best.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::RuntimeMetrics;

/// How much time each look at the workers covers at least: many turns of each.
const PERIOD: Duration = Duration::from_millis(100);

/// A worker that has been busy for this share of the time, in percent, is. Below it, whatever comes in is
/// still served at once.
const BUSY_PERCENT: u128 = 75;

/// What the runtimes count, and what came of it at the last look.
pub(crate) struct Busy {
    runtimes: Vec<RuntimeMetrics>,
    last: Mutex<Look>,
    busy: Vec<AtomicBool>,
}

struct Look {
    at: Instant,
    /// How long each worker had been busy since its start.
    totals: Vec<Duration>,
}

impl Busy {
    /// That of workers with these runtimes, one each.
    pub(crate) fn new(runtimes: Vec<RuntimeMetrics>) -> Self {
        let look = Look {
            at: Instant::now(),
            totals: vec![Duration::ZERO; runtimes.len()],
        };
        Self {
            busy: runtimes.iter().map(|_| AtomicBool::new(false)).collect(),
            last: Mutex::new(look),
            runtimes,
        }
    }

    /// Whether a worker is busy.
    pub(crate) fn is(&self, index: usize) -> bool {
        let busy = self.busy.get(index);
        busy.is_some_and(|busy| busy.load(Ordering::Relaxed))
    }

    /// Looks at the workers again if it is time. Who finds another one looking goes by the last result.
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
