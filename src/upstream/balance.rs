//! Who gets the next connection: pure choices over a slice of candidates.
//!
//! Knows nothing of health, limits or queues: an origin that cannot take a connection is not a candidate.

use std::net::IpAddr;

/// How an upstream spreads its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// In turn, each as often as its weight says, never in bursts.
    RoundRobin,
    /// To the origin with the fewest live connections for its weight.
    LeastConnections,
    /// Of two drawn at random, to the one with fewer live connections for its weight.
    RandomTwo,
    /// By the client's address: the same client to the same origin. An origin that comes or goes
    /// moves only its own share.
    SourceHash,
    /// To the first in the file that can take it.
    First,
}

/// Somebody who can take a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Its place in the upstream's list.
    pub(super) index: usize,
    /// Its weight at this moment, at least 1: slow start counts.
    pub(super) weight: u64,
    /// Its weight without slow start, at least 1.
    pub(super) share: u64,
    /// Its live connections.
    pub(super) live: usize,
    /// What it is known by to `source_hash`, the same in every process.
    pub(super) identity: u64,
}

/// What a choice depends on besides the candidates.
pub(super) struct Draw<'a> {
    /// The client, as [`source_key`] makes it; a client without an address has none.
    pub(super) source: Option<u64>,
    /// What each of the upstream's list is owed, by [`Candidate::index`].
    pub(super) credits: &'a mut [i64],
    /// The state of the random numbers.
    pub(super) random: &'a mut u64,
}

/// The place in the upstream's list of the one chosen; `None` of none.
pub(super) fn choose(
    balance: Balance,
    candidates: &[Candidate],
    draw: &mut Draw<'_>,
) -> Option<usize> {
    match balance {
        Balance::RoundRobin => in_turn(candidates.iter(), draw.credits),
        Balance::LeastConnections => least(candidates, draw.credits),
        Balance::RandomTwo => random_two(candidates, draw.random),
        Balance::SourceHash => match draw.source {
            Some(source) => by_source(candidates, source),
            None => in_turn(candidates.iter(), draw.credits),
        },
        Balance::First => candidates.first().map(|first| first.index),
    }
}

/// Smooth weighted round robin: everybody earns its weight, the richest is chosen and pays what all
/// have earned.
fn in_turn<'a>(
    candidates: impl Iterator<Item = &'a Candidate>,
    credits: &mut [i64],
) -> Option<usize> {
    let mut total = 0;
    let mut best: Option<(usize, i64)> = None;
    for candidate in candidates {
        let weight = i64::try_from(candidate.weight).unwrap_or(i64::MAX);
        total += weight;
        let credit = credits.get_mut(candidate.index)?;
        *credit += weight;
        if best.is_none_or(|(_, most)| *credit > most) {
            best = Some((candidate.index, *credit));
        }
    }
    let (index, _) = best?;
    *credits.get_mut(index)? -= total;
    Some(index)
}

/// The least loaded; those that are equally loaded take turns.
fn least(candidates: &[Candidate], credits: &mut [i64]) -> Option<usize> {
    let first = candidates.first()?;
    let least = candidates.iter().fold(first, |least, candidate| {
        if is_lighter(candidate, least) {
            candidate
        } else {
            least
        }
    });
    in_turn(candidates.iter().filter(|c| !is_lighter(least, c)), credits)
}

/// Whether one more connection would load `a` less than `b`, each for its weight.
fn is_lighter(a: &Candidate, b: &Candidate) -> bool {
    let load =
        |one: &Candidate, other: &Candidate| (one.live as u128 + 1) * u128::from(other.weight);
    load(a, b) < load(b, a)
}

fn random_two(candidates: &[Candidate], random: &mut u64) -> Option<usize> {
    let total: u64 = candidates.iter().map(|candidate| candidate.weight).sum();
    let first = draw(candidates, total, None, random)?;
    let second = draw(candidates, total - first.weight, Some(first.index), random);
    match second {
        Some(second) if is_lighter(second, first) => Some(second.index),
        _ => Some(first.index),
    }
}

/// One at random, by weight, but not `except`; `total` is the weight of all others.
fn draw<'a>(
    candidates: &'a [Candidate],
    total: u64,
    except: Option<usize>,
    random: &mut u64,
) -> Option<&'a Candidate> {
    *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut at = mix(*random).checked_rem(total)?;
    candidates
        .iter()
        .filter(|candidate| Some(candidate.index) != except)
        .find(|candidate| match at.checked_sub(candidate.weight) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        })
}

