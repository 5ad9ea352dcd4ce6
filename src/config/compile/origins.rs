//! The origins of an upstream, and the names that their certificates must have.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::compiler::Compiler;
use crate::config::reader::address::OriginAddress;
use crate::config::reader::problem::quoted;
use crate::config::reader::read::Located;
use crate::config::spec::{self, server_name};
use crate::tls::connector::Sni;
use crate::upstream::{Address, OriginDefinition};

impl Compiler<'_> {
    pub(super) fn origins(
        &mut self,
        spec: &spec::Upstream,
        tls_origins: bool,
    ) -> Option<Vec<Arc<OriginDefinition>>> {
        let mut names = HashMap::new();
        let mut complete = !spec.origins.is_empty();
        let mut origins = Vec::new();
        for origin in spec.origins.iter() {
            let address = match &origin.address.value {
                OriginAddress::Ip(address) => Address::Ip(*address),
                OriginAddress::Host { host, port } => Address::Host(host.as_str().into(), *port),
                OriginAddress::Srv(service) => Address::Srv(service.as_str().into()),
                OriginAddress::Unix(path) => Address::Unix(self.resolve(path)),
            };
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
                found
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
            }));
        }
        if !origins.is_empty() && origins.iter().all(|origin| origin.backup) {
            self.problems
                .error(spec.origins.at, "all of the origins are backups")
                .help("leave `backup` out: there is no origin that they could replace");
        }
        complete.then_some(origins)
    }

    /// The name that an origin's certificate must have: its own, the upstream's, or its host.
    fn server_name(
        &mut self,
        spec: &spec::Upstream,
        origin: &Located<spec::Origin>,
    ) -> Option<ServerName<'static>> {
        let given = origin
            .server_name
            .as_ref()
            .or(spec.tls.server_name.as_ref());
        let name = match (given, &origin.address.value) {
            (Some(name), _) => Some(name.value.clone()),
            (None, OriginAddress::Ip(address)) => Some(ServerName::from(address.ip())),
            (None, OriginAddress::Host { host, .. }) => server_name(host),
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
        name
    }
}
