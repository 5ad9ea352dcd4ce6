//! Upstreams: how routes use them, and their connection policy.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::compiler::Compiler;
use super::context::Upstreams;
use super::health::{checks_use_tls, connect, health, passable, passive};
use super::names_by_file::RoutesFiles;
use super::negotiate::negotiate;
use super::negotiated::Negotiated;
use super::reuse::unchanged;
use crate::config::reader::address::OriginAddress;
use crate::config::reader::problem::{Span, quoted};
use crate::config::reader::read::Located;
use crate::config::spec::{self, Mode};
use crate::negotiate::Tunnel;
use crate::snapshot::Upstream;
use crate::transport::TcpOptions;
use crate::upstream::UpstreamDefinition;

/// How routes use an upstream: the span of the first route of each kind.
#[derive(Clone, Copy, Default)]
pub(super) struct Uses {
    terminate: Option<Span>,
    forward: Option<Span>,
    passthrough: Option<Span>,
    tls_origins: Option<Span>,
}

impl Uses {
    const fn is_empty(self) -> bool {
        self.terminate.is_none()
            && self.forward.is_none()
            && self.passthrough.is_none()
            && self.tls_origins.is_none()
    }

    /// One more route leads to it.
    fn add(&mut self, route: &spec::Route) {
        let at = route.leads_at();
        match route.mode.value {
            Mode::Terminate => self.terminate.get_or_insert(at),
            Mode::Forward => self.forward.get_or_insert(at),
            Mode::Passthrough => self.passthrough.get_or_insert(at),
            Mode::Reencrypt | Mode::Originate => self.tls_origins.get_or_insert(at),
        };
    }

    /// The span of a route that sends plaintext to origins that another route sends TLS to. Passthrough
    /// counts as TLS; forward carries unknown bytes and conflicts only with TLS of our own.
    fn conflict(self) -> Option<Span> {
        let ours = self.terminate.or(self.forward).zip(self.tls_origins);
        let theirs = self.terminate.zip(self.passthrough);
        ours.or(theirs)
            .map(|(plain, tls_origins)| plain.max(tls_origins))
    }
}

