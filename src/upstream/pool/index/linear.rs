//! The choice as it is defined: a look at every origin. The index must choose the same.

use std::sync::Arc;
use std::time::Instant;

use crate::upstream::balance::{Balance, Load, mix};
use crate::upstream::definition::UpstreamDefinition;
use crate::upstream::origin::Origin;

struct Candidate {
    place: usize,
    weight: u64,
    share: u64,
    load: Load,
    identity: u64,
}

/// Those that can be chosen, and whether all of them were tried.
fn candidates(
    definition: &UpstreamDefinition,
    origins: &[Origin],
    tried: &[u64],
    now: Instant,
) -> (Vec<Candidate>, bool) {
    let is_ejected = |o: &Origin| o.outlier.ejected_for(now).is_some();
    let all_ejected = !origins.iter().any(|o| o.is_usable() && !is_ejected(o));
    let usable = |o: &Origin| o.is_usable() && (all_ejected || !is_ejected(o));
    let untried = |o: &Origin| usable(o) && !tried.contains(&o.id);
    let again = !origins.iter().any(untried);
    let fits = |o: &Origin| if again { usable(o) } else { untried(o) };
    let tier = origins.iter().filter(|o| fits(o)).map(|o| o.tier).min();
    let fitting = origins
        .iter()
        .enumerate()
        .filter(|(_, o)| fits(o) && Some(o.tier) == tier && o.has_room());
    let candidates = fitting.map(|(place, origin)| {
        let (weight, share) = origin.weights(definition.slow_start, now);
        Candidate {
            place,
            weight,
            share,
            load: Load::new(origin.connections, weight),
            identity: origin.identity,
        }
    });
    (candidates.collect(), again)
}

/// The place of the next one, and whether it was tried. For [`Balance::RandomTwo`] that is any of those that
/// could be drawn.
pub(super) fn choose(
    definition: &Arc<UpstreamDefinition>,
    origins: &[Origin],
    credits: &mut [i64],
    (source, tried): (Option<u64>, &[u64]),
    now: Instant,
) -> Option<(Vec<usize>, bool)> {
    let (candidates, again) = candidates(definition, origins, tried, now);
    let all: Vec<_> = candidates.iter().collect();
    let chosen = match (definition.balance, source) {
        (Balance::RandomTwo, _) => all.iter().map(|c| c.place).collect(),
        (Balance::First, _) => all.first().map(|c| c.place).into_iter().collect(),
        (Balance::SourceHash, Some(source)) => by_source(&all, source).into_iter().collect(),
        (Balance::LeastConnections, _) => {
            let least = all.iter().map(|c| c.load).min()?;
            let least: Vec<_> = all.into_iter().filter(|c| c.load == least).collect();
            in_turn(&least, credits).into_iter().collect()
        }
        (Balance::RoundRobin | Balance::SourceHash, _) => {
            in_turn(&all, credits).into_iter().collect()
        }
    };
    Some((chosen, again)).filter(|(chosen, _): &(Vec<usize>, bool)| !chosen.is_empty())
}

fn in_turn(candidates: &[&Candidate], credits: &mut [i64]) -> Option<usize> {
    let mut total = 0;
    for candidate in candidates {
        credits[candidate.place] += candidate.weight as i64;
        total += candidate.weight as i64;
    }
    let richest = candidates.iter().map(|c| credits[c.place]).max()?;
    let chosen = candidates
        .iter()
        .find(|c| credits[c.place] == richest)?
        .place;
    credits[chosen] -= total;
    Some(chosen)
}

fn by_source(candidates: &[&Candidate], source: u64) -> Option<usize> {
    let score = |candidate: &Candidate| {
        let drawn = (mix(source ^ candidate.identity) >> 11) as f64 + 0.5;
        let uniform = drawn / (1_u64 << 53) as f64;
        candidate.share as f64 / -uniform.ln()
    };
    let best = candidates
        .iter()
        .max_by(|a, b| score(a).total_cmp(&score(b)))?;
    Some(best.place)
}
