//! Endpoints: their listeners, and the settings that all of their routes share.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Component, Path};
use std::sync::Arc;
use std::time::Duration;

use super::compiler::Compiler;
use super::context::{EndpointCertificates, EndpointContext, Upstreams};
use super::limits;
use super::negotiate::negotiate;
use crate::config::reader::generic::{Limit, OneOrMany};
use crate::config::reader::listen;
use crate::config::reader::problem::quoted;
use crate::config::reader::read::{Leaf, Located};
use crate::config::reader::values;
use crate::config::spec::{self, ClientAuthMode, TlsVersion};
use crate::proxy_protocol::Accept;
use crate::route::RouteTable;
use crate::snapshot::{Endpoint, Listen, Protocol, Route, Sources};
use crate::tls::Versions;
use crate::transport::{KEEPALIVE_MAX, TcpOptions};

impl Compiler<'_> {
    pub(super) fn endpoints(&mut self, upstreams: &Upstreams) -> Option<Vec<Arc<Endpoint>>> {
        let spec = self.spec;
        let mut names = HashMap::new();
        let mut places = Vec::new();
        let mut endpoints = Vec::new();
        for endpoint in spec.endpoints.iter() {
            if let Some(first) = names.insert(endpoint.name.as_str(), endpoint.name.at) {
                let message = format!("two endpoints are named {}", quoted(endpoint.name.as_str()));
                self.problems
                    .error(endpoint.name.at, message)
                    .help("rename one of them, or join them: `listen` may be a list")
                    .also(first, "the first one");
            }
            self.places(endpoint, &mut places);
            endpoints.push(self.endpoint(endpoint, upstreams).map(Arc::new));
        }
        endpoints.into_iter().collect()
    }

    /// Reports listening addresses that are given twice. Port 0 is a different port each time. An address
    /// beside every address of the machine is no problem: the kernel prefers the more specific socket.
    fn places<'s>(
        &mut self,
        spec: &'s spec::Endpoint,
        places: &mut Vec<(&'s Located<listen::Listen>, &'s str)>,
    ) {
        if spec.listen.is_empty() {
            self.problems.error(
                spec.listen.at,
                "an endpoint needs at least one address to listen on",
            );
        }
        let metrics = self.spec.admin.metrics.as_ref();
        let metrics = metrics.map(|metrics| listen::Listen::Ip(metrics.0));
        for listen in spec.listen.iter() {
            if metrics
                .as_ref()
                .is_some_and(|metrics| overlap(metrics, listen))
            {
                self.problems
                    .error(listen.at, "`admin.metrics` already listens there");
            }
            let taken = places.iter().find(|(other, _)| is_same(other, listen));
            if let Some((other, endpoint)) = taken {
                let message = format!(
                    "the endpoint {} already listens on `{}`",
                    quoted(endpoint),
                    other.value
                );
                self.problems
                    .error(listen.at, message)
                    .help("leave one of them out")
                    .also(other.at, "the first one");
            }
            places.push((listen, spec.name.as_str()));
        }
    }

    fn endpoint(
        &mut self,
        spec: &Located<spec::Endpoint>,
        upstreams: &Upstreams,
    ) -> Option<Endpoint> {
        if self.is_tls_in_all_but_protocol(spec) {
            return None;
        }
        let certificates = self.certificates(spec);
        if spec.routes.is_empty() {
            self.problems
                .error(spec.routes.at, "an endpoint needs at least one route")
                .help(
                    "add one: `- { name: NAME, match: { sni: NAME }, mode: MODE, upstream: NAME }`",
                );
        }
        self.endpoint_tls(spec);
        self.any_protocol(spec);
        let context = EndpointContext {
            endpoint: spec,
            upstreams,
            certificates: &certificates,
            versions: self.versions(&spec.tls),
        };
        self.suites(&spec.tls);
        self.coalescing(&context);
        let routes = self.routes(&context);
        let listen = self.listen(&spec.listen);
        let keepalive = self.keepalive(&spec.tcp.keepalive);
        let accept = self.accept_proxy_protocol(spec);
        let sources = self.source_rules(spec, spec.sources.as_ref());
        Some(assemble(
            spec,
            listen,
            accept,
            sources?,
            keepalive,
            certificates,
            routes?,
        ))
    }

    /// Reports `protocol: tcp` where everything else of the endpoint is for TLS: that it is is one mistake.
    fn is_tls_in_all_but_protocol(&mut self, spec: &spec::Endpoint) -> bool {
        let is_meant = spec.is_tls_in_all_but_protocol();
        if is_meant {
            self.problems
                .error(
                    spec.protocol.at,
                    "`protocol: tcp`, but every route of this endpoint is for TLS",
                )
                .help("leave `protocol: tcp` out");
        }
        is_meant
    }

    /// Reports keys of `tls` that cannot have an effect on this endpoint.
    fn endpoint_tls(&mut self, spec: &spec::Endpoint) {
        let tls = &spec.tls;
        if spec.protocol.value == Protocol::Tcp {
            let mut refuse = |at, what| {
                self.problems
                    .error(
                        at,
                        format!(
                            "{what} on an endpoint with `protocol: tcp`, where clients speak no TLS"
                        ),
                    )
                    .help("leave it out, or set `protocol: tls`");
            };
            if let Some(certificate) = tls.certificates.first() {
                refuse(certificate.at, "a certificate");
            }
            if tls.client_auth.mode.value != ClientAuthMode::Off {
                refuse(tls.client_auth.at, "`client_auth`");
            }
            if let Some(default) = &spec.default_route {
                refuse(default.at, "`default_route`");
            }
        }
    }

    /// Reports an endpoint for any protocol without a route for what is not TLS, and the keys of one
    /// elsewhere.
    fn any_protocol(&mut self, spec: &Located<spec::Endpoint>) {
        let protocol = &spec.protocol;
        match &spec.not_tls {
            None if protocol.value == Protocol::Any => {
                self.problems
                    .error(protocol.at, "`protocol: any` without a route for what is not TLS")
                    .help(
                        "name one with the mode `forward`: `not_tls: ROUTE`; if all clients speak TLS, leave \
                         `protocol` out",
                    );
            }
            Some(name) if protocol.value != Protocol::Any => {
                self.problems
                    .error(
                        name.at,
                        format!(
                            "`not_tls` on an endpoint with `protocol: {}`",
                            protocol.value.render()
                        ),
                    )
                    .help("set `protocol: any`");
            }
            Some(name) => {
                let names: Vec<_> = spec
                    .routes
                    .iter()
                    .map(|route| route.name.as_str())
                    .collect();
                if !names.contains(&name.as_str()) && !self.problems.is_incomplete(spec.routes.at) {
                    self.unknown(name.at, "route", name.as_str(), &names);
                }
            }
            None => {}
        }
        // As `check --print` writes it, the default is no mistake.
        const DEFAULT: Duration = Duration::from_millis(200);
        if protocol.value != Protocol::Any && spec.sniff.0 != DEFAULT {
            self.problems
                .warning(
                    spec.sniff.at,
                    "`sniff` has no effect without `protocol: any`",
                )
                .help("leave it out");
        } else if protocol.value == Protocol::Any && spec.sniff.0 > spec.timeouts.hello.0 {
            self.problems
                .error(
                    spec.sniff.at,
                    "`sniff` is above `timeouts.hello`, which ends the wait",
                )
                .help("lower it; a client of TLS that is slow still has all of `timeouts.hello`");
        }
    }

    /// A list of cipher suites must have one for each allowed version.
    fn suites(&mut self, tls: &spec::EndpointTls) {
        let suites = &tls.cipher_suites;
        let is_1_3 = |suite: &Located<spec::CipherSuite>| suite.value.0.is_tls13();
        let spoken = |version| (tls.min_version.value..=tls.max_version.value).contains(&version);
        for (version, has) in [
            (TlsVersion::V1_2, suites.iter().any(|suite| !is_1_3(suite))),
            (TlsVersion::V1_3, suites.iter().any(is_1_3)),
        ] {
            if !suites.is_empty() && spoken(version) && !has {
                self.problems
                    .error(
                        suites.at,
                        format!("none of these suites is for TLS {version}, which is allowed here"),
                    )
                    .help("add one, or set `min_version` or `max_version`");
            }
        }
    }

    fn versions(&mut self, tls: &spec::EndpointTls) -> Versions {
        match (tls.min_version.value, tls.max_version.value) {
            (TlsVersion::V1_2, TlsVersion::V1_2) => Versions::Tls12,
            (TlsVersion::V1_2, TlsVersion::V1_3) => Versions::Both,
            (TlsVersion::V1_3, TlsVersion::V1_3) => Versions::Tls13,
            (TlsVersion::V1_3, TlsVersion::V1_2) => {
                self.problems
                    .error(tls.min_version.at, "`min_version` is above `max_version`");
                Versions::Tls13
            }
        }
    }

    /// The idle time before keepalive probes, within the range of the kernel.
    pub(super) fn keepalive(
        &mut self,
        spec: &Located<Limit<values::Duration>>,
    ) -> Option<Duration> {
        let keepalive = spec.get()?.0;
        if !(Duration::from_secs(1)..=KEEPALIVE_MAX).contains(&keepalive) {
            self.problems
                .error(spec.at, "`keepalive` must be from 1s to 9h, or `none`");
        }
        Some(keepalive)
    }

    fn listen(&self, spec: &OneOrMany<listen::Listen>) -> Vec<Listen> {
        spec.iter()
            .map(|listen| match &listen.value {
                listen::Listen::Ip(address) => Listen::Address(*address),
                listen::Listen::Any(port) => Listen::Everywhere(*port),
                listen::Listen::Systemd(name) => Listen::Systemd(name.as_str().to_owned()),
                listen::Listen::Unix(unix) => Listen::Unix {
                    path: self.on_machine(&unix.unix),
                    permissions: unix.permissions.as_ref().map_or(UNIX_PERMISSIONS, |p| p.0),
                    owner: unix.owner.as_ref().map(|owner| owner.0.clone()),
                    group: unix.group.as_ref().map(|group| group.0.clone()),
                },
            })
            .collect()
    }
}

