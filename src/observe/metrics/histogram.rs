//! Histograms with fixed buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const BOUNDS: usize = 14;

/// The upper bounds of the buckets: microseconds, and seconds as text.
pub(super) type Bounds = [(u64, &'static str); BOUNDS];

/// For steps that take from less than a millisecond to their timeout.
pub(super) static STEP: Bounds = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
];

/// For whole connections, from one request to days.
pub(super) static CONNECTION: Bounds = [
    (10_000, "0.01"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (5_000_000, "5"),
    (15_000_000, "15"),
    (60_000_000, "60"),
    (300_000_000, "300"),
    (900_000_000, "900"),
    (3_600_000_000, "3600"),
    (14_400_000_000, "14400"),
    (43_200_000_000, "43200"),
    (86_400_000_000, "86400"),
];

/// The histogram of one worker.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: &'static Bounds,
    /// One for each bound, and the last for what is beyond all of them.
    buckets: [AtomicU64; BOUNDS + 1],
    micros: AtomicU64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static Bounds) -> Self {
        Self {
            bounds,
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            micros: AtomicU64::new(0),
        }
    }

    pub(super) fn observe(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = self.bounds.iter().position(|(bound, _)| micros <= *bound);
        if let Some(count) = self.buckets.get(bucket.unwrap_or(BOUNDS)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// The sums over all workers.
#[derive(Debug, Default)]
pub(super) struct HistogramTotals {
    bounds: Option<&'static Bounds>,
    buckets: [u64; BOUNDS + 1],
    micros: u64,
}

impl HistogramTotals {
    pub(super) fn add(&mut self, histogram: &Histogram) {
        self.bounds = Some(histogram.bounds);
        for (total, count) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *total += count.load(Ordering::Relaxed);
        }
        self.micros += histogram.micros.load(Ordering::Relaxed);
    }

    /// How many times were observed.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all times, in seconds.
    pub(super) const fn seconds(&self) -> f64 {
        Duration::from_micros(self.micros).as_secs_f64()
    }

    /// Each upper bound, and the number of times up to it.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let bounds = self.bounds.into_iter().flatten().map(|(_, text)| *text);
        let all = bounds.chain(["+Inf"]).zip(&self.buckets);
        all.scan(0, |sum, (bound, count)| {
            *sum += count;
            Some((bound, *sum))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_up_to_its_bound_and_beyond() {
        let histogram = Histogram::new(&STEP);
        for micros in [0, 1_000, 1_001, 60_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut totals = HistogramTotals::default();
        totals.add(&histogram);
        let counts: Vec<_> = totals.cumulative().collect();
        assert_eq!(counts[..3], [("0.0005", 1), ("0.001", 2), ("0.0025", 3)]);
        assert_eq!(counts[13..], [("10", 3), ("+Inf", 4)]);
        assert_eq!(totals.count(), 4);
        assert_eq!(totals.seconds(), 60.002_001);
    }

    #[test]
    fn the_text_of_each_bound_is_its_number_and_they_rise() {
        for bounds in [&STEP, &CONNECTION] {
            assert!(bounds.is_sorted());
            for (micros, text) in bounds {
                let seconds: f64 = text.parse().unwrap();
                assert_eq!(
                    Duration::from_secs_f64(seconds),
                    Duration::from_micros(*micros)
                );
            }
        }
    }
}
