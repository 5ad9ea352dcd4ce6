//! TLS that begins inside another protocol: which endpoints, routes and upstreams go together.

use std::sync::Arc;

use super::compiler::Compiler;
use crate::config::reader::problem::{Problems, quoted};
use crate::config::reader::read::Leaf;
use crate::config::spec::{self, Mode};
use crate::hostname::HostName;
use crate::negotiate::{Negotiate, Protocol};
use crate::snapshot;

/// The name of this machine, which the kernel has at hand.
const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// How TLS begins, from the protocol of the key.
pub(super) fn negotiate(protocol: Option<Protocol>) -> Option<Negotiate> {
    let protocol = protocol?;
    Some(Negotiate {
        protocol,
        name: own_name(),
    })
}

/// The name by which we introduce ourselves.
fn own_name() -> Arc<str> {
    let name = std::fs::read_to_string(HOSTNAME).unwrap_or_default();
    match HostName::from_wire(name.trim()) {
        Ok(name) => name.as_str().into(),
        Err(_) => "localhost".into(),
    }
}

/// The ALPN protocols of a route: its own, else those of the endpoint, else those of clients that begin with
/// TLS at once.
pub(super) fn alpn(endpoint: &spec::Endpoint, route: &spec::Route) -> Vec<Vec<u8>> {
    let given = super::wire::protocols(route.alpn.as_ref().unwrap_or(&endpoint.tls.alpn));
    let direct = endpoint
        .negotiate
        .value
        .get()
        .and_then(Protocol::direct_alpn);
    match direct {
        Some(direct) if given.is_empty() && route.alpn.is_none() => {
            vec![direct.as_bytes().to_vec()]
        }
        _ => given,
    }
}

impl Compiler<'_> {
    /// Reports endpoints, routes and upstreams whose protocols do not go together.
    pub(super) fn negotiations(&mut self) {
        let spec = self.spec;
        for endpoint in spec.endpoints.iter() {
            let negotiate = &endpoint.negotiate;
            let why = match endpoint.protocol.value {
                snapshot::Protocol::Tls => None,
                snapshot::Protocol::Tcp => Some("where clients speak no TLS"),
                snapshot::Protocol::Any => {
                    Some("where what does not begin with TLS goes to `not_tls`")
                }
            };
            if let (Some(why), Some(_)) = (why, negotiate.value.get()) {
                self.problems
                    .error(
                        negotiate.at,
                        format!(
                            "`negotiate` on an endpoint with `protocol: {}`, {why}",
                            endpoint.protocol.value.render()
                        ),
                    )
                    .help("leave it out, or set `protocol: tls`");
                continue;
            }
            for route in endpoint.routes.iter() {
                let upstream = route.upstream_name();
                if let Some(upstream) = upstream.and_then(|name| spec.upstreams.get(name)) {
                    negotiation(endpoint, route, upstream, self.problems);
                }
            }
        }
    }
}

/// Reports a route and an upstream whose protocols do not go together.
pub(super) fn negotiation(
    endpoint: &spec::Endpoint,
    route: &spec::Route,
    upstream: &spec::Upstream,
    problems: &mut Problems,
) {
    let clients = endpoint.negotiate.value.get();
    let origins = &upstream.tls.negotiate;
    let mode = route.mode.value;
    let is_sealed = matches!(mode, Mode::Passthrough | Mode::Reencrypt | Mode::Originate);
    if origins.proxy().is_some() && !is_sealed {
        problems
            .error(
                route.leads_at(),
                format!("the mode `{mode}` sends plaintext to these origins, and `connect` is for TLS with them"),
            )
            .help("use `passthrough`, `reencrypt` or `originate`, or lead to another upstream")
            .also(origins.at, "the proxy before the origins");
    }
    match (clients, origins.protocol()) {
        (Some(clients), Some(with_origins)) if clients != with_origins && is_sealed => {
            problems
                .error(
                    route.leads_at(),
                    format!(
                        "clients of this route speak {}, and its origins {}",
                        quoted(endpoint.negotiate.value.as_str()),
                        quoted(&word(origins))
                    ),
                )
                .also(origins.at, "the protocol of the origins");
        }
        (Some(clients), None) if clients.server_speaks_first() && mode == Mode::Passthrough => {
            problems
                .error(
                    route.mode.at,
                    "clients have had a greeting before TLS, and the origin would send another one inside, \
                     where nothing can be taken out in mode `passthrough`",
                )
                .help(format!(
                    "write `tls: {{ negotiate: {} }}` under the upstream",
                    endpoint.negotiate.value
                ));
        }
        (None, Some(with_origins))
            if with_origins.server_speaks_first()
                && matches!(mode, Mode::Passthrough | Mode::Reencrypt) =>
        {
            problems
                .error(
                    route.leads_at(),
                    "the greeting of these origins comes before TLS, and clients of this endpoint begin \
                     with TLS at once: they would get none",
                )
                .help(format!("write `negotiate: {}` under the endpoint", word(origins)));
        }
        _ => {}
    }
}

/// The word of the configuration for the protocol of origins.
fn word(origins: &spec::OriginNegotiate) -> String {
    match origins {
        spec::OriginNegotiate::Inside(negotiate) => negotiate.to_string(),
        spec::OriginNegotiate::Behind(_) => "connect".to_owned(),
    }
}
