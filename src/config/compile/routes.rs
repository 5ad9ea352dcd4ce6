//! The routes of an endpoint: what they match, how they carry, and whether each can be reached.

use std::collections::HashMap;
use std::sync::Arc;

use super::certificates::Store;
use super::upstreams::{Upstreams, on_truncation};
use super::{Compiler, Files};
use crate::config::problem::{Span, quoted, quoted_list};
use crate::config::read::{Located, nearest};
use crate::config::shapes::OneOrMany;
use crate::config::spec::{self, ClientAuthMode, ClientProtocol, Mode};
use crate::config::values;
use crate::name::Pattern;
use crate::route::{Match, RouteTable};
use crate::snapshot::{self, Route, Upstream};
use crate::tls::Versions;
use crate::tls::certificates::CertificateChoice;
use crate::tls::client_auth::{ClientAuth, ClientAuthority};
use crate::tls::server_side::{ServerPolicy, ServerSide};

/// What a route is compiled within.
pub(super) struct Around<'a> {
    pub(super) endpoint: &'a Located<spec::Endpoint>,
    pub(super) upstreams: &'a Upstreams,
    pub(super) store: &'a Store,
    pub(super) versions: Versions,
}

/// A route that was seen under a pattern, for those that come after it.
struct Seen<'a> {
    spec: &'a spec::Route,
    when: Match,
}

/// The routes so far, by pattern; `None` is the place of those without a name.
type SeenRoutes<'a> = HashMap<Option<Pattern>, Vec<Seen<'a>>>;

