//! Where two policies meet that look apart: an origin that is reached past its client auth, and a
//! certificate under which browsers send one host's requests down another's connection.

use std::collections::BTreeMap;

use super::Compiler;
use super::routes::EndpointContext;
use crate::config::reader::address::Listen;
use crate::config::reader::generic::OneOrMany;
use crate::config::reader::problem::{Problems, Span, quoted};
use crate::config::reader::read::Located;
use crate::config::reader::values::Path;
use crate::config::spec::balancing::Check;
use crate::config::spec::{
    self, AtExpiry, ClientAuthMode, ClientProtocol, CrlDoubt, CrlScope, Mode, Recheck, Rule,
};
use crate::hostname::HostPattern;
use crate::tls::certificates::Certificate;

/// A route on its way to an origin, with the demands that are made on that way.
struct Way<'a> {
    route: &'a Located<spec::Route>,
    demands: Option<Demands<'a>>,
}

/// What of a route's client auth decides who comes in, and who may stay.
#[derive(PartialEq, Eq)]
pub(super) struct Demands<'a> {
    mode: ClientAuthMode,
    ca: Option<&'a OneOrMany<Path>>,
    crl: Option<&'a OneOrMany<Path>>,
    crl_scope: CrlScope,
    crl_unknown: CrlDoubt,
    crl_expired: CrlDoubt,
    allow: Option<&'a OneOrMany<Rule>>,
    recheck: Recheck,
    at_expiry: AtExpiry,
}

impl<'a> Demands<'a> {
    /// Those of a route; none where it does not open TLS, or lets everybody in.
    pub(super) fn of(endpoint: &'a spec::Endpoint, route: &'a spec::Route) -> Option<Self> {
        let endpoints = &endpoint.tls.client_auth;
        let auth = &route.client_auth.as_ref().unwrap_or(endpoints).value;
        let asks = opens_tls(route) && auth.mode.value != ClientAuthMode::Off;
        asks.then(|| Self {
            mode: auth.mode.value,
            ca: auth.ca.as_ref().map(|ca| &ca.value),
            crl: auth.crl.as_ref().map(|crl| &crl.value),
            crl_scope: auth.crl_scope.value,
            crl_unknown: auth.crl_unknown.value,
            crl_expired: auth.crl_expired.value,
            allow: auth.allow.as_ref().map(|allow| &allow.value),
            recheck: auth.recheck.value,
            at_expiry: auth.at_expiry.value,
        })
    }
}

/// Tells of origins that several routes lead to with different client auth: whoever one route
/// refuses may come in by the other. Reseal cannot see which host a request is for.
pub(super) fn origins(spec: &spec::Spec, problems: &mut Problems) {
    let mut ways: BTreeMap<String, Vec<Way<'_>>> = BTreeMap::new();
    for endpoint in spec.endpoints.iter().filter(|e| !is_way_out(e)) {
        for route in endpoint.routes.iter() {
            let upstream = spec
                .upstreams
                .0
                .iter()
                .find(|(name, _)| name.as_str() == route.upstream.as_str());
            for origin in upstream
                .iter()
                .flat_map(|(_, upstream)| upstream.origins.iter())
            {
                ways.entry(origin.address.value.to_string())
                    .or_default()
                    .push(Way {
                        route,
                        demands: Demands::of(endpoint, route),
                    });
            }
        }
    }
    let mut told = Vec::new();
    for (address, ways) in &ways {
        let Some(strict) = ways.iter().find(|way| way.demands.is_some()) else {
            continue;
        };
        let other =
            |way: &&Way<'_>| way.demands != strict.demands && !apart(way.route, strict.route);
        for lax in ways.iter().filter(other) {
            let pair = (strict.route.at, lax.route.at);
            if told.contains(&pair) {
                continue;
            }
            told.push(pair);
            problems
                .warning(
                    lax.route.at,
                    format!(
                        "this route reaches {}, which the route {} guards by other client certificates",
                        quoted(address),
                        quoted(strict.route.name.as_str())
                    ),
                )
                .help("demand the same `client_auth` of both, or give each an origin of its own");
        }
    }
}

/// Whether an endpoint is a way out for programs of this machine alone: nobody comes in by it.
fn is_way_out(endpoint: &spec::Endpoint) -> bool {
    let is_local = |listen: &Located<Listen>| match &listen.value {
        Listen::Ip(address) => address.ip().to_canonical().is_loopback(),
        Listen::Unix(_) => true,
        Listen::Any(_) | Listen::Systemd(_) => false,
    };
    endpoint.protocol.value == ClientProtocol::Tcp && endpoint.listen.iter().all(is_local)
}

