//! The routes of an endpoint: what they match, how they serve, and whether each can be reached.

use std::collections::HashMap;
use std::sync::Arc;

use super::client_auth_terms::ClientAuthTerms;
use super::compiler::{Compiler, Files};
use super::context::EndpointContext;
use super::origins::is_made;
use super::serving::{self, RouteKind};
use crate::config::reader::problem::{Span, TOP, quoted, quoted_list};
use crate::config::reader::read::{Located, nearest};
use crate::config::spec::{self, Mode};
use crate::hostname::HostPattern;
use crate::route::{Match, RouteTable};
use crate::snapshot::{Route, Upstream};
use crate::tls::certificates::CertificateChoice;

/// A route that was compiled under a pattern, for comparison with later ones.
struct Seen<'a> {
    at: Span,
    spec: &'a spec::Route,
    when: Match,
}

/// The compiled routes by pattern; `None` is the key of those without a server name.
type SeenRoutes<'a> = HashMap<Option<HostPattern>, Vec<Seen<'a>>>;

impl Compiler<'_> {
    pub(super) fn routes(
        &mut self,
        context: &EndpointContext<'_>,
    ) -> Option<RouteTable<Arc<Route>>> {
        let mut table = RouteTable::default();
        let mut seen = SeenRoutes::new();
        let mut names = HashMap::new();
        let mut complete = true;
        for spec in context.endpoint.routes.iter() {
            if let Some(first) = names.insert(spec.name.as_str(), spec.name.at) {
                let message = format!(
                    "two routes of this endpoint are named {}",
                    quoted(spec.name.as_str())
                );
                self.problems
                    .error(spec.name.at, message)
                    .help("rename one of them, or join them: `match.sni` may be a list")
                    .also(first, "the first one");
            }
            complete &= self.route(context, spec, &mut table, &mut seen).is_some();
        }
        if let Some(default) = &context.endpoint.default_route {
            complete &= self.default_route(context, default, &mut table).is_some();
        }
        complete.then_some(table)
    }

    /// Adds one route to the table; `None` after errors were reported.
    fn route<'s>(
        &mut self,
        context: &EndpointContext<'s>,
        spec: &'s Located<spec::Route>,
        table: &mut RouteTable<Arc<Route>>,
        seen: &mut SeenRoutes<'s>,
    ) -> Option<()> {
        if let Some(file) = &spec.routes_file {
            return self.route_by_file(context, spec, file, table);
        }
        let fits = self.fits_protocol(context, spec);
        let upstream = self.route_upstream(context, spec);
        let has_labels = self.has_labels(context, spec);
        let when = self.route_match(&spec.matches);
        let patterns = self.patterns(context, spec);
        self.without_effect(context, spec);
        let places: Vec<_> = match &patterns {
            Some(patterns) => patterns
                .iter()
                .map(|(at, p)| (*at, Some(p.clone())))
                .collect(),
            None => Vec::new(),
        };
        let is_plain = context.endpoint.is_plain(spec);
        let places = if is_plain {
            vec![(spec.matches.at, None)]
        } else {
            places
        };
        for (at, pattern) in &places {
            self.reachable(context, *at, pattern.as_ref(), spec, when.as_ref()?, seen);
            self.covered(context, *at, pattern.as_ref(), spec);
        }
        let by_name = CertificateChoice::ByName(Arc::clone(&context.certificates.by_name));
        let mode = self.mode(context, spec, by_name);
        let sources = self.source_rules(context.endpoint, spec.sources.as_ref());
        let (patterns, when, upstream) = (patterns?, when?, upstream?);
        if !fits || !has_labels {
            return None;
        }
        let route = Arc::new(serving::route(
            context,
            spec,
            upstream,
            mode?,
            sources?,
            RouteKind::ByName,
        ));
        if is_plain {
            table.add_plain(when, route);
        } else {
            for (_, pattern) in patterns {
                table.add(pattern, when.clone(), Arc::clone(&route));
            }
        }
        Some(())
    }

    fn route_upstream(
        &mut self,
        context: &EndpointContext<'_>,
        spec: &spec::Route,
    ) -> Option<Arc<Upstream>> {
        let named = spec.upstream.as_ref()?;
        let name = named.as_str();
        // The upstream may be what was rejected.
        if self.problems.is_incomplete(self.spec.upstreams.at) || self.problems.is_incomplete(TOP) {
            return context.upstreams.get(name)?.clone();
        }
        if let Some(upstream) = context.upstreams.get(name) {
            return upstream.clone();
        }
        let known: Vec<_> = context.upstreams.keys().map(String::as_str).collect();
        self.unknown(named.at, "upstream", name, &known);
        None
    }

    /// Reports a route to addresses that are made of what a wildcard stood for, and that has names without
    /// one.
    fn has_labels(&mut self, context: &EndpointContext<'_>, spec: &Located<spec::Route>) -> bool {
        let name = spec.upstream_name().unwrap_or_default();
        let upstream = self.spec.upstreams.get(name);
        let mut origins = upstream.iter().flat_map(|upstream| upstream.origins.iter());
        let Some(made) = origins.find(|origin| is_made(origin)) else {
            return true;
        };
        let default = context.endpoint.default_route.as_ref();
        let default = default.filter(|default| default.route.as_str() == spec.name.as_str());
        let listed = spec.matches.sni.iter().flat_map(|sni| sni.iter());
        let mut exact = listed.filter(|name| matches!(name.value, HostPattern::Exact(_)));
        let (at, what) = match (default, exact.next()) {
            (Some(default), _) => (
                default.route.at,
                "the default route is for other names and for none",
            ),
            (None, Some(exact)) => (exact.at, "this name has no wildcard"),
            (None, None) if context.endpoint.is_plain(spec) => {
                (spec.name.at, "clients of this route send no name")
            }
            (None, None) => return true,
        };
        self.problems
            .error(
                at,
                format!(
                    "the origins of {} are made of what a wildcard stood for, and {what}",
                    quoted(name)
                ),
            )
            .help("match `*.NAME` or `**.NAME` alone, or lead to another upstream")
            .also(made.address.at, "the address with `{1}`");
        false
    }

    /// Reports a route that earlier routes make unreachable, and one whose client auth differs from that
    /// of a route that the client could choose instead.
    fn reachable<'s>(
        &mut self,
        context: &EndpointContext<'_>,
        at: Span,
        pattern: Option<&HostPattern>,
        spec: &'s spec::Route,
        when: &Match,
        seen: &mut SeenRoutes<'s>,
    ) {
        let above = seen.entry(pattern.cloned()).or_default();
        for other in above.iter() {
            let name = quoted(other.spec.name.as_str());
            if other.when == *when {
                self.problems
                    .error(at, format!("the route {name} above has the same match"))
                    .help("join them, or tell them apart by `alpn` or `source`")
                    .also(other.at, "the one above");
                break;
            }
            if other.when.includes(when) {
                self.problems
                    .error(
                        at,
                        format!(
                            "this route can never match: {name} above matches everything that it does"
                        ),
                    )
                    .help("put the narrower match first")
                    .also(other.at, "the one above");
                break;
            }
            if can_choose(&other.when, when) && differ(context.endpoint, other.spec, spec) {
                self.problems
                    .error(
                        at,
                        format!(
                            "this route and {name} differ in client auth, but a client can \
                        choose between them by ALPN"
                        ),
                    )
                    .help("use the same `client_auth`, or tell them apart by `source` alone")
                    .also(other.at, "the one above");
            }
        }
        above.push(Seen {
            at,
            spec,
            when: when.clone(),
        });
    }

    /// Warns about a terminating route whose server name no certificate covers.
    fn covered(
        &mut self,
        context: &EndpointContext<'_>,
        at: Span,
        pattern: Option<&HostPattern>,
        spec: &spec::Route,
    ) {
        let Some(pattern) = pattern.filter(|_| spec.mode.value.terminates_tls()) else {
            return;
        };
        let endpoint = context.endpoint;
        let is_given = endpoint.tls.given_in(endpoint);
        if !context.certificates.complete
            || self.files == Files::Skip
            || self.problems.is_incomplete(endpoint.at)
            || is_given && self.problems.is_incomplete(endpoint.tls.at)
            || context.certificates.by_name.cover(pattern)
        {
            return;
        }
        let pending = &context.certificates.pending;
        if context.certificates.all.is_empty() && pending.is_empty() {
            // One problem for all routes: the same message at the same place counts once.
            self.problems
                .error(
                    endpoint.tls.certificates.at,
                    "this endpoint has no certificate, but a route of it terminates TLS",
                )
                .help("list one under its `tls`: `certificates: [{ cert: FILE, key: FILE }]`");
            return;
        }
        let names: Vec<_> = context
            .certificates
            .all
            .iter()
            .flat_map(|c| &c.names)
            .chain(pending.iter().flat_map(|c| &c.names))
            .map(HostPattern::to_string)
            .collect();
        let help = format!(
            "the endpoint's certificates are for {}",
            quoted_list(names.iter().map(String::as_str))
        );
        self.problems
            .error(
                at,
                format!("no certificate of this endpoint covers `{pattern}`"),
            )
            .help(help);
    }

    /// Reports an unknown name. The message omits the name itself, which may be the value of a
    /// variable.
    pub(super) fn unknown(&mut self, at: Span, what: &str, name: &str, known: &[&str]) {
        let help = match nearest(name, known.iter().copied()) {
            Some(nearest) => format!("did you mean {}?", quoted(nearest)),
            None => format!("there is {}", quoted_list(known.iter().copied())),
        };
        self.problems
            .error(at, format!("there is no {what} of this name"))
            .help(help);
    }

    /// The default route, for absent and unknown server names, with its own certificate.
    fn default_route(
        &mut self,
        context: &EndpointContext<'_>,
        default: &Located<spec::DefaultRoute>,
        table: &mut RouteTable<Arc<Route>>,
    ) -> Option<()> {
        let name = default.route.as_str();
        let routes = &context.endpoint.routes;
        let Some(spec) = routes.iter().find(|route| route.name.as_str() == name) else {
            let known: Vec<_> = routes.iter().map(|route| route.name.as_str()).collect();
            self.unknown(default.route.at, "route", name, &known);
            return None;
        };
        if context.endpoint.is_not_tls(spec) {
            self.problems
                .error(
                    default.route.at,
                    "this is the route of `not_tls`, and the default route is for clients with TLS",
                )
                .help("name a route for TLS, or leave `default_route` out");
            return None;
        }
        let Some(upstream) = spec.upstream_name() else {
            self.problems
                .error(
                    default.route.at,
                    "this route has a `routes_file`, which has nothing for clients without a name",
                )
                .help("name a route with an `upstream`");
            return None;
        };
        let certificate = match spec.mode.value {
            Mode::Terminate | Mode::Reencrypt => self.default_certificate(context, default)?,
            _ => CertificateChoice::ByName(Arc::clone(&context.certificates.by_name)),
        };
        let when = self.route_match(&spec.matches)?;
        let upstream = context.upstreams.get(upstream)?.clone()?;
        let mode = self.mode(context, spec, certificate)?;
        let sources = self.source_rules(context.endpoint, spec.sources.as_ref())?;
        let kind = RouteKind::ByDefault;
        let route = serving::route(context, spec, upstream, mode, sources, kind);
        table.add_default(when, Arc::new(route));
        Some(())
    }
}

/// Whether two routes that terminate TLS differ in client auth.
fn differ(endpoint: &spec::Endpoint, a: &spec::Route, b: &spec::Route) -> bool {
    a.mode.value.terminates_tls()
        && b.mode.value.terminates_tls()
        && ClientAuthTerms::of(endpoint, a) != ClientAuthTerms::of(endpoint, b)
}

/// Whether a client could reach either of two routes through its ALPN offer.
fn can_choose(a: &Match, b: &Match) -> bool {
    let meet = a.sources.meets(&b.sources);
    meet && !(a.alpn.is_empty() && b.alpn.is_empty())
}
