//! Which connections a trace is about.

use std::net::IpAddr;
use std::time::Duration;

use crate::observe::format::Format;

/// The connections that a trace is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceFilter {
    /// Those from this address.
    Source(IpAddr),
    /// Those to this server name, in normal form.
    Sni(String),
    /// The one with this id.
    Id(u64),
}

/// Which trace, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceRequest {
    /// The connections.
    pub filter: TraceFilter,
    /// When it ends.
    pub duration: Duration,
    /// How many connections it follows.
    pub connections: usize,
    /// The form of its lines.
    pub format: Format,
}

impl TraceRequest {
    /// The longest duration.
    pub const DURATION_MAX: Duration = Duration::from_secs(600);
    /// The duration unless another one is wanted: a look at what happens now.
    pub const DURATION: Duration = Duration::from_secs(60);
    /// The most connections.
    pub const CONNECTIONS_MAX: usize = 1000;
    /// How many connections are followed unless another number is wanted: a person reads the lines.
    pub const CONNECTIONS: usize = 100;
}

/// What a step says of its connection.
#[derive(Debug, Default)]
pub(in crate::observe) struct Step<'a> {
    pub(in crate::observe) id: u64,
    pub(in crate::observe) client: Option<&'a str>,
    pub(in crate::observe) sni: Option<&'a str>,
    /// Whether it is the last one.
    pub(in crate::observe) is_end: bool,
}
