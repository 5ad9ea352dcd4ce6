//! How an upstream spreads its connections: what decides on the order of its origins.
//!
//! Knows nothing of health, limits or queues.

use std::cmp::Ordering;
use std::net::IpAddr;

/// How an upstream spreads its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// In turn, each as often as its weight says, never in bursts.
    #[default]
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

/// Where an origin stands among those of its pool. A connection goes to one of those that stand first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Only the lowest tier is used.
    pub(super) tier: u32,
    /// Whether it has as many connections as it may.
    pub(super) is_full: bool,
    /// What it is loaded with, where the least loaded are preferred; else the same for all.
    pub(super) load: Load,
    /// Its weight at this moment, at least 1: slow start counts.
    pub(super) weight: u64,
    /// Its weight without slow start, at least 1.
    pub(super) share: u64,
}

impl Rank {
    /// Whether both are chosen from together.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        (self.tier, self.is_full, self.load) == (other.tier, other.is_full, other.load)
    }
}

/// The live connections of an origin for its weight, if it got one more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    connections: u64,
    weight: u64,
}

impl Load {
    /// That of all, where the load makes no difference.
    pub(super) const EQUAL: Self = Self {
        connections: 1,
        weight: 1,
    };

    /// The load of an origin with so many connections.
    pub(super) const fn new(connections: usize, weight: u64) -> Self {
        Self {
            connections: connections as u64 + 1,
            weight,
        }
    }
}

impl Ord for Load {
    fn cmp(&self, other: &Self) -> Ordering {
        let times = |a: u64, b: u64| u128::from(a) * u128::from(b);
        times(self.connections, other.weight).cmp(&times(other.connections, self.weight))
    }
}

impl PartialOrd for Load {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Load {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Load {}

/// The place of an origin in an index.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// Its rank there; `None` if it is not in one.
    pub(super) rank: Option<Rank>,
    /// What round robin owes it; while it is in an index, less than that by what its class has earned.
    pub(super) credit: i128,
    /// Its place in the list of its class.
    pub(super) at: usize,
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
pub(super) const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
