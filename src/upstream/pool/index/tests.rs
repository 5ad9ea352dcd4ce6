//! Choices by the index, beside those by a look at every origin.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::upstream::balance::hash;
use crate::upstream::definition::UpstreamDefinition;
use crate::upstream::origin::{AdminState, Threshold, Verdict};
use crate::upstream::outlier::OutlierPolicy;
use crate::upstream::pool::choose::Chooser;
use crate::upstream::pool::request::{PickError, PickRequest};
use crate::upstream::tests::{origin, upstream};

const POLICIES: [Balance; 5] = [
    Balance::RoundRobin,
    Balance::LeastConnections,
    Balance::RandomTwo,
    Balance::SourceHash,
    Balance::First,
];

/// A pool without a lock, waiters and names.
struct Model {
    definition: Arc<UpstreamDefinition>,
    origins: Vec<Origin>,
    places: HashMap<u64, usize>,
    chooser: Chooser,
    now: Instant,
}

impl Model {
    fn new(balance: Balance, weights: &[u32]) -> Self {
        let mut definition = upstream(Vec::new());
        definition.balance = balance;
        let origin = |(n, weight): (usize, &u32)| {
            let definition = crate::upstream::OriginDefinition {
                weight: *weight,
                ..origin(n as u8)
            };
            let address = definition.address.clone();
            Origin::new(Arc::new(definition), address)
        };
        let origins: Vec<_> = weights.iter().enumerate().map(origin).collect();
        Self {
            definition: Arc::new(definition),
            places: origins.iter().enumerate().map(|(n, o)| (o.id, n)).collect(),
            origins,
            chooser: Chooser::new(7),
            now: Instant::now(),
        }
    }

    fn pick(&mut self, source: Option<u64>, tried: &[u64]) -> Result<(usize, bool), PickError> {
        let request = PickRequest {
            source,
            tried: tried.to_vec(),
        };
        let (definition, origins) = (&self.definition, &mut self.origins);
        let chosen = self
            .chooser
            .choose(definition, origins, &self.places, &request, self.now);
        chosen.map(|taken| (self.places[&taken.id], taken.again))
    }

    fn release(&mut self, place: usize) {
        self.origins[place].connections -= 1;
        let (definition, origins) = (&self.definition, &mut self.origins);
        self.chooser.recount(definition, origins, place, self.now);
    }

    /// Picks for a client, which leaves at once.
    fn visit(&mut self, client: u64) -> usize {
        let (place, _) = self.pick(Some(client), &[]).unwrap();
        self.release(place);
        place
    }
}

fn client(n: u64) -> u64 {
    hash(&n.to_le_bytes())
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix(self.0) % end as u64) as usize
    }
}

/// Changes of every kind between the picks: of numbers of connections, weights, states, ejections and the
/// time.
fn change(model: &mut Model, random: &mut Random, held: &mut Vec<usize>) {
    let place = random.below(model.origins.len());
    let now = model.now;
    let origin = &mut model.origins[place];
    match random.below(12) {
        0 => origin.set_weight([None, Some(1), Some(7)][random.below(3)]),
        1 => origin.admin = [AdminState::Enabled, AdminState::Draining][random.below(2)],
        2 => {
            let verdict = [Verdict::ForceUp, Verdict::ForceDown("x".into())];
            let threshold = Threshold { rise: 1, fall: 1 };
            origin.checked(verdict[random.below(2)].clone(), threshold, now);
            let (definition, origins) = (&model.definition, &mut model.origins);
            model.chooser.restate(definition, origins, place, now);
            return;
        }
        3 => {
            let policy = OutlierPolicy {
                failures: 1,
                within: Duration::from_secs(1),
                eject: Duration::from_secs(3),
                max_ejected: 100,
            };
            let time = origin.outlier.eject(&policy, now);
            origin.mark_up(now + time);
        }
        4 => {
            model.now += Duration::from_millis(100 * random.below(20) as u64);
            return;
        }
        _ => {
            if !held.is_empty() {
                let place = held.swap_remove(random.below(held.len()));
                model.release(place);
            }
            return;
        }
    }
    model.chooser.mark_stale();
}

