//! The choice of an origin for one connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::index::Index;
use super::request::{PickError, PickRequest};
use crate::upstream::balance::{Balance, Load, Rank};
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
    index: Index,
    /// Whether more has changed than numbers of connections since the index was made.
    is_stale: bool,
    balance: Balance,
    /// Whether all usable origins are ejected. They are better than none.
    all_ejected: bool,
    /// When the first ejection ends.
    next_return: Option<Instant>,
    /// The places of those whose weight grows, in slow start.
    growing: Vec<usize>,
    random: u64,
}

impl Chooser {
    /// Draws random numbers that begin with this one.
    pub(super) fn new(random: u64) -> Self {
        Self {
            index: Index::default(),
            is_stale: true,
            balance: Balance::default(),
            all_ejected: false,
            next_return: None,
            growing: Vec::new(),
            random,
        }
    }

    /// More than the number of connections of an origin has changed.
    pub(super) const fn mark_stale(&mut self) {
        self.is_stale = true;
    }

    /// Takes all origins out of the index, so that they can get other places.
    pub(super) fn clear(&mut self, origins: &mut [Origin]) {
        for place in 0..origins.len() {
            self.index.remove(origins, place);
        }
        self.growing.clear();
        self.is_stale = true;
    }

    /// The number of connections of the origin at this place has changed.
    pub(super) fn recount(
        &mut self,
        definition: &UpstreamDefinition,
        origins: &mut [Origin],
        place: usize,
        now: Instant,
    ) {
        if !self.is_stale {
            let rank = self.rank(definition, &origins[place], now);
            self.index.set(origins, place, rank);
        }
    }

    /// A check has changed the state of the origin at this place.
    pub(super) fn restate(
        &mut self,
        definition: &UpstreamDefinition,
        origins: &mut [Origin],
        place: usize,
        now: Instant,
    ) {
        self.recount(definition, origins, place, now);
        if origins[place].is_growing(definition.slow_start, now) && !self.growing.contains(&place) {
            self.growing.push(place);
        }
        // Whether ejected ones are used depends on the others.
        self.is_stale |= self.all_ejected || self.index.is_empty();
    }

    /// Chooses an origin and takes a slot at it, without regard to waiters. `places` has the places of the
    /// origins by their ids.
    pub(super) fn choose(
        &mut self,
        definition: &Arc<UpstreamDefinition>,
        origins: &mut [Origin],
        places: &HashMap<u64, usize>,
        request: &PickRequest,
        now: Instant,
    ) -> Result<Taken, PickError> {
        self.update(definition, origins, now);
        let mut set_aside = Vec::new();
        for place in request.tried.iter().filter_map(|id| places.get(id)) {
            set_aside.extend(
                self.index
                    .remove(origins, *place)
                    .map(|rank| (*place, rank)),
            );
        }
        let again = self.index.is_empty();
        let mut put_back = |index: &mut Index, origins: &mut [Origin]| {
            for (place, rank) in set_aside.drain(..) {
                index.insert(origins, place, rank);
            }
        };
        if again {
            put_back(&mut self.index, origins);
        }
        let (balance, random) = (definition.balance, &mut self.random);
        let chosen = self.index.choose(origins, balance, request.source, random);
        put_back(&mut self.index, origins);
        Ok(self.take(definition, origins, chosen?, again, now))
    }

    /// Chooses among the addresses of one origin those that were not tried.
    pub(super) fn choose_alternate(
        &mut self,
        definition: &Arc<UpstreamDefinition>,
        origins: &mut [Origin],
        request: &PickRequest,
        only: &Arc<OriginDefinition>,
        now: Instant,
    ) -> Option<Taken> {
        self.update(definition, origins, now);
        let mut narrowed = Index::default();
        let mut alternates = Vec::new();
        for place in 0..origins.len() {
            let origin = &origins[place];
            if Arc::ptr_eq(only, &origin.definition)
                && !request.tried.contains(&origin.id)
                && let Some(rank) = self.index.remove(origins, place)
            {
                narrowed.insert(origins, place, rank);
                alternates.push((place, rank));
            }
        }
        let (balance, random) = (definition.balance, &mut self.random);
        let chosen = narrowed.choose(origins, balance, request.source, random);
        for (place, rank) in alternates {
            narrowed.remove(origins, place);
            self.index.insert(origins, place, rank);
        }
        Some(self.take(definition, origins, chosen.ok()?, false, now))
    }

    fn take(
        &mut self,
        definition: &Arc<UpstreamDefinition>,
        origins: &mut [Origin],
        place: usize,
        again: bool,
        now: Instant,
    ) -> Taken {
        let origin = &mut origins[place];
        origin.connections += 1;
        let taken = Taken {
            id: origin.id,
            upstream: Arc::clone(definition),
            definition: Arc::clone(&origin.definition),
            address: origin.address.clone(),
            again,
        };
        self.recount(definition, origins, place, now);
        taken
    }

    /// Makes the index true for this moment.
    fn update(&mut self, definition: &UpstreamDefinition, origins: &mut [Origin], now: Instant) {
        if self.is_stale || self.next_return.is_some_and(|at| now >= at) {
            self.make(definition, origins, now);
            return;
        }
        let mut growing = std::mem::take(&mut self.growing);
        growing.retain(|place| {
            self.recount(definition, origins, *place, now);
            origins[*place].is_growing(definition.slow_start, now)
        });
        self.growing = growing;
    }

    fn make(&mut self, definition: &UpstreamDefinition, origins: &mut [Origin], now: Instant) {
        if self.balance != definition.balance {
            // What one policy owes means nothing to another.
            self.clear(origins);
            origins
                .iter_mut()
                .for_each(|origin| origin.place.credit = 0);
            self.balance = definition.balance;
        }
        let ejections = origins.iter().filter_map(|o| o.outlier.ejected_for(now));
        self.next_return = ejections.min().and_then(|first| now.checked_add(first));
        let is_sound = |o: &Origin| o.is_usable() && o.outlier.ejected_for(now).is_none();
        self.all_ejected = !origins.iter().any(is_sound);
        self.growing.clear();
        for place in 0..origins.len() {
            let rank = self.rank(definition, &origins[place], now);
            self.index.set(origins, place, rank);
            if origins[place].is_growing(definition.slow_start, now) {
                self.growing.push(place);
            }
        }
        self.is_stale = false;
    }

    /// Where an origin stands at this moment; `None` if it is not usable.
    fn rank(&self, definition: &UpstreamDefinition, origin: &Origin, now: Instant) -> Option<Rank> {
        let is_ejected = || origin.outlier.ejected_for(now).is_some();
        if !origin.is_usable() || !self.all_ejected && is_ejected() {
            return None;
        }
        let (weight, share) = origin.weights(definition.slow_start, now);
        Some(Rank {
            tier: origin.tier,
            is_full: !origin.has_room(),
            load: match self.balance {
                Balance::LeastConnections => Load::new(origin.connections, weight),
                _ => Load::EQUAL,
            },
            weight,
            share,
        })
    }
}
