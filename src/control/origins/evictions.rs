//! Which connections end or drain because of the states of their origins.

use std::collections::HashMap;
use std::sync::Arc;

use crate::observe::access_log::{AccessRecord, CompactAddr};
use crate::snapshot::Snapshot;
use crate::upstream::{Address, EvictionReason, Upstreams};

/// The origins whose connections end, by upstream, and by address or else by name.
#[derive(Default)]
pub(super) struct Evictions(HashMap<EvictionKey, EvictionReason>);

type EvictionKey = (Arc<str>, Option<CompactAddr>, Option<Arc<str>>);

impl Evictions {
    pub(super) fn of(snapshot: &Snapshot, upstreams: &Upstreams) -> Self {
        let mut evictions = HashMap::new();
        for upstream in &snapshot.upstreams {
            let closes = upstream.health.as_ref().is_some_and(|health| health.close);
            for eviction in upstreams.evictions(&upstream.definition.name) {
                if eviction.reason == EvictionReason::Down && !closes {
                    continue;
                }
                let (address, name) = match eviction.address {
                    Address::Ip(address) => (Some(address.into()), None),
                    Address::Host(..) | Address::Srv(_) | Address::Unix(_) | Address::Made(..) => {
                        (None, eviction.origin)
                    }
                };
                let upstream = Arc::clone(&upstream.definition.name);
                evictions.insert((upstream, address, name), eviction.reason);
            }
        }
        Self(evictions)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Why a connection to its origin ends, if it does.
    pub(super) fn about(&self, record: &AccessRecord) -> Option<EvictionReason> {
        let address = record.origin_address.clone();
        let name = record.origin.clone().filter(|_| address.is_none());
        let key = (record.upstream.clone()?, address, name);
        self.0.get(&key).copied()
    }
}
