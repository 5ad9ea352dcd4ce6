//! Which origins' connections have to end, and why.

use std::sync::Arc;

use super::definition::Address;
use super::origin::{AdminState, Origin};

/// An origin at one address whose connections have to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// The origin's name; absent for an address that left DNS.
    pub origin: Option<Arc<str>>,
    /// Where it is.
    pub address: Address,
    /// Why.
    pub reason: EvictionReason,
}

/// Why the connections to an origin have to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictionReason {
    /// Checks have found it down.
    Down,
    /// An operator has disabled it.
    Disabled,
    /// Its address left the answers of the resolver; its connections are to be drained.
    Gone,
}

impl Eviction {
    pub(super) fn of(origin: &Origin) -> Option<Self> {
        let reason = match origin.admin {
            AdminState::Disabled => EvictionReason::Disabled,
            AdminState::Enabled | AdminState::Draining if origin.is_down => EvictionReason::Down,
            AdminState::Enabled | AdminState::Draining => return None,
        };
        Some(Self {
            origin: Some(Arc::clone(&origin.definition.name)),
            address: origin.address.clone(),
            reason,
        })
    }
}
