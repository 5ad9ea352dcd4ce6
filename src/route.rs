//! Selects the route of a connection. Pure.
//!
//! The most specific pattern that has any route owns a name: exact, then the wildcard of one left-most
//! label, then the default. The owner's routes are tried in file order; the first whose match holds
//! wins. If none holds, there is no route: less specific patterns are not tried.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::hostname::{HostName, HostPattern, HostTable};

/// The conditions of a route besides the server name. Keys are ANDed, values ORed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// The client must offer one of these protocols; empty means any.
    pub alpn: Vec<Vec<u8>>,
    /// The client's address must be in one of these; empty means any.
    pub sources: Vec<IpNet>,
}

/// The facts by which a connection is routed.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The normalised server name, if there is one.
    pub name: Option<&'a HostName>,
    /// The application protocols that the client offers.
    pub alpn: &'a [Vec<u8>],
    /// The client's address; absent for a unix peer, which is in no network.
    pub source: Option<IpAddr>,
}

impl Match {
    /// Whether a query meets all conditions.
    pub fn holds(&self, query: &Query<'_>) -> bool {
        self.is_offered(query) && self.is_from(query)
    }

    /// Whether the client offers one of the protocols.
    pub fn is_offered(&self, query: &Query<'_>) -> bool {
        self.alpn.is_empty() || self.alpn.iter().any(|p| query.alpn.contains(p))
    }

    /// Whether the client is in one of the networks.
    pub fn is_from(&self, query: &Query<'_>) -> bool {
        self.sources.is_empty()
            || query.source.is_some_and(|ip| {
                let ip = ip.to_canonical();
                self.sources.iter().any(|net| net.contains(&ip))
            })
    }

    /// Whether every query that meets `other` meets this one, too.
    pub fn includes(&self, other: &Self) -> bool {
        let alpn = self.alpn.is_empty()
            || (!other.alpn.is_empty() && other.alpn.iter().all(|p| self.alpn.contains(p)));
        let sources = self.sources.is_empty()
            || (!other.sources.is_empty()
                && other
                    .sources
                    .iter()
                    .all(|net| self.sources.iter().any(|own| own.contains(net))));
        alpn && sources
    }
}

/// Why no route was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrouted {
    /// There is no name, and no default route.
    NoName,
    /// No pattern owns the name, and there is no default route.
    UnknownName,
    /// The owner has routes, but no match holds.
    NoMatch,
}

/// The routes of one endpoint.
#[derive(Debug)]
pub struct RouteTable<T> {
    owners: HostTable<Vec<(Match, T)>>,
    default: Vec<(Match, T)>,
}

impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        Self {
            owners: HostTable::default(),
            default: Vec::new(),
        }
    }
}

impl<T> RouteTable<T> {
    /// Appends a route to those of `pattern`.
    pub fn add(&mut self, pattern: HostPattern, when: Match, route: T) {
        self.owners.entry(pattern).push((when, route));
    }

    /// Appends a default route.
    pub fn add_default(&mut self, when: Match, route: T) {
        self.default.push((when, route));
    }

    /// Every route, in arbitrary order, once for each of its patterns.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let owned = self.owners.values().flatten();
        owned.chain(&self.default).map(|(_, route)| route)
    }

    /// The routes that are tried for a name, in order: those of its owner, else the default ones.
    pub fn candidates(&self, name: Option<&HostName>) -> &[(Match, T)] {
        name.and_then(|name| self.owners.owner(name))
            .map_or(&self.default, |owned| owned)
    }

    /// The route of a query.
    pub fn choose(&self, query: &Query<'_>) -> Result<&T, Unrouted> {
        let owned = query.name.and_then(|name| self.owners.owner(name));
        let candidates = match owned {
            Some(routes) => routes,
            None if !self.default.is_empty() => &self.default,
            None if query.name.is_some() => return Err(Unrouted::UnknownName),
            None => return Err(Unrouted::NoName),
        };
        candidates
            .iter()
            .find(|(when, _)| when.holds(query))
            .map(|(_, route)| route)
            .ok_or(Unrouted::NoMatch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> RouteTable<&'static str> {
        let mut table = RouteTable::default();
        let h2 = Match {
            alpn: vec![b"h2".to_vec()],
            ..Match::default()
        };
        let lan = Match {
            sources: vec!["10.0.0.0/8".parse().unwrap()],
            ..Match::default()
        };
        table.add(HostPattern::parse("a.test").unwrap(), h2, "a over h2");
        table.add(HostPattern::parse("a.test").unwrap(), lan, "a from lan");
        table.add(
            HostPattern::parse("*.test").unwrap(),
            Match::default(),
            "wildcard",
        );
        table
    }

    fn choose<'a>(
        table: &'a RouteTable<&'static str>,
        name: &str,
        alpn: &[&str],
        source: &str,
    ) -> Result<&'a &'static str, Unrouted> {
        let name = HostName::from_wire(name).ok();
        let alpn: Vec<_> = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        table.choose(&Query {
            name: name.as_ref(),
            alpn: &alpn,
            source: source.parse().ok(),
        })
    }

    #[test]
    fn file_order_decides_within_one_name() {
        let table = table();
        assert_eq!(
            choose(&table, "a.test", &["h2"], "10.1.1.1"),
            Ok(&"a over h2")
        );
        assert_eq!(
            choose(&table, "a.test", &["http/1.1"], "10.1.1.1"),
            Ok(&"a from lan")
        );
    }

    #[test]
    fn an_owner_without_a_match_never_falls_to_a_wider_pattern_or_the_default() {
        let mut table = table();
        table.add_default(Match::default(), "default");
        assert_eq!(
            choose(&table, "a.test", &[], "192.0.2.1"),
            Err(Unrouted::NoMatch)
        );
        assert_eq!(choose(&table, "b.test", &[], "192.0.2.1"), Ok(&"wildcard"));
        assert_eq!(
            choose(&table, "b.example", &[], "192.0.2.1"),
            Ok(&"default")
        );
        assert_eq!(choose(&table, "", &[], "192.0.2.1"), Ok(&"default"));
    }

    #[test]
    fn without_a_default_route_absent_and_unknown_names_are_distinguished() {
        assert_eq!(
            choose(&table(), "", &[], "192.0.2.1"),
            Err(Unrouted::NoName)
        );
        assert_eq!(
            choose(&table(), "b.example", &[], "192.0.2.1"),
            Err(Unrouted::UnknownName)
        );
    }

    #[test]
    fn an_ipv4_mapped_address_is_in_ipv4_networks() {
        assert_eq!(
            choose(&table(), "a.test", &[], "::ffff:10.1.1.1"),
            Ok(&"a from lan")
        );
    }

    #[test]
    fn a_wider_match_includes_a_narrower_one() {
        let net = |n: &str| Match {
            sources: vec![n.parse().unwrap()],
            ..Match::default()
        };
        assert!(net("10.0.0.0/8").includes(&net("10.1.0.0/16")));
        assert!(!net("10.1.0.0/16").includes(&net("10.0.0.0/8")));
        assert!(Match::default().includes(&net("10.0.0.0/8")));
        assert!(!net("10.0.0.0/8").includes(&Match::default()));
    }
}