/// Whether two listening addresses of endpoints are the same one. `*` is both `0.0.0.0` and `[::]`.
fn is_same(a: &listen::Listen, b: &listen::Listen) -> bool {
    use listen::Listen as L;
    match (a, b) {
        (L::Ip(a), L::Ip(b)) => canonical(*a) == canonical(*b) && a.port() != 0,
        (L::Any(_), L::Ip(ip)) | (L::Ip(ip), L::Any(_)) => {
            ip.ip().to_canonical().is_unspecified() && overlap(a, b)
        }
        _ => overlap(a, b),
    }
}

/// Whether a connection could be meant for either of two listening addresses.
fn overlap(a: &listen::Listen, b: &listen::Listen) -> bool {
    use listen::Listen as L;
    let any = |ip: &SocketAddr| ip.ip().is_unspecified();
    match (a, b) {
        (L::Ip(a), L::Ip(b)) => {
            let (a, b) = (&canonical(*a), &canonical(*b));
            let same_family = a.is_ipv4() == b.is_ipv4();
            a.port() == b.port()
                && a.port() != 0
                && same_family
                && (a.ip() == b.ip() || any(a) || any(b))
        }
        (L::Any(port), L::Ip(ip)) | (L::Ip(ip), L::Any(port)) => *port == ip.port() && *port != 0,
        (L::Any(a), L::Any(b)) => a == b && *a != 0,
        (L::Unix(a), L::Unix(b)) => same_path(&a.unix, &b.unix),
        (L::Systemd(a), L::Systemd(b)) => a == b,
        _ => false,
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether two paths are equal: `./x` is `x`.
pub(super) fn same_path(a: &Path, b: &Path) -> bool {
    let is_part = |part: &Component<'_>| *part != Component::CurDir;
    a.components()
        .filter(is_part)
        .eq(b.components().filter(is_part))
}

/// A unix socket is accessible to its owner alone by default.
const UNIX_PERMISSIONS: u32 = 0o600;

fn assemble(
    spec: &spec::Endpoint,
    listen: Vec<Listen>,
    accept: Option<Accept>,
    sources: Option<Arc<Sources>>,
    keepalive: Option<Duration>,
    certificates: EndpointCertificates,
    routes: RouteTable<Arc<Route>>,
) -> Endpoint {
    Endpoint {
        name: spec.name.as_str().into(),
        listen,
        protocol: spec.protocol.value,
        sniff: spec.sniff.0,
        negotiate: negotiate(spec.negotiate.get()),
        backlog: spec.backlog.0,
        tcp: TcpOptions {
            nodelay: spec.tcp.nodelay.value,
            keepalive,
            user_timeout: spec.tcp.user_timeout.get().map(|d| d.0),
            send_buffer: spec.tcp.send_buffer.get().map(|size| size.0),
            receive_buffer: spec.tcp.receive_buffer.get().map(|size| size.0),
        },
        fast_open: spec.tcp.fast_open.value,
        accept_proxy_protocol: accept,
        sources,
        limits: limits::of_endpoint(&spec.limits),
        hello_timeout: spec.timeouts.hello.0,
        client_timeout: spec.timeouts.client.0,
        certificates: certificates.all,
        pending: certificates.pending,
        routes,
    }
}
