//! The limits of an endpoint or route as configured. Pure.

use super::rate::Rate;
use super::source::{SourceLimits, SourcePrefix};

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

    /// Whether there is any.
    pub fn is_any(&self) -> bool {
        let has = |kind: &LimitKind| self.value(*kind).is_some();
        LimitKind::ALL.iter().any(has)
    }

    /// Whether connections are counted by source.
    pub const fn has_source(&self) -> bool {
        self.source.connections.is_some() || self.source.new.is_some()
    }
}
