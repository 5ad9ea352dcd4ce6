//! An origin at one address, and what of it counts in a choice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::balance::Candidate;
use super::state::{Order, OriginState};
use super::{Address, Origin};

/// The scale on which slow start shares weights out, and the least share that it gives, in 1/256.
const WEIGHT_SCALE: u64 = 256;
const SLOW_SHARE_MIN: u128 = 26;

/// An origin at one address.
#[derive(Clone, Debug)]
pub struct Member {
    /// What the file says about it.
    pub origin: Arc<Origin>,
    /// Where it is, resolved.
    pub address: Address,
    /// Its live state.
    pub state: Arc<OriginState>,
    /// Of those that can be used, only the lowest tier is: backups and priorities.
    pub(super) tier: u32,
    /// The weight of its SRV record; 1 where there is none.
    pub(super) record_weight: u32,
    pub(super) identity: u64,
}

impl Member {
    /// Whether it may get new connections, as far as checks and orders go.
    pub(super) fn is_able(&self) -> bool {
        !self.state.is_down() && self.state.order() == Order::Enable
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.state.ejected_for(now).is_some()
    }

    /// Its weight, as the operator or else the configuration has it.
    pub fn weight(&self) -> u64 {
        let weight = self.state.weight().unwrap_or(self.origin.weight);
        u64::from(weight) * u64::from(self.record_weight)
    }

    pub(super) fn candidate(
        &self,
        index: usize,
        slow_start: Option<Duration>,
        now: Instant,
    ) -> Candidate {
        let share = self.weight().saturating_mul(WEIGHT_SCALE).max(1);
        let rising = slow_start.and_then(|time| Some((self.state.rising(time, now)?, time)));
        let weight = rising.map_or(share, |(ago, time)| {
            let part = ago.as_millis() * 256 / time.as_millis().max(1);
            let part = part.clamp(SLOW_SHARE_MIN, 256);
            u64::try_from(u128::from(share) * part / 256)
                .unwrap_or(share)
                .max(1)
        });
        Candidate {
            index,
            weight,
            share,
            live: self.state.live(),
            identity: self.identity,
        }
    }
}
