//! What a route matches, and which keys its mode excludes.

use ipnet::{IpNet, Ipv4Net};

use super::compiler::Compiler;
use super::context::EndpointContext;
use super::wire::protocols;
use crate::config::reader::problem::Span;
use crate::config::reader::read::Located;
use crate::config::spec::{self, ClientAuthMode, Mode};
use crate::hostname::HostPattern;
use crate::route::{Match, SourceMatch};
use crate::snapshot::Protocol;

impl Compiler<'_> {
    pub(super) fn fits_protocol(
        &mut self,
        context: &EndpointContext<'_>,
        spec: &spec::Route,
    ) -> bool {
        let mode = spec.mode.value;
        if context.endpoint.protocol.value != Protocol::Tcp && spec.delay.is_any() {
            self.problems
                .error(
                    spec.delay.at,
                    "`delay` is for tests of applications, and an endpoint with TLS has real clients",
                )
                .help(
                    "leave it out, or give the tests an endpoint with `protocol: tcp` before this one \
                     (`reseal forward --delay` is one)",
                );
        }
        let plain = matches!(mode, Mode::Forward | Mode::Originate);
        let is_not_tls = context.endpoint.is_not_tls(spec);
        let (protocol, help) = match context.endpoint.protocol.value {
            Protocol::Any if is_not_tls && mode != Mode::Forward => {
                self.problems
                    .error(
                        spec.mode.at,
                        format!("the route of `not_tls` has the mode `{mode}`, and its clients speak no TLS"),
                    )
                    .help("use `forward`");
                return false;
            }
            // That none is named, or one that is not there, is a problem of its own.
            Protocol::Any if plain && !context.endpoint.has_not_tls() => return false,
            Protocol::Any if plain && !is_not_tls => (
                "any",
                "only the route that `not_tls` names has the mode `forward`; the others are for TLS",
            ),
            Protocol::Tls if plain => (
                "tls",
                "use `passthrough`, `terminate` or `reencrypt`, or set `protocol: tcp` on the endpoint",
            ),
            Protocol::Tcp if !plain => (
                "tcp",
                "use `forward` or `originate`, or set `protocol: tls` on the endpoint",
            ),
            _ => return true,
        };
        let message = format!("the mode `{mode}` does not go with `protocol: {protocol}`");
        self.problems.error(spec.mode.at, message).help(help);
        false
    }

    pub(super) fn route_match(&mut self, spec: &spec::Match) -> Option<Match> {
        let mut complete = true;
        for (at, what) in [
            spec.alpn
                .as_ref()
                .filter(|list| list.is_empty())
                .map(|list| (list.at, "alpn")),
            spec.source
                .as_ref()
                .filter(|list| list.is_empty())
                .map(|list| (list.at, "source")),
            spec.sni
                .as_ref()
                .filter(|list| list.is_empty())
                .map(|list| (list.at, "sni")),
        ]
        .into_iter()
        .flatten()
        {
            self.problems
                .error(at, format!("an empty `{what}` matches nothing"))
                .help("leave it out to match everything");
            complete = false;
        }
        let lists = spec.source.iter().flat_map(|list| list.iter());
        for excluded in lists.filter_map(|item| item.map()) {
            if excluded.not.is_empty() {
                self.problems
                    .error(excluded.not.at, "an empty `not` excludes nothing")
                    .help("leave it out");
                complete = false;
            }
        }
        let when = Match {
            alpn: spec
                .alpn
                .as_ref()
                .map(|list| protocols(list))
                .unwrap_or_default(),
            sources: source_match(spec),
        };
        if let Some(source) = spec.source.as_ref().filter(|_| complete)
            && when.sources.is_impossible()
        {
            self.problems
                .error(
                    source.at,
                    "this route can never match: its `not` excludes every address",
                )
                .help("name the networks that match beside it");
            complete = false;
        }
        complete.then_some(when)
    }

    /// The server names that lead to a route; `None` after errors were reported.
    pub(super) fn patterns(
        &mut self,
        context: &EndpointContext<'_>,
        spec: &Located<spec::Route>,
    ) -> Option<Vec<(Span, HostPattern)>> {
        let matches = &spec.matches;
        if context.endpoint.is_not_tls(spec) && !context.endpoint.has_not_tls() {
            // Its mode is the problem.
            return Some(Vec::new());
        }
        if context.endpoint.is_plain(spec) {
            let place = match context.endpoint.protocol.value {
                Protocol::Tcp => "an endpoint with `protocol: tcp`",
                Protocol::Tls | Protocol::Any => "the route of `not_tls`",
            };
            for (at, what) in [
                matches.sni.as_ref().map(|sni| (sni.at, "sni")),
                matches.alpn.as_ref().map(|alpn| (alpn.at, "alpn")),
            ]
            .into_iter()
            .flatten()
            {
                self.problems.error(
                    at,
                    format!("`match.{what}` on {place}, where clients send none"),
                );
            }
            return Some(Vec::new());
        }
        let plain = matches!(spec.mode.value, Mode::Forward | Mode::Originate);
        let Some(sni) = &matches.sni else {
            let is_default = context
                .endpoint
                .default_route
                .as_ref()
                .is_some_and(|default| default.route.as_str() == spec.name.as_str());
            if is_default {
                return Some(Vec::new());
            }
            // The name may be under the key that was rejected.
            if plain
                || self.problems.is_incomplete(spec.at)
                || self.problems.is_incomplete(matches.at)
            {
                return None;
            }
            self.problems
                .error(
                    spec.name.at,
                    "this route matches no server name, so no client can reach it",
                )
                .help("add `match: { sni: [NAME] }`, or make it the endpoint's `default_route`");
            return None;
        };
        let patterns = sni.iter().map(|name| (name.at, name.value.clone()));
        Some(patterns.collect())
    }

    /// Reports keys that have no effect with the mode of the route.
    pub(super) fn without_effect(&mut self, context: &EndpointContext<'_>, spec: &spec::Route) {
        let mode = spec.mode.value;
        if matches!(mode, Mode::Terminate | Mode::Reencrypt) {
            return self.alpn_without_effect(context, spec);
        }
        let inherited = &context.endpoint.tls.client_auth;
        match &spec.client_auth {
            Some(auth) if auth.mode.value != ClientAuthMode::Off => {
                self.problems
                    .error(auth.at, format!("`client_auth` on a route with the mode `{mode}`, which cannot \
                        see certificates"))
                    .help("use the mode `terminate` or `reencrypt`, or let the origin check certificates");
            }
            None if inherited.mode.value != ClientAuthMode::Off => {
                self.problems
                    .error(spec.mode.at, format!("the endpoint's `client_auth` cannot be applied to a route \
                        with the mode `{mode}`"))
                    .help("if its origin checks client certificates, add `client_auth: { mode: off }` to \
                        this route");
            }
            _ => {}
        }
        if let Some(alpn) = &spec.alpn {
            self.problems
                .error(
                    alpn.at,
                    format!("`alpn` on a route with the mode `{mode}`, which negotiates no ALPN"),
                )
                .help("to choose by what a client offers, use `match: { alpn: [..] }`");
        }
    }

    /// Warns about a route that matches by ALPN and then negotiates none.
    fn alpn_without_effect(&mut self, context: &EndpointContext<'_>, spec: &spec::Route) {
        let negotiates = !spec
            .alpn
            .as_ref()
            .unwrap_or(&context.endpoint.tls.alpn)
            .is_empty();
        if let Some(alpn) = spec.matches.alpn.as_ref().filter(|_| !negotiates) {
            self.problems
                .warning(
                    alpn.at,
                    "the route matches by ALPN, but accepts none of the protocols",
                )
                .help("add `alpn` to the route or to the endpoint's `tls`");
        }
    }
}

/// The condition of a route on the client's address.
pub(super) fn source_match(spec: &spec::Match) -> SourceMatch {
    let list = || spec.source.iter().flat_map(|list| list.iter());
    let within = list().filter_map(|item| item.cidr());
    let not = list().filter_map(|item| item.map());
    let not = not.flat_map(|excluded| excluded.not.iter());
    SourceMatch {
        within: within.map(|net| canonical(net.0)).collect(),
        not: not.map(|net| canonical(net.value.0)).collect(),
    }
}

/// A network of IPv4-mapped IPv6 addresses becomes the IPv4 network: clients are compared in that form.
pub(super) fn canonical(net: IpNet) -> IpNet {
    if let IpNet::V6(v6) = net
        && let Some(v4) = v6.network().to_ipv4_mapped()
        && let Some(prefix) = v6.prefix_len().checked_sub(96)
        && let Ok(v4) = Ipv4Net::new(v4, prefix)
    {
        return IpNet::V4(v4);
    }
    net
}