#[test]
fn the_index_chooses_what_a_look_at_every_origin_chooses() {
    for (balance, seed) in POLICIES.into_iter().zip(1..) {
        for slow_start in [None, Some(Duration::from_secs(5))] {
            let mut random = Random(seed);
            let mut model = Model::new(balance, &[1, 1, 5, 1, 3, 3, 1, 256, 2]);
            Arc::make_mut(&mut model.definition).slow_start = slow_start;
            for place in [3, 8] {
                model.origins[place].tier = 1;
            }
            for place in [0, 2, 3] {
                let definition = Arc::make_mut(&mut model.origins[place].definition);
                definition.max_connections = Some(2);
            }
            let mut credits = vec![0; model.origins.len()];
            let mut held = Vec::new();
            for step in 0..20_000_u64 {
                change(&mut model, &mut random, &mut held);
                let source = Some(client(step)).filter(|_| random.below(4) > 0);
                let tried: Vec<_> = (0..random.below(4))
                    .map(|_| model.origins[random.below(9)].id)
                    .collect();
                let (definition, origins) = (&model.definition, &model.origins);
                let must = linear::choose(
                    definition,
                    origins,
                    &mut credits,
                    (source, &tried),
                    model.now,
                );
                match (model.pick(source, &tried), must) {
                    (Ok((place, again)), Some((places, was_tried))) => {
                        assert!(
                            places.contains(&place),
                            "{balance:?} {step} {places:?} {place}"
                        );
                        assert_eq!(again, was_tried, "{balance:?} {step}");
                        held.push(place);
                    }
                    (Err(_), None) => {}
                    (is, must) => panic!("{balance:?} {step}: {is:?}, not {must:?}"),
                }
            }
        }
    }
}

/// Of 100 000 picks, as many as the weight of each says. With `live`, the chosen one keeps the connection.
#[track_caller]
fn must_be_fair(balance: Balance, weights: &[u32], live: bool) {
    const PICKS: u64 = 100_000;
    let mut model = Model::new(balance, weights);
    let mut counts = vec![0; weights.len()];
    for n in 0..PICKS {
        let (place, _) = model.pick(Some(client(n)), &[]).unwrap();
        counts[place] += 1;
        if !live {
            model.release(place);
        }
    }
    let total: u32 = weights.iter().sum();
    for (count, weight) in counts.iter().zip(weights) {
        let due = PICKS as f64 * f64::from(*weight) / f64::from(total);
        let off = (f64::from(*count) - due).abs() / due;
        assert!(off < 0.02, "{balance:?} {weights:?}: {counts:?}");
    }
}

#[test]
fn shares_are_as_the_weights_within_two_percent() {
    for weights in [&[1, 1, 1][..], &[5, 1, 1], &[10, 20, 30, 40], &[256, 1]] {
        must_be_fair(Balance::RoundRobin, weights, false);
        must_be_fair(Balance::LeastConnections, weights, true);
    }
    for weights in [&[1, 1, 1][..], &[5, 1, 1], &[10, 20, 30, 40]] {
        must_be_fair(Balance::SourceHash, weights, false);
        must_be_fair(Balance::RandomTwo, weights, true);
    }
}

#[test]
fn turns_are_smooth() {
    let mut model = Model::new(Balance::RoundRobin, &[5, 1, 1]);
    let turns: Vec<_> = (0..7).map(|n| model.visit(n)).collect();
    assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn an_origin_that_leaves_moves_only_its_own_clients() {
    const CLIENTS: u64 = 20_000;
    for weights in [&[1; 4][..], &[1; 10], &[3, 1, 2, 2]] {
        let mut model = Model::new(Balance::SourceHash, weights);
        let before: Vec<_> = (0..CLIENTS).map(|n| model.visit(client(n))).collect();
        for leaving in 0..weights.len() {
            model.origins[leaving].admin = AdminState::Disabled;
            model.chooser.mark_stale();
            let mut moved = 0;
            for (n, before) in (0..).zip(&before) {
                let after = model.visit(client(n));
                if *before == leaving {
                    moved += 1;
                } else {
                    assert_eq!(*before, after);
                }
            }
            let share = f64::from(weights[leaving]) / f64::from(weights.iter().sum::<u32>());
            assert!(f64::from(moved) / CLIENTS as f64 <= share + 0.05);
            model.origins[leaving].admin = AdminState::Enabled;
            model.chooser.mark_stale();
        }
    }
}

#[test]
fn a_slow_start_does_not_move_clients() {
    let mut model = Model::new(Balance::SourceHash, &[4, 4, 4]);
    let before: Vec<_> = (0..1000).map(|n| model.visit(client(n))).collect();
    Arc::make_mut(&mut model.definition).slow_start = Some(Duration::from_secs(10));
    model.origins[1].mark_up(model.now);
    model.chooser.mark_stale();
    let after: Vec<_> = (0..1000).map(|n| model.visit(client(n))).collect();
    assert_eq!(before, after);
}

#[test]
fn the_lightest_for_its_weight_is_next() {
    let mut model = Model::new(Balance::LeastConnections, &[2, 1]);
    model.origins[0].connections = 1;
    // 2 of 2 is as much as 1 of 1: they take turns.
    assert_eq!([model.visit(0), model.visit(0)], [0, 1]);
    model.origins[0].connections = 2;
    model.chooser.mark_stale();
    assert_eq!(model.visit(0), 1);
}

#[test]
fn nobody_is_chosen_of_none() {
    for balance in POLICIES {
        let mut model = Model::new(balance, &[]);
        assert_eq!(model.pick(Some(1), &[]), Err(PickError::NoOrigin));
    }
}
