//! The bandwidth of one route, shared by its connections on all workers. It lives on over reloads.

use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::bucket::Bucket;
use super::rate::Rates;
use crate::sync::Mutex;

/// The direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the origin.
    Up,
    /// From the origin to the client.
    Down,
}

impl Way {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Up, Self::Down];

    /// The word for it in the configuration and in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What is counted for the limits of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BandwidthUse {
    /// Connections that wait for their share now.
    pub waiting: usize,
    /// Bytes that had to wait.
    pub delayed: DelayedBytes,
    /// Bytes that would have had to wait, but for a dry run.
    pub would_delay: DelayedBytes,
}

/// Bytes that a limit has delayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DelayedBytes {
    /// The limit of the route.
    pub route: u64,
    /// That of the connection.
    pub connection: u64,
}

/// The bandwidth of one route.
#[derive(Debug)]
pub struct RouteBandwidth {
    ways: [Mutex<Shared>; 2],
    /// Counts the changes of limits.
    revision: AtomicU64,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) bucket: Bucket,
    pub(super) rates: Rates,
    pub(super) is_dry_run: bool,
    pub(super) used: BandwidthUse,
}

impl Default for RouteBandwidth {
    /// Without a limit yet.
    fn default() -> Self {
        let shared = || {
            Mutex::new(Shared {
                bucket: Bucket::new(None, Instant::now()),
                rates: Rates::default(),
                is_dry_run: false,
                used: BandwidthUse::default(),
            })
        };
        Self {
            ways: [shared(), shared()],
            revision: AtomicU64::new(0),
        }
    }
}

impl RouteBandwidth {
    /// Sets the limits, for connections that are there as well.
    pub fn set(&self, way: Way, rates: Rates, is_dry_run: bool) {
        let mut shared = self.shared(way);
        shared.bucket.set_rate(rates.route, Instant::now());
        shared.rates = rates;
        shared.is_dry_run = is_dry_run;
        self.revision.fetch_add(1, Ordering::Release);
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// What is counted.
    pub fn used(&self, way: Way) -> BandwidthUse {
        self.shared(way).used
    }

    pub(super) fn shared(&self, way: Way) -> MutexGuard<'_, Shared> {
        let [up, down] = &self.ways;
        match way {
            Way::Up => up.lock(),
            Way::Down => down.lock(),
        }
    }
}
