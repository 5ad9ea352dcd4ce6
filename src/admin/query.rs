//! Which connections and failures a request is about, and in which order it wants them.

use std::time::Duration;

use ipnet::IpNet;

use crate::outcome::Stage;

/// Which connections; each field that is there must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnFilter {
    /// The identifier of one connection.
    pub id: Option<u64>,
    /// The endpoint's name.
    pub endpoint: Option<String>,
    /// The route's name, or ENDPOINT/NAME.
    pub route: Option<String>,
    /// The upstream's name.
    pub upstream: Option<String>,
    /// The origin's name or address.
    pub origin: Option<String>,
    /// A network that has the client's address.
    pub source: Option<IpNet>,
    /// The server name, or `*.` and what it ends with.
    pub sni: Option<String>,
    /// A name of the client's certificate: its subject, its common name, or an alternative name.
    pub certificate: Option<String>,
    /// The serial number of the client's certificate, in hexadecimal.
    pub serial: Option<String>,
    /// The least age.
    pub older_than: Option<Duration>,
    /// The least time in which no byte has moved.
    pub idle_for: Option<Duration>,
    /// The stage.
    pub stage: Option<StageFilter>,
}

/// Which stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageFilter {
    /// All before the relay.
    Setup,
    /// One stage.
    Is(Stage),
}

/// What connections are sorted or grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnKey {
    Id,
    Endpoint,
    Route,
    Upstream,
    Origin,
    Source,
    Sni,
    Certificate,
    Serial,
    Stage,
    Mode,
    Age,
    Idle,
    Bytes,
    Up,
    Down,
    Rate,
}

impl ConnKey {
    const ALL: [(&'static str, Self); 17] = [
        ("id", Self::Id),
        ("endpoint", Self::Endpoint),
        ("route", Self::Route),
        ("upstream", Self::Upstream),
        ("origin", Self::Origin),
        ("source", Self::Source),
        ("sni", Self::Sni),
        ("certificate", Self::Certificate),
        ("serial", Self::Serial),
        ("stage", Self::Stage),
        ("mode", Self::Mode),
        ("age", Self::Age),
        ("idle", Self::Idle),
        ("bytes", Self::Bytes),
        ("up", Self::Up),
        ("down", Self::Down),
        ("rate", Self::Rate),
    ];

    /// The key of this word.
    pub(super) fn of(word: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|(known, _)| *known == word).map(|(_, key)| key)
    }

    /// Whether connections can be grouped by it.
    pub(super) const fn groups(self) -> bool {
        !matches!(
            self,
            Self::Id | Self::Bytes | Self::Up | Self::Down | Self::Rate
        )
    }
}

/// What a request wants to know of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnQuery {
    /// Which connections.
    pub filter: ConnFilter,
    /// What they are sorted by.
    pub sort: ConnKey,
    /// Whether the order is reversed.
    pub reverse: bool,
    /// How many rows the answer has at most.
    pub limit: usize,
    /// Groups in place of connections.
    pub totals: Option<ConnKey>,
    /// Whether to wait for rates, if there are none yet.
    pub rates: bool,
}

impl ConnQuery {
    /// All connections, in the order of their age.
    pub const fn all() -> Self {
        Self {
            filter: ConnFilter {
                id: None,
                endpoint: None,
                route: None,
                upstream: None,
                origin: None,
                source: None,
                sni: None,
                certificate: None,
                serial: None,
                older_than: None,
                idle_for: None,
                stage: None,
            },
            sort: ConnKey::Age,
            reverse: false,
            limit: usize::MAX,
            totals: None,
            rates: false,
        }
    }
}

impl ConnFilter {
    /// Whether it has no condition, so that every connection matches.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Which failures a request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureQuery {
    /// The code of the reason.
    pub reason: Option<String>,
    /// The endpoint's name.
    pub endpoint: Option<String>,
    /// The route's name, or ENDPOINT/NAME.
    pub route: Option<String>,
    /// The origin's name.
    pub origin: Option<String>,
    /// A network that has the client's address.
    pub source: Option<IpNet>,
    /// The server name, or `*.` and what it ends with.
    pub sni: Option<String>,
    /// The identifier of one connection.
    pub id: Option<u64>,
    /// How many at most.
    pub limit: usize,
}

impl FailureQuery {
    /// All that are kept.
    pub const ALL: Self = Self {
        reason: None,
        endpoint: None,
        route: None,
        origin: None,
        source: None,
        sni: None,
        id: None,
        limit: usize::MAX,
    };
}
