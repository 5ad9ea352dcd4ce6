//! Security lints across policies: origins that can be reached past their client auth, and certificates
//! under which browsers may coalesce connections of different routes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::client_auth_terms::ClientAuthTerms;
use super::compiler::Compiler;
use super::context::EndpointContext;
use super::matches::source_match;
use super::names_by_file::RoutesFiles;
use crate::config::reader::listen::Listen;
use crate::config::reader::problem::{Problems, Span, quoted};
use crate::config::reader::read::Located;
use crate::config::spec::{self, Acknowledged, Check, Mode, Preset};
use crate::snapshot::Protocol;

/// A route to an origin, with the client auth on it.
struct RouteToOrigin<'a> {
    route: &'a Located<spec::Route>,
    terms: Option<ClientAuthTerms<'a>>,
}

/// Warns about origins that several routes reach with different client auth: a client that one route
/// rejects may use the other. Reseal cannot see which host a request is for.
pub(super) fn origins(spec: &spec::Spec, files: &RoutesFiles, problems: &mut Problems) {
    let mut by_origin: BTreeMap<String, Vec<RouteToOrigin<'_>>> = BTreeMap::new();
    for endpoint in spec.endpoints.iter().filter(|e| !is_local_only(e)) {
        for route in endpoint.routes.iter() {
            let upstreams = files.upstreams(route);
            let upstreams = upstreams.filter_map(|name| spec.upstreams.get(name));
            for origin in upstreams.flat_map(|upstream| upstream.origins.iter()) {
                by_origin
                    .entry(origin.address.value.to_string())
                    .or_default()
                    .push(RouteToOrigin {
                        route,
                        terms: ClientAuthTerms::of(endpoint, route),
                    });
            }
        }
    }
    let mut reported = Vec::new();
    for (address, by_origin) in &by_origin {
        let Some(strict) = by_origin.iter().find(|route| route.terms.is_some()) else {
            continue;
        };
        let other = |route: &&RouteToOrigin<'_>| {
            route.terms != strict.terms
                && !apart(route.route, strict.route)
                && !route.route.acknowledges(Acknowledged::SharedOrigin)
        };
        for lax in by_origin.iter().filter(other) {
            let pair = (strict.route.at, lax.route.at);
            if reported.contains(&pair) {
                continue;
            }
            reported.push(pair);
            problems
                .warning(
                    lax.route.at,
                    format!(
                        "this route leads to {}, which the route {} protects with different `client_auth`",
                        quoted(address),
                        quoted(strict.route.name.as_str())
                    ),
                )
                .help("use the same `client_auth` on both, or separate origins; if this is intended, write \
                    `acknowledge: shared_origin` on this route");
        }
    }
}

/// Whether an endpoint serves only programs on this machine.
fn is_local_only(endpoint: &spec::Endpoint) -> bool {
    let is_local = |listen: &Located<Listen>| match &listen.value {
        Listen::Ip(address) => address.ip().to_canonical().is_loopback(),
        Listen::Unix(_) => true,
        Listen::Any(_) | Listen::Systemd(_) => false,
    };
    endpoint.protocol.value == Protocol::Tcp && endpoint.listen.iter().all(is_local)
}

/// Warns about routes to Vault that hide the client certificate: Vault's certificate login would see
/// that of Reseal. Skipped if another route passes TLS through to it, which shows that the author knows.
pub(super) fn vaults(spec: &spec::Spec, problems: &mut Problems) {
    let passes = |endpoint: &&Located<spec::Endpoint>| {
        let mut routes = endpoint.routes.iter();
        routes.any(|route| route.mode.value == Mode::Passthrough)
    };
    for endpoint in spec.endpoints.iter().filter(|endpoint| !passes(endpoint)) {
        for route in endpoint.routes.iter() {
            let requests_certificate = ClientAuthTerms::of(endpoint, route).is_some();
            let upstream = route.upstream_name();
            let upstream = upstream.and_then(|name| spec.upstreams.get(name));
            let health = upstream.and_then(|upstream| upstream.health.as_ref());
            let check = health.and_then(|health| health.check.as_ref());
            let is_vault = check.is_some_and(|check| match &check.value {
                Check::Preset(preset) => matches!(preset, Preset::VaultActive | Preset::VaultAny),
                Check::Tcp | Check::Tls | Check::Http(_) => false,
            });
            if requests_certificate && is_vault && route.mode.value == Mode::Reencrypt {
                problems
                    .notice(
                        route.at,
                        "on this route, Vault's certificate login sees Reseal's certificate instead of the \
                         client's",
                    )
                    .help("route clients that log in by certificate by `mode: passthrough`, on a listener \
                        of its own");
            }
        }
    }
}

