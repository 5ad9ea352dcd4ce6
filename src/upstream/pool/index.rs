//! The origins of a pool that can take connections, so ordered that the next one is found without a look at
//! each. What a choice costs grows with the number of different weights, and with the origins only by the
//! depth of a tree; `source_hash` alone looks at all, at 16 bytes each.
//!
//! Origins are in the index by their places in the slice that each method gets.

#[cfg(test)]
mod linear;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::request::PickError;
use crate::upstream::balance::{Balance, Load, Rank, mix};
use crate::upstream::origin::Origin;

#[derive(Debug, Default)]
pub(super) struct Index {
    classes: BTreeMap<Rank, Class>,
}

/// Origins of equal rank: they earn alike, so their order changes only when one of them pays.
#[derive(Debug, Default)]
struct Class {
    /// What each has earned in turns since the class exists.
    earned: i128,
    /// By what they are owed, less what the class has earned; among equals in the order of the file.
    turns: BTreeSet<(Reverse<i128>, usize)>,
    /// What each is known by to `source_hash`, and its place; in no order.
    list: Vec<(u64, usize)>,
}

impl Index {
    /// Whether no origin is usable.
    pub(super) fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Gives an origin another rank, or takes it out.
    pub(super) fn set(&mut self, origins: &mut [Origin], place: usize, rank: Option<Rank>) {
        if origins[place].place.rank != rank {
            self.remove(origins, place);
            if let Some(rank) = rank {
                self.insert(origins, place, rank);
            }
        }
    }

    /// Puts an origin in that is not in an index.
    pub(super) fn insert(&mut self, origins: &mut [Origin], place: usize, rank: Rank) {
        let origin = &mut origins[place];
        let class = self.classes.entry(rank).or_default();
        origin.place.rank = Some(rank);
        origin.place.credit -= class.earned;
        origin.place.at = class.list.len();
        class.turns.insert((Reverse(origin.place.credit), place));
        class.list.push((origin.identity, place));
    }

    /// Takes an origin out; returns the rank that it had.
    pub(super) fn remove(&mut self, origins: &mut [Origin], place: usize) -> Option<Rank> {
        let rank = origins[place].place.rank.take()?;
        let class = self.classes.get_mut(&rank)?;
        let (credit, at) = (origins[place].place.credit, origins[place].place.at);
        class.turns.remove(&(Reverse(credit), place));
        origins[place].place.credit += class.earned;
        class.list.swap_remove(at);
        if let Some((_, moved)) = class.list.get(at) {
            origins[*moved].place.at = at;
        }
        if class.list.is_empty() {
            self.classes.remove(&rank);
        }
        Some(rank)
    }

    /// The place of the next one; `source` is the client as
    /// [`source_key`](crate::upstream::balance::source_key) makes it.
    pub(super) fn choose(
        &mut self,
        origins: &mut [Origin],
        balance: Balance,
        source: Option<u64>,
        random: &mut u64,
    ) -> Result<usize, PickError> {
        let (first, _) = self.classes.first_key_value().ok_or(PickError::NoOrigin)?;
        if first.is_full {
            return Err(PickError::Full);
        }
        let chosen = match (balance, source) {
            (Balance::SourceHash, Some(source)) => self.by_source(source),
            (Balance::RandomTwo, _) => self.random_two(origins, random),
            (Balance::First, _) => self.first(),
            (Balance::RoundRobin | Balance::LeastConnections | Balance::SourceHash, _) => {
                self.in_turn(origins)
            }
        };
        chosen.ok_or(PickError::NoOrigin)
    }

    /// The classes that the next one is chosen from.
    fn front(&self) -> impl Iterator<Item = (&Rank, &Class)> {
        let first = self.classes.first_key_value().map(|(first, _)| *first);
        let is_front = move |rank: &Rank| first.is_some_and(|first| rank.is_beside(&first));
        self.classes
            .iter()
            .take_while(move |(rank, _)| is_front(rank))
    }

    /// Smooth weighted round robin: everybody earns its weight, the richest is chosen and pays what all
    /// have earned.
    fn in_turn(&mut self, origins: &mut [Origin]) -> Option<usize> {
        let first = *self.classes.first_key_value()?.0;
        let front = self.classes.iter_mut();
        let front = front.take_while(|(rank, _)| rank.is_beside(&first));
        let mut total = 0;
        let mut best: Option<(i128, Reverse<usize>, &mut Class)> = None;
        for (rank, class) in front {
            total += i128::from(rank.weight) * class.list.len() as i128;
            class.earned += i128::from(rank.weight);
            let (Reverse(credit), place) = *class.turns.first()?;
            let next = (credit + class.earned, Reverse(place));
            if best.as_ref().is_none_or(|best| next > (best.0, best.1)) {
                best = Some((next.0, next.1, class));
            }
        }
        let (_, Reverse(place), class) = best?;
        let credit = &mut origins.get_mut(place)?.place.credit;
        class.turns.pop_first();
        *credit -= total;
        class.turns.insert((Reverse(*credit), place));
        Some(place)
    }

    /// The first in the file. Nobody is owed anything, so each class is in that order.
    fn first(&self) -> Option<usize> {
        let firsts = self.front().filter_map(|(_, class)| class.turns.first());
        firsts.map(|(_, place)| *place).min()
    }

    fn random_two(&self, origins: &[Origin], random: &mut u64) -> Option<usize> {
        let weights = self
            .front()
            .map(|(rank, class)| rank.weight * class.list.len() as u64);
        let total: u64 = weights.sum();
        let (weight, first) = self.draw(origins, total, None, random)?;
        let load = |weight, place: usize| Load::new(origins[place].connections, weight);
        match self.draw(origins, total - weight, Some(first), random) {
            Some((other, second)) if load(other, second) < load(weight, first) => Some(second),
            _ => Some(first),
        }
    }

    /// One at random, by weight, but not `except`, with its weight; `total` is the weight of all others.
    fn draw(
        &self,
        origins: &[Origin],
        total: u64,
        except: Option<usize>,
        random: &mut u64,
    ) -> Option<(u64, usize)> {
        *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut at = mix(*random).checked_rem(total)?;
        for (rank, class) in self.front() {
            let place = |except: usize| origins[except].place;
            let except = except.map(place).filter(|place| place.rank == Some(*rank));
            let count = class.list.len() - usize::from(except.is_some());
            let nth = usize::try_from(at / rank.weight).ok()?;
            if nth < count {
                let nth = nth + usize::from(except.is_some_and(|place| place.at <= nth));
                return Some((rank.weight, class.list.get(nth)?.1));
            }
            at -= rank.weight * count as u64;
        }
        None
    }

    /// Rendezvous hashing with weights: every origin draws a number for this client, and the highest wins.
    /// Other origins make no difference to the numbers.
    fn by_source(&self, source: u64) -> Option<usize> {
        // Among equal shares, the highest number has the highest score.
        let best = |(rank, class): (&Rank, &Class)| {
            let drawn = class.list.iter();
            let drawn =
                drawn.map(|(identity, place)| (mix(source ^ identity) >> 11, Reverse(*place)));
            let (drawn, Reverse(place)) = drawn.max()?;
            let uniform = (drawn as f64 + 0.5) / (1_u64 << 53) as f64;
            Some((place, rank.share as f64 / -uniform.ln()))
        };
        self.front()
            .filter_map(best)
            .reduce(|best, next| if next.1 > best.1 { next } else { best })
            .map(|(place, _)| place)
    }
}