impl Compiler<'_> {
    pub(super) fn upstreams(&mut self) -> Upstreams {
        let (spec, files) = (self.spec, Rc::clone(&self.routes_files));
        let uses = uses(spec, &files);
        // A file may name it later.
        let has_files = spec.endpoints.iter().any(|endpoint| {
            let mut routes = endpoint.routes.iter();
            routes.any(|route| route.routes_file.is_some())
        });
        let mut upstreams = HashMap::new();
        for (name, upstream) in &spec.upstreams.0 {
            let uses = uses.get(name.as_str()).copied().unwrap_or_default();
            // Where a route names an upstream that is not there, this one may be meant.
            let is_misnamed = || {
                spec.endpoints
                    .iter()
                    .flat_map(|endpoint| endpoint.routes.iter())
                    .filter_map(|route| route.upstream_name())
                    .any(|name| spec.upstreams.get(name).is_none())
            };
            if uses.is_empty() && !has_files && !is_misnamed() {
                self.problems.warning(
                    name.at,
                    format!("no route uses the upstream {}", quoted(name.as_str())),
                );
            }
            if let Some(at) = uses.conflict() {
                let message = format!(
                    "the upstream {} is used both with and without TLS",
                    quoted(name.as_str())
                );
                self.problems
                    .error(at, message)
                    .help("its origins speak either TLS or not: make two upstreams, one for each");
            }
            let compiled = self.upstream(name.as_str(), upstream, uses);
            upstreams.insert(name.as_str().to_owned(), compiled.map(Arc::new));
        }
        upstreams
    }

    fn upstream(
        &mut self,
        name: &str,
        spec: &Located<spec::Upstream>,
        uses: Uses,
    ) -> Option<Upstream> {
        if spec.origins.is_empty() {
            self.problems
                .error(spec.origins.at, "an upstream needs at least one origin");
        }
        passable(spec, self.problems);
        let tls_origins = uses.tls_origins.is_some();
        let tls_checks = checks_use_tls(spec, tls_origins, uses.passthrough.is_some());
        let begins = &spec.tls.negotiate;
        let is_asked = begins.protocol().is_some() || begins.proxy().is_some();
        let is_asked = uses.passthrough.is_some() && is_asked;
        if !tls_origins && !tls_checks && !is_asked && !uses.is_empty() {
            self.without_effect_plain(spec);
        }
        let send_proxy_protocol = self.send_proxy_protocol(&spec.send_proxy_protocol);
        let origins = self.origins(spec, tls_origins || tls_checks);
        let tls = if tls_origins || tls_checks {
            Some(self.connector(name, &spec.tls))
        } else {
            None
        };
        let tunnel = self.tunnel(spec);
        let definition = UpstreamDefinition {
            name: name.into(),
            origins: origins?,
            balance: spec.balance.value,
            slow_start: spec.slow_start.get().map(|time| time.0),
            outlier: passive(spec),
            on_gone: spec.resolve.on_gone.value,
            made_of: None,
            connect: connect(spec),
            tcp: TcpOptions {
                nodelay: spec.tcp.nodelay.value,
                keepalive: self.keepalive(&spec.tcp.keepalive),
                user_timeout: spec.tcp.user_timeout.get().map(|d| d.0),
                send_buffer: spec.tcp.send_buffer.get().map(|size| size.0),
                receive_buffer: spec.tcp.receive_buffer.get().map(|size| size.0),
            },
        };
        let tls = match tls {
            Some(side) => Some(side?),
            None => None,
        };
        let check_tls = tls.as_deref().filter(|_| tls_checks);
        let negotiated = match check_tls {
            Some(_) => {
                let files = Rc::clone(&self.routes_files);
                Negotiated::with(self.spec, |route| {
                    files.upstreams(route).any(|led| led == name)
                })
            }
            None => Negotiated::default(),
        };
        let tunnel = tunnel?;
        let health = health(spec, check_tls, &negotiated, &definition, tunnel.as_ref());
        let running = self.parts.upstream(name);
        let running_health = running.and_then(|running| running.health.as_ref());
        Some(Upstream {
            health: health.map(|health| unchanged(health, running_health)),
            definition: unchanged(definition, running.map(|running| &running.definition)),
            tls: tls.filter(|_| tls_origins),
            negotiate: negotiate(spec.tls.negotiate.protocol()),
            tunnel,
            send_proxy_protocol,
            on_truncation: spec.tls.on_truncation.value,
        })
    }

    /// The proxy before the origins; the outer `None` follows errors that were reported.
    fn tunnel(&mut self, spec: &spec::Upstream) -> Option<Option<Tunnel>> {
        let Some(proxy) = spec.tls.negotiate.proxy() else {
            return Some(None);
        };
        for origin in spec.origins.iter() {
            let why = match &origin.address.value {
                OriginAddress::Unix(_) => "an HTTP proxy connects to no unix socket",
                // The proxy resolves the name, so that what it resolves to cannot be judged.
                OriginAddress::Made { .. } => {
                    "an HTTP proxy would resolve names that clients choose, with no bounds of `loopback`"
                }
                OriginAddress::Ip(_) | OriginAddress::Host { .. } | OriginAddress::Srv(_) => {
                    continue;
                }
            };
            self.problems
                .error(origin.address.at, why)
                .also(spec.tls.negotiate.at, "the proxy");
        }
        let authorization = match &proxy.authorization_file {
            Some(file) => Some(self.authorization(file)?),
            None => None,
        };
        Some(Some(Tunnel {
            proxy: proxy.proxy.0,
            authorization,
        }))
    }

    /// Warns about TLS settings that no route applies.
    fn without_effect_plain(&mut self, spec: &spec::Upstream) {
        let help = "use the mode `reencrypt` (or `originate`) to speak TLS to the origins";
        if let Some(at) = spec.tls.first_given() {
            let message =
                "`tls` has no effect: no route to this upstream speaks TLS to its origins";
            self.problems.warning(at, message).help(help);
        }
        for name in spec
            .origins
            .iter()
            .filter_map(|origin| origin.server_name.as_ref())
        {
            let message =
                "`server_name` has no effect: no route to this upstream speaks TLS to its origins";
            self.problems.warning(name.at, message).help(help);
        }
    }
}

/// Whether a route cannot lead to an upstream that is used so already: either all of them speak TLS to its
/// origins or none.
pub(super) fn conflicts(uses: Uses, route: &spec::Route) -> bool {
    let mut uses = uses;
    uses.add(route);
    uses.conflict().is_some()
}

/// How each upstream is used; absent if no route leads to it.
pub(super) fn uses<'a>(spec: &'a spec::Spec, files: &'a RoutesFiles) -> HashMap<&'a str, Uses> {
    let mut uses: HashMap<&str, Uses> = HashMap::new();
    for route in spec
        .endpoints
        .iter()
        .flat_map(|endpoint| endpoint.routes.iter())
    {
        for name in files.upstreams(route) {
            uses.entry(name).or_default().add(route);
        }
    }
    uses
}
