//! What a pool is like at one moment: it is read, and nothing changes.

use std::time::Instant;

use super::Pool;
use super::status::OriginStatus;
use crate::upstream::definition::OnGone;
use crate::upstream::eviction::{Eviction, EvictionReason};
use crate::upstream::origin::LastCheck;

impl Pool {
    /// How each origin is at this moment, in file order, and the names without an address.
    pub fn status(&self) -> Vec<OriginStatus> {
        let now = Instant::now();
        let state = self.state.lock();
        let origins = state.origins.iter();
        let origins = origins.map(|origin| OriginStatus::of(origin, &self.name, now));
        let sources = state.sources.iter();
        let unresolved = sources.enumerate().filter_map(|(n, source)| {
            let since = state.resolution.since(n);
            OriginStatus::of_unresolved(source, &self.name, since)
        });
        origins.chain(unresolved).collect()
    }

    /// The latest checks of the origin with this id, the last one at the end.
    pub fn history(&self, id: u64) -> Vec<LastCheck> {
        let state = self.state.lock();
        let origin = state.origin(id);
        origin
            .map(|origin| origin.checks.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// The origin with this id; `None` once it left the pool.
    pub fn origin(&self, id: u64) -> Option<OriginStatus> {
        let state = self.state.lock();
        let origin = state.origin(id)?;
        Some(OriginStatus::of(origin, &self.name, Instant::now()))
    }

    /// Whether a name of it has an address, or had one.
    pub(in crate::upstream) fn has_origin(&self) -> bool {
        !self.state.lock().origins.is_empty()
    }

    /// The origins whose connections have to end. Connections that are being made are not among them,
    /// so the caller has to ask again.
    pub fn evictions(&self) -> Vec<Eviction> {
        let state = self.state.lock();
        let mut evictions: Vec<_> = state.origins.iter().filter_map(Eviction::of).collect();
        if state.definition.on_gone == OnGone::Drain {
            let gone = state.departed.iter().filter(|origin| origin.is_gone);
            evictions.extend(gone.map(|origin| Eviction {
                origin: None,
                address: origin.address.clone(),
                reason: EvictionReason::Gone,
            }));
        }
        evictions
    }
}
