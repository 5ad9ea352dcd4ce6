//! Upstreams in three nouns: the immutable definition of one ([`UpstreamDefinition`]), its live
//! [`Pool`], and the live origins in it. The plain connection to an origin is made here, too; TLS over
//! it, and checks, are the callers'.

mod balance;
mod connect;
mod definition;
mod discovery;
mod eviction;
mod local;
mod named;
mod origin;
mod outlier;
mod own;
mod pool;
mod registry;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::balance::Balance;
pub use self::connect::{connect, probe, reason_for};
pub use self::definition::{Address, ConnectPolicy, OnGone, OriginDefinition, UpstreamDefinition};
pub use self::discovery::Lookup;
pub use self::eviction::EvictionReason;
pub use self::named::NoPool;
pub use self::origin::{AdminState, LastCheck, Threshold, Verdict};
pub use self::outlier::OutlierPolicy;
pub use self::own::{OwnListener, OwnListeners};
pub use self::pool::{
    Change, OriginEvent, OriginStatus, Pick, PickError, PickRequest, Pool, Slot, Waiting,
};
pub use self::registry::Upstreams;

/// How long to wait before an address that has just failed is tried again.
pub const RETRY_PAUSE: Duration = Duration::from_millis(250);
