//! What happens to the origins of a pool, for the log and for those who end connections.

use std::sync::Arc;
use std::time::Duration;

use crate::upstream::definition::Address;

/// Something that happened to an origin: to be logged, and perhaps to end connections.
#[derive(Clone, Debug)]
pub struct OriginEvent {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The origin's name.
    pub origin: Arc<str>,
    /// Where it is; its name where it cannot be resolved.
    pub address: Address,
    /// What happened.
    pub change: Change,
}

/// What happened to an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Checks have found it up again.
    Up,
    /// Checks have found it down.
    Down {
        /// What the last check found.
        why: Arc<str>,
    },
    /// Too many connections to it failed: it gets no new ones for this long.
    Ejected(Duration),
    /// Its address came into the answers of the resolver, or into the configuration.
    Joined,
    /// Its address left the answers of the resolver.
    Gone,
    /// It left the configuration.
    Removed,
    /// Its name cannot be resolved, and why. The addresses known before stay.
    Unresolved(Arc<str>),
}
