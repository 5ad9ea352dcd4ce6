//! The choice of an origin for one connection. Pure but for the state of balancing.

use std::sync::Arc;
use std::time::Instant;

use super::request::{PickError, PickRequest};
use super::resolution::Resolution;
use crate::upstream::balance::{self, Candidate, Draw};
use crate::upstream::definition::{Address, OriginDefinition, UpstreamDefinition};
use crate::upstream::origin::Origin;

/// A slot that was taken, by the origin's id, and what the connection needs to know of the origin.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) id: u64,
    pub(super) upstream: Arc<UpstreamDefinition>,
    pub(super) definition: Arc<OriginDefinition>,
    pub(super) address: Address,
    pub(super) again: bool,
}

/// The state of balancing, which outlives each choice.
#[derive(Debug)]
pub(super) struct Chooser {
    /// What round robin owes each origin, in their order.
    credits: Vec<i64>,
    /// Kept for its memory.
    candidates: Vec<Candidate>,
    random: u64,
}

impl Chooser {
    /// Draws random numbers that begin with this one.
    pub(super) const fn new(random: u64) -> Self {
        Self {
            credits: Vec::new(),
            candidates: Vec::new(),
            random,
        }
    }

    /// What each of so many origins is owed; for a new order of them, to be set again.
    pub(super) fn take_credits(&mut self, origins: usize) -> Vec<i64> {
        let mut credits = std::mem::take(&mut self.credits);
        credits.resize(origins, 0);
        credits
    }

    pub(super) fn set_credits(&mut self, credits: Vec<i64>) {
        self.credits = credits;
    }

    /// Chooses an origin and takes a slot at it, without regard to waiters.
    pub(super) fn choose(
        &mut self,
        definition: &Arc<UpstreamDefinition>,
        origins: &mut [Origin],
        resolution: &Resolution,
        request: &PickRequest,
        now: Instant,
    ) -> Result<Taken, PickError> {
        let is_ejected = |o: &Origin| o.outlier.ejected_for(now).is_some();
        // An ejected origin is better than none.
        let all_ejected = !origins.iter().any(|o| o.is_usable() && !is_ejected(o));
        let wanted = |o: &Origin| {
            let only = request.only.as_ref();
            only.is_none_or(|only| Arc::ptr_eq(only, &o.definition))
        };
        let usable = |o: &Origin| o.is_usable() && wanted(o) && (all_ejected || !is_ejected(o));
        let untried = |o: &Origin| usable(o) && !request.tried.contains(&o.id);
        let again = !origins.iter().any(untried);
        let fits = |o: &Origin| if again { usable(o) } else { untried(o) };
        let mut lowest = None;
        self.candidates.clear();
        for (index, origin) in origins.iter().enumerate().filter(|(_, o)| fits(o)) {
            if lowest.is_none_or(|lowest| origin.tier < lowest) {
                lowest = Some(origin.tier);
                self.candidates.clear();
            }
            if lowest == Some(origin.tier) && origin.has_room() {
                let candidate = origin.candidate(index, definition.slow_start, now);
                self.candidates.push(candidate);
            }
        }
        if lowest.is_none() {
            return Err(resolution.error(origins.is_empty()));
        }
        let mut draw = Draw {
            source: request.source,
            credits: self.credits.as_mut_slice(),
            random: &mut self.random,
        };
        let chosen = balance::choose(definition.balance, &self.candidates, &mut draw);
        let Some(index) = chosen else {
            return Err(PickError::Full);
        };
        let origin = &mut origins[index];
        origin.connections += 1;
        Ok(Taken {
            id: origin.id,
            upstream: Arc::clone(definition),
            definition: Arc::clone(&origin.definition),
            address: origin.address.clone(),
            again,
        })
    }
}
