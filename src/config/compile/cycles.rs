//! Lint for origins that are endpoints of this process: a connection to one would loop and multiply
//! until resources run out.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::endpoints::same_path;
use crate::config::reader::address::OriginAddress;
use crate::config::reader::listen::Listen;
use crate::config::reader::problem::{Problems, Span, quoted};
use crate::config::spec::{Endpoint, Spec, Upstream};

/// Reports every origin that leads back to its own endpoint. Of host names only `localhost` is
/// resolved.
pub(super) fn find(spec: &Spec, problems: &mut Problems) {
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        for (at, next) in successors(spec, endpoint) {
            if reaches(spec, next, index) {
                problems
                    .error(
                        at,
                        format!(
                            "this origin leads back to the endpoint {}",
                            quoted(endpoint.name.as_str())
                        ),
                    )
                    .help("connections would loop; give the address of the real origin");
            }
        }
    }
}

/// Whether an upstream leads back to the endpoint at `index`.
pub(super) fn leads_back(spec: &Spec, index: usize, upstream: &Upstream) -> bool {
    let mut next = endpoints_at(spec, upstream);
    next.any(|(_, next)| reaches(spec, next, index))
}

fn reaches(spec: &Spec, from: usize, goal: usize) -> bool {
    let mut seen = HashSet::new();
    let mut open = vec![from];
    while let Some(index) = open.pop() {
        if index == goal {
            return true;
        }
        if seen.insert(index)
            && let Some(endpoint) = spec.endpoints.get(index)
        {
            open.extend(successors(spec, endpoint).map(|(_, next)| next));
        }
    }
    false
}

/// The endpoints that an endpoint's origins lead to, each with the span of the origin.
fn successors<'a>(
    spec: &'a Spec,
    endpoint: &'a Endpoint,
) -> impl Iterator<Item = (Span, usize)> + 'a {
    // Of files, what was read is compared line by line.
    endpoint
        .routes
        .iter()
        .filter_map(|route| spec.upstreams.get(route.upstream_name()?))
        .flat_map(|upstream| endpoints_at(spec, upstream))
}

/// The endpoints that the origins of an upstream are, or the proxy before them, each with the span of the
/// origin or proxy.
fn endpoints_at<'a>(
    spec: &'a Spec,
    upstream: &'a Upstream,
) -> impl Iterator<Item = (Span, usize)> + 'a {
    let origins = upstream.origins.iter();
    let origins = origins.map(|origin| (origin.address.at, origin.address.value.clone()));
    let proxy = upstream.tls.negotiate.proxy();
    let proxy = proxy.map(|proxy| (proxy.proxy.at, OriginAddress::Ip(proxy.proxy.0)));
    origins.chain(proxy).flat_map(move |(at, address)| {
        let leads_to = move |index: usize, how: fn(&Listen, &OriginAddress) -> bool| {
            let endpoint = spec.endpoints.get(index);
            let mut listens = endpoint.into_iter().flat_map(|e| e.listen.iter());
            listens.any(|listen| how(&listen.value, &address))
        };
        let all = 0..spec.endpoints.len();
        // The kernel prefers a socket at the very address to one at every address.
        let is_exact = all.clone().any(|index| leads_to(index, is_exactly));
        let how = if is_exact { is_exactly } else { is_same };
        all.filter(move |index| leads_to(*index, how))
            .map(move |index| (at, index))
    })
}

/// Whether an endpoint listens at the very address of an origin.
fn is_exactly(listen: &Listen, origin: &OriginAddress) -> bool {
    match (listen, origin) {
        (Listen::Ip(address), OriginAddress::Ip(origin)) => {
            !address.ip().is_unspecified() && is_same(listen, &OriginAddress::Ip(*origin))
        }
        (Listen::Unix(_), _) => is_same(listen, origin),
        _ => false,
    }
}

fn is_same(listen: &Listen, origin: &OriginAddress) -> bool {
    match (listen, origin) {
        (Listen::Unix(listen), OriginAddress::Unix(path)) => same_path(&listen.unix, path),
        (Listen::Any(port), _) => port_of(origin) == Some(*port) && is_here(origin),
        (Listen::Ip(address), _) if address.port() != port_of(origin).unwrap_or(0) => false,
        (Listen::Ip(address), OriginAddress::Ip(origin)) => same_host(*address, *origin),
        (Listen::Ip(address), OriginAddress::Host { .. }) => {
            is_here(origin) && (address.ip().is_loopback() || address.ip().is_unspecified())
        }
        _ => false,
    }
}

fn same_host(listen: SocketAddr, origin: SocketAddr) -> bool {
    let (listen, origin) = (listen.ip().to_canonical(), origin.ip().to_canonical());
    // A connection to the unspecified address reaches loopback.
    let origin = match origin {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        origin => origin,
    };
    // `[::]` is bound for IPv6 alone; `*` is for both.
    let is_for_all = listen.is_unspecified() && listen.is_ipv4() == origin.is_ipv4();
    listen == origin || (is_for_all && origin.is_loopback())
}

fn port_of(origin: &OriginAddress) -> Option<u16> {
    match origin {
        OriginAddress::Ip(address) => Some(address.port()),
        OriginAddress::Host { port, .. } | OriginAddress::Made { port, .. } => Some(*port),
        OriginAddress::Srv(_) | OriginAddress::Unix(_) => None,
    }
}

/// Whether an origin is certainly this machine.
fn is_here(origin: &OriginAddress) -> bool {
    match origin {
        OriginAddress::Ip(address) => {
            let ip = address.ip().to_canonical();
            ip.is_loopback() || ip.is_unspecified()
        }
        OriginAddress::Host { host, .. } => host.eq_ignore_ascii_case("localhost"),
        // What a made name resolves to is compared when it is dialled.
        OriginAddress::Srv(_) | OriginAddress::Made { .. } => false,
        OriginAddress::Unix(_) => true,
    }
}
