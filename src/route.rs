//! Selects the route of a connection. Pure.
//!
//! The most specific pattern that has any route owns a name: exact, then the wildcard of one left-most
//! label, then the default. The owner's routes are tried in file order; the first whose match holds
//! wins. If none holds, there is no route: less specific patterns are not tried. Clients without TLS have
//! routes of their own.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::hostname::{HostName, HostPattern, HostTable};

/// The conditions of a route besides the server name. Keys are ANDed, values ORed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// The client must offer one of these protocols; empty means any.
    pub alpn: Vec<Vec<u8>>,
    /// Where the client's address must be.
    pub sources: SourceMatch,
}

/// A condition on the client's address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceMatch {
    /// The address must be in one of these; empty means any.
    pub within: Vec<IpNet>,
    /// It must be in none of these.
    pub not: Vec<IpNet>,
}

impl SourceMatch {
    /// Whether every address meets it.
    pub fn is_any(&self) -> bool {
        self.within.is_empty() && self.not.is_empty()
    }

    /// Whether an address meets it. A unix peer, which has none, is in no network.
    pub fn holds(&self, address: Option<IpAddr>) -> bool {
        let address = address.map(|ip| ip.to_canonical());
        let is_in = |net: &IpNet| address.is_some_and(|ip| net.contains(&ip));
        (self.within.is_empty() || self.within.iter().any(is_in)) && !self.not.iter().any(is_in)
    }

    /// Whether no address can meet it: each of its networks is excluded.
    pub fn is_impossible(&self) -> bool {
        let excluded = |net: &IpNet| self.not.iter().any(|not| not.contains(net));
        self.networks().iter().all(excluded)
    }

    /// Whether every address that meets `other` meets this one, too. `false` if that is not certain.
    fn includes(&self, other: &Self) -> bool {
        let holds = |net: &IpNet| self.within.iter().any(|own| own.contains(net));
        let within =
            self.within.is_empty() || (!other.within.is_empty() && other.within.iter().all(holds));
        // What this one excludes, the other must exclude, or not have at all.
        let never_in_other = |not: &IpNet| {
            other.not.iter().any(|others| others.contains(not))
                || (!other.within.is_empty()
                    && other.within.iter().all(|net| overlap(net, not).is_none()))
        };
        within && self.not.iter().all(never_in_other)
    }

    /// Whether an address can meet both. `true` if that is not certain.
    pub fn meets(&self, other: &Self) -> bool {
        // A unix peer meets both.
        if self.within.is_empty() && other.within.is_empty() {
            return true;
        }
        let excluded = |net: &IpNet| {
            let mut excluded = self.not.iter().chain(&other.not);
            excluded.any(|not| not.contains(net))
        };
        let others = other.networks();
        self.networks().iter().any(|own| {
            let mut shared = others.iter().filter_map(|net| overlap(own, net));
            shared.any(|net| !excluded(&net))
        })
    }

    /// The networks in which an address has to be.
    fn networks(&self) -> Vec<IpNet> {
        if self.within.is_empty() {
            return vec![Ipv4Net::default().into(), Ipv6Net::default().into()];
        }
        self.within.clone()
    }
}

/// The addresses that two networks share: those of the narrower one, or none.
fn overlap(a: &IpNet, b: &IpNet) -> Option<IpNet> {
    match (a.contains(b), b.contains(a)) {
        (true, _) => Some(*b),
        (_, true) => Some(*a),
        _ => None,
    }
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
    /// Whether the client speaks TLS with us. One that does not has neither a name nor protocols.
    pub speaks_tls: bool,
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
        self.sources.holds(query.source)
    }

    /// Whether every query that meets `other` meets this one, too.
    pub fn includes(&self, other: &Self) -> bool {
        let alpn = self.alpn.is_empty()
            || (!other.alpn.is_empty() && other.alpn.iter().all(|p| self.alpn.contains(p)));
        alpn && self.sources.includes(&other.sources)
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
    plain: Vec<(Match, T)>,
    files: Vec<FileRoutes<T>>,
}

/// The routes of names that a file has: for each name the number of one.
#[derive(Debug)]
struct FileRoutes<T> {
    names: Arc<HostTable<u32>>,
    routes: Vec<(Match, T)>,
}

impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        Self {
            owners: HostTable::default(),
            default: Vec::new(),
            plain: Vec::new(),
            files: Vec::new(),
        }
    }
}

impl<T> RouteTable<T> {
    /// Appends the routes of a file, by their numbers. Of equal patterns, that of [`RouteTable::add`] owns a
    /// name, then that of the first file.
    pub fn add_file(&mut self, names: Arc<HostTable<u32>>, routes: Vec<(Match, T)>) {
        self.files.push(FileRoutes { names, routes });
    }

    /// Appends a route to those of `pattern`.
    pub fn add(&mut self, pattern: HostPattern, when: Match, route: T) {
        self.owners.entry(pattern).push((when, route));
    }

    /// The names of each file, and its routes by their numbers.
    pub fn files(&self) -> impl Iterator<Item = (&Arc<HostTable<u32>>, impl Iterator<Item = &T>)> {
        let files = self.files.iter();
        files.map(|file| (&file.names, file.routes.iter().map(|(_, route)| route)))
    }

    /// Appends a default route.
    pub fn add_default(&mut self, when: Match, route: T) {
        self.default.push((when, route));
    }

    /// Appends a route for clients that do not speak TLS.
    pub fn add_plain(&mut self, when: Match, route: T) {
        self.plain.push((when, route));
    }

    /// Every route, in arbitrary order, once for each of its patterns.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let owned = self.owners.values().flatten();
        let others = self.default.iter().chain(&self.plain);
        let of_files = self.files.iter().flat_map(|file| &file.routes);
        let all = owned.chain(others).chain(of_files);
        all.map(|(_, route)| route)
    }

    /// The routes that are tried for a query, in order: those of the owner of its name, else the default
    /// ones; without TLS, those for that.
    pub fn candidates(&self, query: &Query<'_>) -> &[(Match, T)] {
        if !query.speaks_tls {
            return &self.plain;
        }
        let owned = query.name.and_then(|name| self.owned(name));
        owned.unwrap_or(&self.default)
    }

    /// The pattern that owns a name.
    pub fn owning_pattern(&self, name: &HostName) -> Option<HostPattern> {
        let of_files = self.files.iter();
        let of_files = of_files.filter_map(|file| file.names.owning_pattern(name));
        let all = self.owners.owning_pattern(name).into_iter().chain(of_files);
        all.reduce(|best, next| match next.specificity() > best.specificity() {
            true => next,
            false => best,
        })
    }

    /// The routes of the owner of a name.
    fn owned(&self, name: &HostName) -> Option<&[(Match, T)]> {
        if self.files.is_empty() {
            return self.owners.owner(name).map(Vec::as_slice);
        }
        let owner = self.owning_pattern(name)?;
        if let Some(routes) = self.owners.get(&owner) {
            return Some(routes);
        }
        self.files.iter().find_map(|file| {
            let number = usize::try_from(*file.names.get(&owner)?).ok()?;
            file.routes.get(number).map(std::slice::from_ref)
        })
    }

    /// The route of a query.
    pub fn choose(&self, query: &Query<'_>) -> Result<&T, Unrouted> {
        let owned = query.name.and_then(|name| self.owned(name));
        let candidates = match owned {
            _ if !query.speaks_tls => &*self.plain,
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
