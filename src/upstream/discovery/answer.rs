//! What is asked of the resolver, and what it answers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::upstream) enum Query {
    /// The addresses of a host; the ports of the records are 0.
    Host(Arc<str>),
    /// The hosts and ports of a service, and their addresses.
    Srv(Arc<str>),
}

/// One address that a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) struct Record {
    pub(in crate::upstream) address: SocketAddr,
    /// Lower ones are used first (RFC 2782); 0 for a host.
    pub(in crate::upstream) priority: u16,
    /// At least 1.
    pub(in crate::upstream) weight: u16,
}

/// An answer, and how long it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::upstream) struct Answer {
    pub(in crate::upstream) found: Vec<Record>,
    pub(in crate::upstream) ttl: Duration,
    /// The families whose addresses it says nothing about.
    pub(in crate::upstream) unanswered: Families,
}

/// Some of the two families of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::upstream) struct Families {
    pub(in crate::upstream) v4: bool,
    pub(in crate::upstream) v6: bool,
}

impl Families {
    /// Whether the family of an address is among them.
    pub(in crate::upstream) const fn have(self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        }
    }

    /// Those of both.
    pub(in crate::upstream) const fn and(self, other: Self) -> Self {
        Self {
            v4: self.v4 || other.v4,
            v6: self.v6 || other.v6,
        }
    }
}

/// What is known of a name.
#[derive(Clone, Debug, Default)]
pub(in crate::upstream) struct Resolved {
    /// The last good answer, with what has only just left it.
    pub(in crate::upstream) found: Arc<[Record]>,
    /// Why the last query had no good answer.
    pub(in crate::upstream) error: Option<Arc<str>>,
}