/// Tells of routes that hide from Vault who its client is: its certificate login would see ours. Where
/// a name beside them is passed through, somebody has thought of it.
pub(super) fn vaults(spec: &spec::Spec, problems: &mut Problems) {
    let passes = |endpoint: &&Located<spec::Endpoint>| {
        let mut routes = endpoint.routes.iter();
        routes.any(|route| route.mode.value == Mode::Passthrough)
    };
    for endpoint in spec.endpoints.iter().filter(|endpoint| !passes(endpoint)) {
        for route in endpoint.routes.iter() {
            let demands = Demands::of(endpoint, route).is_some();
            let upstream = spec.upstreams.get(route.upstream.as_str());
            let health = upstream.and_then(|upstream| upstream.health.as_ref());
            let check = health.and_then(|health| health.check.as_ref());
            let is_vault = check.is_some_and(|check| matches!(check.value, Check::Preset(_)));
            if demands && is_vault && route.mode.value == Mode::Reencrypt {
                problems
                    .warning(
                        route.at,
                        "Vault's login by certificate sees Reseal's certificate here, not the client's",
                    )
                    .help("route clients that log in by certificate by `mode: passthrough`, on a listener of its own");
            }
        }
    }
}

/// Whether no client can reach both: nobody chooses where he comes from.
fn apart(one: &spec::Route, other: &spec::Route) -> bool {
    let (Some(one), Some(other)) = (&one.matches.source, &other.matches.source) else {
        return false;
    };
    one.iter().all(|a| {
        other.iter().all(|b| {
            let (a, b) = (a.value.0, b.value.0);
            !a.contains(&b) && !b.contains(&a)
        })
    })
}

pub(super) const fn opens_tls(route: &spec::Route) -> bool {
    matches!(route.mode.value, Mode::Terminate | Mode::Reencrypt)
}

impl Compiler<'_> {
    /// Tells of routes that browsers may mix up: with HTTP/2 they send requests for every name of a
    /// certificate down one connection (RFC 9113 section 9.1.1).
    pub(super) fn coalescing(&mut self, context: &EndpointContext<'_>) {
        let routes: Vec<_> = context
            .endpoint
            .routes
            .iter()
            .filter(|route| opens_tls(route) && speaks(context.endpoint, route, "h2"))
            .map(|route| (route, patterns(route)))
            .collect();
        for (n, (route, own)) in routes.iter().enumerate() {
            for (other, others) in routes.iter().take(n) {
                let same = route.upstream == other.upstream
                    && Demands::of(context.endpoint, route) == Demands::of(context.endpoint, other);
                if same || apart(route, other) {
                    continue;
                }
                let shared =
                    context.store.all.iter().find(|certificate| {
                        serves(certificate, own) && serves(certificate, others)
                    });
                if let Some(certificate) = shared {
                    self.mixed_up(route.at, other, &certificate.name);
                }
            }
        }
    }

    fn mixed_up(&mut self, at: Span, other: &spec::Route, certificate: &str) {
        let message = format!(
            "browsers that speak h2 to the route {} may send it requests for this one: the certificate {} is for both",
            quoted(other.name.as_str()),
            quoted(certificate)
        );
        self.problems
            .warning(at, message)
            .help("give each a certificate of its own, or leave h2 out of `alpn`");
    }
}

/// Whether a client may choose this protocol of ALPN on a route.
pub(super) fn speaks(endpoint: &spec::Endpoint, route: &spec::Route, protocol: &str) -> bool {
    let alpn = route.alpn.as_ref().unwrap_or(&endpoint.tls.alpn);
    alpn.iter().any(|item| item.value.0 == protocol)
}

fn patterns(route: &spec::Route) -> Vec<HostPattern> {
    let sni = route.matches.sni.iter().flat_map(|list| list.iter());
    sni.filter_map(|name| HostPattern::parse(&name.value.0).ok())
        .collect()
}

fn serves(certificate: &Certificate, patterns: &[HostPattern]) -> bool {
    let names = &certificate.names;
    names
        .iter()
        .any(|name| patterns.iter().any(|pattern| name.overlaps(pattern)))
}