/// Whether no client can reach both routes: a client cannot choose its address.
fn apart(one: &spec::Route, other: &spec::Route) -> bool {
    !source_match(&one.matches).meets(&source_match(&other.matches))
}

/// Routes of one endpoint with one upstream and one policy on clients.
struct Group<'a> {
    upstream: &'a str,
    terms: Option<ClientAuthTerms<'a>>,
    /// Each with its place in the file.
    routes: Vec<(usize, &'a Located<spec::Route>)>,
}

/// So many warnings of one kind say enough.
const WARNINGS_MAX: usize = 200;

impl Compiler<'_> {
    /// Warns about routes that browsers may mix up: with HTTP/2 they send requests for every name of a
    /// certificate on one connection (RFC 9113 section 9.1.1).
    pub(super) fn coalescing(&mut self, context: &EndpointContext<'_>) {
        let routes = context.endpoint.routes.iter();
        let routes = routes.filter(|route| {
            route.mode.value.terminates_tls()
                && route.may_negotiate(&context.endpoint.tls.alpn, "h2")
        });
        // By certificate, the routes so far that it is presented on, in groups that may be mixed up.
        let mut presented: HashMap<usize, Vec<Group<'_>>> = HashMap::new();
        let mut warnings = 0;
        for (n, route) in routes.enumerate() {
            let terms = ClientAuthTerms::of(context.endpoint, route);
            let own = route
                .server_names()
                .flat_map(|pattern| context.certificates.by_name.overlapping(pattern))
                .filter_map(|certificate| context.certificates.by_name.place(certificate));
            let own: BTreeSet<_> = own.collect();
            // The first certificate that each of the others shares with this one.
            let mut shared = BTreeMap::new();
            for certificate in own {
                let groups = presented.entry(certificate).or_default();
                let is_own = |group: &Group<'_>| {
                    Some(group.upstream) == route.upstream_name() && group.terms == terms
                };
                for (m, other) in groups
                    .iter()
                    .filter(|group| !is_own(group))
                    .flat_map(|g| &g.routes)
                {
                    shared.entry(*m).or_insert((*other, certificate));
                }
                match groups.iter_mut().find(|group| is_own(group)) {
                    Some(group) => group.routes.push((n, route)),
                    None => groups.push(Group {
                        upstream: route.upstream_name().unwrap_or_default(),
                        terms,
                        routes: vec![(n, route)],
                    }),
                }
            }
            for (other, certificate) in shared.into_values() {
                if warnings < WARNINGS_MAX
                    && !apart(route, other)
                    && !route.acknowledges(Acknowledged::Coalescing)
                    && let Some(certificate) = context.certificates.all.get(certificate)
                {
                    warnings += 1;
                    self.warn_coalescing(route.at, other, &certificate.name);
                }
            }
        }
    }

    fn warn_coalescing(&mut self, at: Span, other: &spec::Route, certificate: &str) {
        let message = format!(
            "browsers that speak h2 to the route {} may send it requests for this one: the certificate {} \
             is for both",
            quoted(other.name.as_str()),
            quoted(certificate)
        );
        self.problems.warning(at, message).help(
            "give each a certificate of its own, or leave h2 out of `alpn`; \
                 if the origin compares names, write `acknowledge: coalescing` on this route",
        );
    }
}
