//! The bandwidth of one route, shared by its connections on all workers. It lives on over reloads.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, MutexGuard};

use tokio::time::Instant;

use super::bucket::Bucket;
use super::credit::CreditClock;
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
#[derive(Debug, Default)]
pub struct RouteBandwidth([Arc<OneWay>; 2]);

/// The bandwidth in one direction.
#[derive(Debug)]
pub(super) struct OneWay {
    shared: Mutex<Shared>,
    began: Instant,
    /// Counts the changes of limits.
    revision: AtomicU32,
}

/// What the flows of one direction share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) bucket: Bucket,
    pub(super) rates: Rates,
    pub(super) is_dry_run: bool,
    pub(super) used: BandwidthUse,
}

impl RouteBandwidth {
    /// Sets the limits, for connections that are there as well.
    pub fn set(&self, way: Way, rates: Rates, is_dry_run: bool) {
        let one_way = self.one_way(way);
        let mut shared = one_way.shared();
        shared.bucket.set_rate(rates.route, Instant::now());
        shared.rates = rates;
        shared.is_dry_run = is_dry_run;
        one_way.revision.fetch_add(1, Ordering::Release);
    }

    /// What is counted.
    pub fn used(&self, way: Way) -> BandwidthUse {
        self.one_way(way).shared().used
    }

    pub(super) const fn one_way(&self, way: Way) -> &Arc<OneWay> {
        let Self([up, down]) = self;
        match way {
            Way::Up => up,
            Way::Down => down,
        }
    }
}

impl Default for OneWay {
    /// Without a limit yet.
    fn default() -> Self {
        let now = Instant::now();
        let shared = Shared {
            bucket: Bucket::new(None, now),
            rates: Rates::default(),
            is_dry_run: false,
            used: BandwidthUse::default(),
        };
        Self {
            shared: Mutex::new(shared),
            began: now,
            revision: AtomicU32::new(0),
        }
    }
}

impl OneWay {
    pub(super) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock()
    }

    pub(super) fn clock(&self, now: Instant) -> CreditClock {
        let since = now.saturating_duration_since(self.began);
        // The lower bits: the clock wraps.
        let ms = u32::try_from(since.as_millis() & u128::from(u32::MAX)).unwrap_or_default();
        CreditClock {
            ms,
            revision: self.revision.load(Ordering::Acquire),
        }
    }
}
