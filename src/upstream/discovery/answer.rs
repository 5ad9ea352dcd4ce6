//! Queries for the resolver, and its answers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The kind of a query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::upstream) enum Query {
    /// The addresses of a host; the ports of the records are 0.
    Host(Arc<str>),
    /// The hosts and ports of a service, and their addresses.
    Srv(Arc<str>),
}

/// One address of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) struct Record {
    pub(in crate::upstream) address: SocketAddr,
    /// Records of a lower priority are used first (RFC 2782); 0 for a host.
    pub(in crate::upstream) priority: u16,
    /// At least 1.
    pub(in crate::upstream) weight: u16,
}

/// An answer and its lifetime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::upstream) struct Answer {
    pub(in crate::upstream) found: Vec<Record>,
    pub(in crate::upstream) ttl: Duration,
    /// The address families whose query failed.
    pub(in crate::upstream) unanswered: Families,
}

/// A set of address families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::upstream) struct Families {
    pub(in crate::upstream) v4: bool,
    pub(in crate::upstream) v6: bool,
}

impl Families {
    /// Whether it contains the family of this address.
    pub(in crate::upstream) const fn have(self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        }
    }

    /// The union of two sets.
    pub(in crate::upstream) const fn and(self, other: Self) -> Self {
        Self {
            v4: self.v4 || other.v4,
            v6: self.v6 || other.v6,
        }
    }
}

/// The result for a name.
#[derive(Clone, Debug, Default)]
pub(in crate::upstream) struct Resolved {
    /// The addresses of the last good answer, and those that left it only recently.
    pub(in crate::upstream) found: Arc<[Record]>,
    /// The reason why the last query failed, if it did.
    pub(in crate::upstream) error: Option<Arc<str>>,
}