/// Rendezvous hashing with weights: every candidate draws a number for this client, and the highest
/// wins. Whoever else is there makes no difference to the numbers.
fn by_source(candidates: &[Candidate], source: u64) -> Option<usize> {
    let score = |candidate: &Candidate| {
        let drawn = (mix(source ^ candidate.identity) >> 11) as f64 + 0.5;
        let uniform = drawn / (1_u64 << 53) as f64;
        candidate.share as f64 / -uniform.ln()
    };
    candidates
        .iter()
        .map(|candidate| (candidate.index, score(candidate)))
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .map(|(index, _)| index)
}

/// A client as `source_hash` sees it: its address without the port.
pub(super) fn source_key(source: IpAddr) -> u64 {
    match source.to_canonical() {
        IpAddr::V4(address) => hash(&address.octets()),
        IpAddr::V6(address) => hash(&address.octets()),
    }
}

/// A hash that is the same in every process and on every machine: several proxies in front of the
/// same origins agree.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(fnv)
}

/// The finisher of SplitMix64: every bit of the input changes half of the output's.
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(weights: &[u64]) -> Vec<Candidate> {
        let candidate = |(index, weight): (usize, &u64)| Candidate {
            index,
            weight: *weight,
            share: *weight,
            live: 0,
            identity: hash(format!("10.0.0.{index}:80").as_bytes()),
        };
        weights.iter().enumerate().map(candidate).collect()
    }

    /// How often each candidate is chosen in `picks` picks by different clients. With `live`, the chosen one
    /// keeps the connection.
    fn shares(balance: Balance, mut all: Vec<Candidate>, picks: u64, live: bool) -> Vec<u64> {
        let mut counts = vec![0; all.len()];
        let mut credits = vec![0; all.len()];
        let mut random = 7;
        for client in 0..picks {
            let mut draw = Draw {
                source: Some(hash(&client.to_le_bytes())),
                credits: &mut credits,
                random: &mut random,
            };
            let chosen = choose(balance, &all, &mut draw).unwrap();
            counts[chosen] += 1;
            all[chosen].live += usize::from(live);
        }
        counts
    }

    fn must_be_fair(balance: Balance, weights: &[u64], live: bool) {
        const PICKS: u64 = 100_000;
        let counts = shares(balance, candidates(weights), PICKS, live);
        let total: u64 = weights.iter().sum();
        for (count, weight) in counts.iter().zip(weights) {
            let due = PICKS as f64 * *weight as f64 / total as f64;
            let off = (*count as f64 - due).abs() / due;
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
        let all = candidates(&[5, 1, 1]);
        let mut credits = vec![0; 3];
        let turns: Vec<_> = (0..7)
            .map(|_| in_turn(all.iter(), &mut credits).unwrap())
            .collect();
        assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn an_origin_that_leaves_moves_only_its_own_clients() {
        let clients: Vec<u64> = (0..20_000_u64).map(|n| hash(&n.to_le_bytes())).collect();
        for weights in [&[1; 4][..], &[1; 10], &[3, 1, 2, 2]] {
            let all = candidates(weights);
            for leaving in 0..all.len() {
                let rest: Vec<_> = all.iter().filter(|c| c.index != leaving).copied().collect();
                let mut moved = 0;
                for client in &clients {
                    let before = by_source(&all, *client).unwrap();
                    let after = by_source(&rest, *client).unwrap();
                    if before == leaving {
                        moved += 1;
                    } else {
                        assert_eq!(before, after);
                    }
                }
                let share = weights[leaving] as f64 / weights.iter().sum::<u64>() as f64;
                assert!(moved as f64 / clients.len() as f64 <= share + 0.05);
            }
        }
    }

    #[test]
    fn a_slow_start_does_not_move_clients() {
        let all = candidates(&[4, 4, 4]);
        let mut slow = all.clone();
        slow[1].weight = 1;
        for client in 0..1000_u64 {
            let client = hash(&client.to_le_bytes());
            assert_eq!(by_source(&all, client), by_source(&slow, client));
        }
    }

    #[test]
    fn the_lightest_for_its_weight_is_next() {
        let mut all = candidates(&[2, 1]);
        all[0].live = 1;
        // 2 of 2 is as much as 1 of 1: they take turns.
        let mut credits = vec![0; 2];
        let turns = [least(&all, &mut credits), least(&all, &mut credits)];
        assert_eq!(turns, [Some(0), Some(1)]);
        all[0].live = 2;
        assert_eq!(least(&all, &mut credits), Some(1));
    }

    #[test]
    fn nobody_is_chosen_of_none() {
        for balance in [
            Balance::RoundRobin,
            Balance::LeastConnections,
            Balance::RandomTwo,
            Balance::SourceHash,
            Balance::First,
        ] {
            let mut draw = Draw {
                source: Some(1),
                credits: &mut [],
                random: &mut 1,
            };
            assert_eq!(choose(balance, &[], &mut draw), None);
        }
    }
}
