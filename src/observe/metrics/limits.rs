//! The limits of the process, of endpoints and of routes, read when somebody looks.

use std::fmt;
use std::sync::Arc;

/// A limit of the process at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSample {
    /// Its value.
    pub max: usize,
    /// How much of it is in use.
    pub used: usize,
    /// How often a client had to wait because of it.
    pub reached: u64,
}

/// A limit of the process, by the word that stands for it in metrics and in the status.
pub struct LimitGauge {
    /// The word.
    pub limit: &'static str,
    /// Reads it.
    pub read: Box<dyn Fn() -> LimitSample + Send + Sync>,
}

/// A limit of an endpoint or route at one moment.
#[derive(Clone, Debug)]
pub struct ScopeSample {
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// The route's name, if it is the limit of a route.
    pub route: Option<Arc<str>>,
    /// Its key.
    pub limit: &'static str,
    /// Its value, as configured.
    pub value: String,
    /// Its value, and how much of it is in use, where clients are counted together.
    pub use_of: Option<(usize, usize)>,
    /// Whether it is a dry run.
    pub is_dry_run: bool,
    /// How many clients it has refused.
    pub refused: u64,
    /// How many it would have refused, in a dry run.
    pub would_refuse: u64,
}

/// The bandwidth of one direction of a route at one moment.
#[derive(Clone, Debug)]
pub struct BandwidthSample {
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// The route's name.
    pub route: Arc<str>,
    /// `up` or `down`.
    pub direction: &'static str,
    /// Connections that wait for their share.
    pub waiting: usize,
    /// Whether it is a dry run.
    pub is_dry_run: bool,
    /// Its limits.
    pub limits: Vec<BandwidthLimit>,
}

/// One limit of bandwidth at one moment.
#[derive(Clone, Debug)]
pub struct BandwidthLimit {
    /// Its key.
    pub limit: &'static str,
    /// Bytes per second.
    pub rate: u64,
    /// Its value, as configured.
    pub value: String,
    /// Bytes that it has delayed.
    pub delayed: u64,
    /// Bytes that it would have delayed, in a dry run.
    pub would_delay: u64,
}

/// The limits of endpoints and routes at one moment.
#[derive(Clone, Debug, Default)]
pub struct ScopeReport {
    /// Each limit.
    pub limits: Vec<ScopeSample>,
    /// The bandwidth of each route that limits it, by direction.
    pub bandwidth: Vec<BandwidthSample>,
    /// How many sources are counted.
    pub sources: usize,
}

impl fmt::Debug for LimitGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sample = (self.read)();
        f.debug_tuple("LimitGauge")
            .field(&self.limit)
            .field(&sample)
            .finish()
    }
}
