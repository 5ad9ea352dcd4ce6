//! The counters of the process, for `/metrics`.
//!
//! Each worker counts in its own [`Shard`], so counting is one uncontended atomic add: no lock, no
//! allocation. A scrape adds the shards up. Series derive from the configuration ([`Inventory`]) and from
//! closed sets of words, never from data of a peer.

mod counts;
mod families;
mod handshakes;
mod histogram;
mod inventory;
mod limits;
mod outcomes;
mod page;
mod process;
mod reloads;
mod render;
mod samples;
mod stats;
#[cfg(test)]
mod tests;
mod upstreams;
mod usage;

pub use self::counts::{EndpointCounts, Shard};
pub use self::inventory::{
    AuthorityEnd, CertificateEnd, Inventory, IssuerEnd, ListEnd, OriginGauge, QueueGauge,
};
pub use self::limits::{
    BandwidthLimit, BandwidthSample, LimitGauge, LimitSample, ScopeReport, ScopeSample,
};
pub use self::process::{DropCounts, Metrics};
pub use self::reloads::{ReloadExtent, ReloadResult};
pub use self::samples::{FetchSample, FleetSample, IssuerSample, TicketSample, WorkerSample};
pub use self::stats::{EndpointStats, Stats};
pub use self::upstreams::{AttemptFailure, UpstreamCounts};
