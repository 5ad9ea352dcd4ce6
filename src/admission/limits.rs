//! The limits of an endpoint or route as configured. Pure.

use std::fmt;

use super::rate::Rate;
use super::source::{SourceLimits, SourcePrefix};
use crate::bandwidth::{ByteRate, DelayedBytes, Rates, Way};

/// The limits of an endpoint or route. `None` is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time.
    pub connections: Option<usize>,
    /// New connections.
    pub new: Option<Rate>,
    /// Connections and new connections of each source.
    pub source: SourceLimits,
    /// TLS handshakes with clients at a time.
    pub handshakes: Option<usize>,
    /// The same of each source.
    pub handshakes_per_source: Option<u32>,
    /// Bytes per second, of a route: from clients and from origins.
    pub bandwidth: [Rates; 2],
    /// What a source is.
    pub prefix: SourcePrefix,
    /// What happens at the limits of connections and handshakes.
    pub when_full: WhenFull,
    /// Whether clients are admitted all the same, and only counted.
    pub dry_run: bool,
}

/// What happens to a client for whom there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits.
    Wait,
    /// It is refused.
    Refuse,
}

/// Which limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// `connections`.
    Connections,
    /// `per_source`.
    PerSource,
    /// `new`.
    New,
    /// `new_per_source`.
    NewPerSource,
    /// `handshakes`.
    Handshakes,
    /// `handshakes_per_source`.
    HandshakesPerSource,
}

/// Which limit of bandwidth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BandwidthKey {
    /// Its direction.
    pub way: Way,
    /// Whether it is that of each connection.
    pub is_per_connection: bool,
}

impl BandwidthKey {
    /// Its key in the configuration, without the direction.
    pub const fn word(self) -> &'static str {
        match self.is_per_connection {
            true => "bandwidth_per_connection",
            false => "bandwidth",
        }
    }

    /// What this limit has of the bytes that were delayed.
    pub const fn part_of(self, delayed: DelayedBytes) -> u64 {
        match self.is_per_connection {
            true => delayed.connection,
            false => delayed.route,
        }
    }
}

impl fmt::Display for BandwidthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.word(), self.way.word())
    }
}

impl LimitKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Connections,
        Self::PerSource,
        Self::New,
        Self::NewPerSource,
        Self::Handshakes,
        Self::HandshakesPerSource,
    ];

    /// Its key in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::PerSource => "per_source",
            Self::New => "new",
            Self::NewPerSource => "new_per_source",
            Self::Handshakes => "handshakes",
            Self::HandshakesPerSource => "handshakes_per_source",
        }
    }
}

impl Limits {
    /// The configured value of a limit, as text; `None` if there is no such limit.
    pub fn value(&self, kind: LimitKind) -> Option<String> {
        match kind {
            LimitKind::Connections => self.connections.map(|max| max.to_string()),
            LimitKind::PerSource => self.source.connections.map(|max| max.to_string()),
            LimitKind::New => self.new.map(|rate| rate.to_string()),
            LimitKind::NewPerSource => self.source.new.map(|rate| rate.to_string()),
            LimitKind::Handshakes => self.handshakes.map(|max| max.to_string()),
            LimitKind::HandshakesPerSource => self.handshakes_per_source.map(|max| max.to_string()),
        }
    }

    /// How many may be there at once, where clients are counted together.
    pub const fn most(&self, kind: LimitKind) -> Option<usize> {
        match kind {
            LimitKind::Connections => self.connections,
            LimitKind::Handshakes => self.handshakes,
            _ => None,
        }
    }

    /// Each limit that there is, by its key, and its value as text.
    pub fn all(&self) -> impl Iterator<Item = (String, String)> {
        let counted = LimitKind::ALL.into_iter().filter_map(|kind| {
            let value = self.value(kind)?;
            Some((kind.word().to_owned(), value))
        });
        let bandwidths = self.bandwidths();
        counted.chain(bandwidths.map(|(key, rate)| (key.to_string(), rate.to_string())))
    }

    /// Whether there is any.
    pub fn is_any(&self) -> bool {
        let has = |kind: &LimitKind| self.value(*kind).is_some();
        LimitKind::ALL.iter().any(has) || self.bandwidth.iter().any(Rates::is_any)
    }

    /// The limits of bandwidth in one direction.
    pub const fn rates(&self, way: Way) -> Rates {
        let [up, down] = self.bandwidth;
        match way {
            Way::Up => up,
            Way::Down => down,
        }
    }

    /// The limits of bandwidth, each with its key.
    pub fn bandwidths(&self) -> impl Iterator<Item = (BandwidthKey, ByteRate)> {
        let all = Way::BOTH.into_iter().flat_map(|way| {
            let Rates { route, connection } = self.rates(way);
            let key = |is_per_connection| BandwidthKey {
                way,
                is_per_connection,
            };
            [(key(false), route), (key(true), connection)]
        });
        all.filter_map(|(key, rate)| Some((key, rate?)))
    }

    /// Whether connections are counted by source.
    pub const fn has_source(&self) -> bool {
        self.source.connections.is_some() || self.source.new.is_some()
    }
}
