//! The origins of an upstream, and the names that their certificates must have.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::compiler::Compiler;
use crate::config::reader::address::OriginAddress;
use crate::config::reader::problem::quoted;
use crate::config::reader::read::Located;
use crate::config::spec::{self, server_name};
use crate::hostname::HostName;
use crate::tls::connector::Sni;
use crate::upstream::{Address, OriginDefinition};

impl Compiler<'_> {
    pub(super) fn origins(
        &mut self,
        spec: &spec::Upstream,
        tls_origins: bool,
    ) -> Option<Vec<Arc<OriginDefinition>>> {
        let is_proxied = spec.tls.negotiate.proxy().is_some();
        let mut names = HashMap::new();
        let mut complete = !spec.origins.is_empty();
        let mut origins = Vec::new();
        for origin in spec.origins.iter() {
            let address = match &origin.address.value {
                OriginAddress::Ip(address) => Address::Ip(*address),
                OriginAddress::Host { host, port } => match HostName::from_config(host) {
                    // In an HTTP request it is ASCII.
                    Ok(name) if is_proxied => Address::Host(name.as_str().into(), *port),
                    _ => Address::Host(host.as_str().into(), *port),
                },
                OriginAddress::Srv(service) => Address::Srv(service.as_str().into()),
                OriginAddress::Unix(path) => Address::Unix(self.on_machine(path)),
                OriginAddress::Made { host, port } => Address::Made(host.clone(), *port),
            };
            complete &= self.below(origin);
            let name = origin
                .name
                .as_ref()
                .map_or_else(|| address.to_string(), |name| name.as_str().to_owned());
            if let Some(first) = names.insert(name.clone(), origin.at) {
                let message = format!("two origins are named {}", quoted(&name));
                self.problems
                    .error(origin.at, message)
                    .help("leave one out; a larger share is a `weight`")
                    .also(first, "the first one");
            }
            let server_name = if tls_origins {
                let found = self.server_name(spec, origin);
                complete &= found.is_some();
                found.flatten()
            } else {
                None
            };
            origins.push(Arc::new(OriginDefinition {
                name: name.into(),
                address,
                server_name,
                weight: origin.weight.0,
                backup: origin.backup.value,
                max_connections: origin
                    .connections
                    .get()
                    .and_then(|cap| usize::try_from(cap.0).ok()),
                may_be_local: !is_made(origin) || origin.loopback.value,
            }));
        }
        if !origins.is_empty() && origins.iter().all(|origin| origin.backup) {
            self.problems
                .error(spec.origins.at, "all of the origins are backups")
                .help("leave `backup` out: there is no origin that they could replace");
        }
        self.all_made_or_none(spec);
        complete.then_some(origins)
    }

    /// Reports an address that is made of clients' names and not bounded by `under`, and one with the keys of
    /// these. Returns whether it is good.
    fn below(&mut self, origin: &Located<spec::Origin>) -> bool {
        let host = match &origin.address.value {
            OriginAddress::Made { host, .. } => Some(host),
            _ => None,
        };
        match (host, &origin.under) {
            (Some(host), Some(under)) if !host.is_below(under) => {
                let message = format!(
                    "this address is not below `under`, which is {}",
                    quoted(under.as_str())
                );
                self.problems
                    .error(origin.address.at, message)
                    .help(format!("end it with `.{}`", under.as_str()))
                    .also(under.at, "the name that it has to be below");
                false
            }
            // What was rejected may be it.
            (Some(_), None) if !self.problems.is_incomplete(origin.at) => {
                self.problems
                    .error(
                        origin.address.at,
                        "`{1}` without `under`: clients choose this address",
                    )
                    .help("name the domain that it stays in: `under: DOMAIN`");
                false
            }
            (None, Some(under)) => {
                self.problems
                    .error(under.at, "`under` beside an address without `{1}`")
                    .help("leave it out");
                false
            }
            (None, None) => {
                if origin.loopback.value {
                    let message = "`loopback` has no effect beside an address without `{1}`";
                    self.problems
                        .warning(origin.loopback.at, message)
                        .help("leave it out");
                }
                true
            }
            _ => true,
        }
    }

    /// Reports an upstream of which some addresses are made of clients' names, and others are fixed; and
    /// checks, which have no name to make an address of.
    fn all_made_or_none(&mut self, spec: &spec::Upstream) {
        let Some(made) = spec.origins.iter().find(|origin| is_made(origin)) else {
            return;
        };
        if let Some(fixed) = spec.origins.iter().find(|origin| !is_made(origin)) {
            self.problems
                .error(
                    fixed.address.at,
                    "a fixed address beside one that is made of clients' names",
                )
                .help("make two upstreams of them")
                .also(made.address.at, "the address with `{1}`");
        }
        let health = spec.health.as_ref();
        if let Some(check) = health.and_then(|health| health.check.as_ref()) {
            self.problems
                .error(
                    check.at,
                    "checks of addresses that are made of clients' names, which are not known before",
                )
                .help("`health: { passive: {} }` goes by clients' connections");
        }
    }

    /// The name that an origin's certificate must have: its own, the upstream's, or its host. The inner
    /// `None` is that of a host that is made for each client.
    fn server_name(
        &mut self,
        spec: &spec::Upstream,
        origin: &Located<spec::Origin>,
    ) -> Option<Option<ServerName<'static>>> {
        let given = origin
            .server_name
            .as_ref()
            .or(spec.tls.server_name.as_ref());
        let name = match (given, &origin.address.value) {
            (Some(name), _) => Some(name.value.clone()),
            (None, OriginAddress::Ip(address)) => Some(ServerName::from(address.ip())),
            (None, OriginAddress::Host { host, .. }) => server_name(host),
            // It is made with the address.
            (None, OriginAddress::Made { .. }) => return Some(None),
            (None, OriginAddress::Unix(_) | OriginAddress::Srv(_)) => {
                let what = match &origin.address.value {
                    OriginAddress::Srv(_) => "a service has no one host",
                    _ => "an origin on a unix socket has no host",
                };
                let message = format!("{what} that its certificate could name");
                self.problems
                    .error(origin.at, message)
                    .help("add `server_name: NAME`");
                return None;
            }
        };
        if let (Sni::Client, Some(name)) = (spec.tls.sni.value, &origin.server_name) {
            self.problems
                .error(name.at, "an origin's own `server_name` does not go with `sni: client`")
                .help("set `server_name` under the upstream's `tls`: it is verified, and the client's name \
                    sent");
            return None;
        }
        if name.is_none() {
            self.problems.error(
                origin.at,
                "this is no host name that a certificate could have",
            );
        }
        name.map(Some)
    }
}

/// Whether the address of an origin is made of clients' names.
pub(super) fn is_made(origin: &spec::Origin) -> bool {
    matches!(origin.address.value, OriginAddress::Made { .. })
}