impl Compiler<'_> {
    pub(super) fn routes(&mut self, around: &Around<'_>) -> Option<RouteTable<Arc<Route>>> {
        let mut table = RouteTable::default();
        let mut seen = SeenRoutes::new();
        let mut names = HashMap::new();
        let mut complete = true;
        for spec in around.endpoint.routes.iter() {
            if names.insert(spec.name.as_str(), ()).is_some() {
                let message = format!(
                    "two routes of this endpoint are called {}",
                    quoted(spec.name.as_str())
                );
                self.problems.error(spec.name.at, message);
            }
            complete &= self.route(around, spec, &mut table, &mut seen).is_some();
        }
        if let Some(default) = &around.endpoint.default_route {
            complete &= self.default_route(around, default, &mut table).is_some();
        }
        complete.then_some(table)
    }

    /// Adds one route to the table; `None` after its problems were told.
    fn route<'s>(
        &mut self,
        around: &Around<'s>,
        spec: &'s Located<spec::Route>,
        table: &mut RouteTable<Arc<Route>>,
        seen: &mut SeenRoutes<'s>,
    ) -> Option<()> {
        let fits = self.fits_protocol(around, spec);
        let upstream = self.route_upstream(around, spec);
        let when = self.route_match(&spec.matches);
        let patterns = self.patterns(around, spec);
        self.without_effect(spec);
        let places: Vec<_> = match &patterns {
            Some(patterns) => patterns
                .iter()
                .map(|(at, p)| (*at, Some(p.clone())))
                .collect(),
            None => Vec::new(),
        };
        let tcp = around.endpoint.protocol.value == ClientProtocol::Tcp;
        let places = if tcp {
            vec![(spec.matches.at, None)]
        } else {
            places
        };
        for (at, pattern) in &places {
            self.reachable(*at, pattern.as_ref(), spec, when.as_ref()?, seen);
            self.covered(around, *at, pattern.as_ref(), spec);
        }
        let policy = self.server_policy(around, spec);
        let (patterns, when, upstream) = (patterns?, when?, upstream?);
        if !fits || (patterns.is_empty() && !tcp) {
            return fits.then_some(());
        }
        let choice = CertificateChoice::ByName(Arc::clone(&around.store.by_name));
        let route = Arc::new(self.assemble(around, spec, upstream, policy?, choice)?);
        if tcp {
            table.add_default(when, route);
        } else {
            for (_, pattern) in patterns {
                table.add(pattern, when.clone(), Arc::clone(&route));
            }
        }
        Some(())
    }

    fn fits_protocol(&mut self, around: &Around<'_>, spec: &spec::Route) -> bool {
        let mode = spec.mode.value;
        let plain = matches!(mode, Mode::Forward | Mode::Originate);
        let (protocol, help) = match around.endpoint.protocol.value {
            ClientProtocol::Tls if plain => (
                "tls",
                "use `passthrough`, `terminate` or `reencrypt`, or set `protocol: tcp` on the endpoint",
            ),
            ClientProtocol::Tcp if !plain => (
                "tcp",
                "use `forward` or `originate`, or set `protocol: tls` on the endpoint",
            ),
            _ => return true,
        };
        let message = format!("the mode `{mode}` does not go with `protocol: {protocol}`");
        self.problems.error(spec.mode.at, message).help(help);
        false
    }

    fn route_upstream(&mut self, around: &Around<'_>, spec: &spec::Route) -> Option<Arc<Upstream>> {
        let name = spec.upstream.as_str();
        if let Some(upstream) = around.upstreams.get(name) {
            return upstream.clone();
        }
        let known = || around.upstreams.keys().map(String::as_str);
        let help = match nearest(name, known()) {
            Some(nearest) => format!("did you mean {}?", quoted(nearest)),
            None => format!("`upstreams` has {}", quoted_list(known())),
        };
        self.problems
            .error(
                spec.upstream.at,
                format!("there is no upstream {}", quoted(name)),
            )
            .help(help);
        None
    }

    fn route_match(&mut self, spec: &spec::Match) -> Option<Match> {
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
        let when = Match {
            alpn: spec
                .alpn
                .as_ref()
                .map(|list| protocols(list))
                .unwrap_or_default(),
            sources: spec
                .source
                .as_ref()
                .map(|list| list.iter().map(|net| net.value.0).collect())
                .unwrap_or_default(),
        };
        complete.then_some(when)
    }

    /// The names that lead to a route; `None` after their problems were told.
    fn patterns(
        &mut self,
        around: &Around<'_>,
        spec: &Located<spec::Route>,
    ) -> Option<Vec<(Span, Pattern)>> {
        let matches = &spec.matches;
        if around.endpoint.protocol.value == ClientProtocol::Tcp {
            for (at, what) in [
                matches.sni.as_ref().map(|sni| (sni.at, "sni")),
                matches.alpn.as_ref().map(|alpn| (alpn.at, "alpn")),
            ]
            .into_iter()
            .flatten()
            {
                self.problems
                    .error(at, format!("`match.{what}` on an endpoint with `protocol: tcp`, where clients send none"));
            }
            return Some(Vec::new());
        }
        let Some(sni) = &matches.sni else {
            let is_default = around
                .endpoint
                .default_route
                .as_ref()
                .is_some_and(|default| default.route.as_str() == spec.name.as_str());
            if is_default {
                return Some(Vec::new());
            }
            self.problems
                .error(
                    spec.name.at,
                    "this route matches no server name, so no client can reach it",
                )
                .help("add `match: { sni: [NAME] }`, or make it the endpoint's `default_route`");
            return None;
        };
        let found: Vec<_> = sni
            .iter()
            .map(|name| self.pattern(name).map(|pattern| (name.at, pattern)))
            .collect();
        found.into_iter().collect()
    }

    /// Keys of a route that its mode makes meaningless.
    fn without_effect(&mut self, spec: &spec::Route) {
        if matches!(spec.mode.value, Mode::Terminate | Mode::Reencrypt) {
            return;
        }
        let mode = spec.mode.value;
        if let Some(auth) = &spec.client_auth {
            self.problems
                .error(auth.at, format!("`client_auth` on a route with the mode `{mode}`, which cannot see certificates"))
                .help("use the mode `terminate` or `reencrypt`, or leave the check to the origin");
        }
        if let Some(alpn) = &spec.alpn {
            self.problems
                .error(
                    alpn.at,
                    format!("`alpn` on a route with the mode `{mode}`, which negotiates nothing"),
                )
                .help("to choose by what a client offers, use `match: { alpn: [..] }`");
        }
    }

    /// Tells of a route that the ones above it leave nothing to, and of one whose demands a client
    /// could choose among.
    fn reachable<'s>(
        &mut self,
        at: Span,
        pattern: Option<&Pattern>,
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
                    .help("join them, or tell them apart by `alpn` or `source`");
                break;
            }
            if other.when.includes(when) {
                self.problems
                    .error(
                        at,
                        format!(
                            "this route can never be reached here: {name} above takes all of it"
                        ),
                    )
                    .help("put the narrower match first");
                break;
            }
            if other.when.sources == when.sources && is_laxer_choice(other.spec, spec) {
                self.problems
                    .error(at, format!("this route and {name} differ in client auth, but only ALPN tells them apart"))
                    .help("a client chooses what it offers, and so could choose the laxer one: use the same `client_auth`");
            }
        }
        above.push(Seen {
            spec,
            when: when.clone(),
        });
    }

    /// Tells of a terminating route whose name has no certificate.
    fn covered(
        &mut self,
        around: &Around<'_>,
        at: Span,
        pattern: Option<&Pattern>,
        spec: &spec::Route,
    ) {
        let terminates = matches!(spec.mode.value, Mode::Terminate | Mode::Reencrypt);
        let Some(pattern) = pattern.filter(|_| terminates) else {
            return;
        };
        if !around.store.complete
            || self.files == Files::Skip
            || around.store.by_name.cover(pattern)
        {
            return;
        }
        let names: Vec<_> = around
            .store
            .all
            .iter()
            .flat_map(|c| &c.names)
            .map(Pattern::to_string)
            .collect();
        let help = if names.is_empty() {
            "add one under the endpoint's `tls.certificates`".to_owned()
        } else {
            format!(
                "the endpoint's certificates are for {}",
                quoted_list(names.iter().map(String::as_str))
            )
        };
        self.problems
            .error(
                at,
                format!("no certificate of this endpoint covers `{pattern}`"),
            )
            .help(help);
    }

    /// The route for absent and unknown names: a route of its own, with its own certificate.
    fn default_route(
        &mut self,
        around: &Around<'_>,
        default: &Located<spec::DefaultRoute>,
        table: &mut RouteTable<Arc<Route>>,
    ) -> Option<()> {
        let name = default.route.as_str();
        let routes = &around.endpoint.routes;
        let Some(spec) = routes.iter().find(|route| route.name.as_str() == name) else {
            let known = || routes.iter().map(|route| route.name.as_str());
            let help = match nearest(name, known()) {
                Some(nearest) => format!("did you mean {}?", quoted(nearest)),
                None => format!("the endpoint has {}", quoted_list(known())),
            };
            self.problems
                .error(
                    default.route.at,
                    format!("there is no route {}", quoted(name)),
                )
                .help(help);
            return None;
        };
        let choice = match spec.mode.value {
            Mode::Terminate | Mode::Reencrypt => Some(self.default_certificate(around, default)?),
            _ => None,
        };
        let when = self.route_match(&spec.matches)?;
        let upstream = around.upstreams.get(spec.upstream.as_str())?.clone()?;
        let policy = self.server_policy(around, spec)?;
        let choice =
            choice.unwrap_or_else(|| CertificateChoice::ByName(Arc::clone(&around.store.by_name)));
        let route = self.assemble(around, spec, upstream, policy, choice)?;
        table.add_default(when, Arc::new(route));
        Some(())
    }

    fn default_certificate(
        &mut self,
        around: &Around<'_>,
        default: &Located<spec::DefaultRoute>,
    ) -> Option<CertificateChoice> {
        let all = &around.store.all;
        let names = || quoted_list(all.iter().map(|c| c.name.as_str()));
        if !around.store.complete {
            return None;
        }
        let found = match (&default.certificate, all.as_slice()) {
            (Some(name), _) => all.iter().find(|c| c.name == name.as_str()),
            (None, [only]) => Some(only),
            (None, _) => {
                let help = format!(
                    "write {{ route: {}, certificate: NAME }}, with one of {}",
                    default.route.as_str(),
                    names()
                );
                self.problems
                    .error(
                        default.at,
                        "a terminating default route has to name its certificate",
                    )
                    .help(help);
                return None;
            }
        };
        if found.is_none() {
            let help = format!("the endpoint has {}", names());
            let at = default
                .certificate
                .as_ref()
                .map_or(default.at, |name| name.at);
            self.problems
                .error(at, "there is no certificate of this name")
                .help(help);
        }
        found.map(|certificate| CertificateChoice::Fixed(Arc::clone(certificate)))
    }

    /// The demands on a route's clients; absent for modes that make none.
    fn server_policy(&mut self, around: &Around<'_>, spec: &spec::Route) -> Option<Option<Policy>> {
        if !matches!(spec.mode.value, Mode::Terminate | Mode::Reencrypt) {
            return Some(None);
        }
        let tls = &around.endpoint.tls;
        let auth = spec.client_auth.as_ref().unwrap_or(&tls.client_auth);
        let alpn = spec.alpn.as_ref().unwrap_or(&tls.alpn);
        Some(Some(Policy {
            alpn: protocols(alpn),
            client_auth: self.client_auth(auth)?,
        }))
    }

    fn client_auth(&mut self, spec: &Located<spec::ClientAuth>) -> Option<ClientAuth> {
        let mode = spec.mode.value;
        let Some(ca) = &spec.ca else {
            if mode == ClientAuthMode::Off {
                return Some(ClientAuth::Off);
            }
            self.problems
                .error(spec.at, format!("`client_auth` with the mode `{mode}` needs `ca`: who signs client certificates?"))
                .help("add `ca: FILE`");
            return None;
        };
        if mode == ClientAuthMode::Off {
            self.problems
                .warning(ca.at, "`ca` has no effect: the mode is `off`")
                .help("set `mode: required` to demand a client certificate");
            return Some(ClientAuth::Off);
        }
        let authority = ClientAuthority {
            roots: self.bundle(ca.at, ca)?,
            send_ca_names: spec.send_ca_names.value,
        };
        Some(match mode {
            ClientAuthMode::Required => ClientAuth::Required(authority),
            _ => ClientAuth::Optional(authority),
        })
    }

    fn assemble(
        &mut self,
        around: &Around<'_>,
        spec: &Located<spec::Route>,
        upstream: Arc<Upstream>,
        policy: Option<Policy>,
        certificate: CertificateChoice,
    ) -> Option<Route> {
        let side = match policy {
            Some(policy) => Some(self.server_side(spec.at, around, policy, certificate)?),
            None => None,
        };
        let mode = match (spec.mode.value, side) {
            (Mode::Terminate, Some(side)) => snapshot::Mode::Terminate(side),
            (Mode::Reencrypt, Some(side)) => snapshot::Mode::Reencrypt(side),
            (Mode::Originate, _) => snapshot::Mode::Originate,
            (Mode::Forward, _) => snapshot::Mode::Forward,
            _ => snapshot::Mode::Passthrough,
        };
        let (own, general) = (&spec.timeouts, &around.endpoint.timeouts);
        let limit =
            |own: &Option<Located<_>>,
             general: &Located<crate::config::shapes::Limit<values::Duration>>| {
                own.as_ref()
                    .unwrap_or(general)
                    .get()
                    .map(|d: &values::Duration| d.0)
            };
        Some(Route {
            name: spec.name.as_str().into(),
            mode,
            upstream,
            client_timeout: own.client.as_ref().unwrap_or(&general.client).0,
            origin_timeout: own.origin.as_ref().unwrap_or(&general.origin).0,
            idle: limit(&own.idle, &general.idle),
            half_close: limit(&own.half_close, &general.half_close),
            lifetime: limit(&own.lifetime, &general.lifetime),
            on_truncation: on_truncation(around.endpoint.tls.on_truncation.value),
        })
    }

    fn server_side(
        &mut self,
        at: Span,
        around: &Around<'_>,
        policy: Policy,
        certificate: CertificateChoice,
    ) -> Option<ServerSide> {
        let policy = ServerPolicy {
            versions: around.versions,
            alpn: policy.alpn,
            client_auth: policy.client_auth,
            certificate,
        };
        match ServerSide::new(policy) {
            Ok(side) => Some(side),
            Err(error) => {
                self.problems
                    .error(at, format!("TLS on this route cannot be set up: {error}"));
                None
            }
        }
    }
}

/// What a terminating route demands, but for its certificate.
struct Policy {
    alpn: Vec<Vec<u8>>,
    client_auth: ClientAuth,
}

/// Whether two routes terminate with different client auth.
fn is_laxer_choice(a: &spec::Route, b: &spec::Route) -> bool {
    let terminates =
        |route: &spec::Route| matches!(route.mode.value, Mode::Terminate | Mode::Reencrypt);
    terminates(a) && terminates(b) && a.client_auth != b.client_auth
}

fn protocols(list: &OneOrMany<values::Protocol>) -> Vec<Vec<u8>> {
    list.iter()
        .map(|p| p.value.0.clone().into_bytes())
        .collect()
}
