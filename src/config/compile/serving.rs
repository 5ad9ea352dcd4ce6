//! How a route serves its connections: its mode, with certificate and client auth where TLS ends
//! here, and its limits.

use std::sync::Arc;

use super::Compiler;
use super::routes::Around;
use super::upstreams::on_truncation;
use crate::config::reader::problem::quoted_list;
use crate::config::reader::read::Located;
use crate::config::reader::shapes::{Limit, OneOrMany};
use crate::config::reader::values;
use crate::config::spec::{self, ClientAuthMode, Mode};
use crate::snapshot::{self, Route, Upstream};
use crate::tls::certificates::CertificateChoice;
use crate::tls::client_auth::{ClientAuth, ClientAuthority};
use crate::tls::server_side::{ServerPolicy, ServerSide};

/// How clients come to a route.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// By a name of its own; on `protocol: tcp`, where there are no names, too.
    ByName,
    /// Because no route owns their name.
    ByDefault,
}

/// A route of finished parts.
pub(super) fn route(
    around: &Around<'_>,
    spec: &spec::Route,
    upstream: Arc<Upstream>,
    mode: snapshot::Mode,
    reached: Reached,
) -> Route {
    let (own, general) = (&spec.timeouts, &around.endpoint.timeouts);
    let limit = |own: &Option<Located<Limit<values::Duration>>>, general| {
        let limit: &Located<Limit<values::Duration>> = own.as_ref().unwrap_or(general);
        limit.get().map(|duration| duration.0)
    };
    Route {
        name: spec.name.as_str().into(),
        mode,
        upstream,
        named: reached == Reached::ByName,
        client_timeout: own.client.as_ref().unwrap_or(&general.client).0,
        origin_timeout: own.origin.as_ref().unwrap_or(&general.origin).0,
        idle: limit(&own.idle, &general.idle),
        half_close: limit(&own.half_close, &general.half_close),
        lifetime: limit(&own.lifetime, &general.lifetime),
        on_truncation: on_truncation(around.endpoint.tls.on_truncation.value),
    }
}

impl Compiler<'_> {
    /// The mode of a route, with all that TLS needs where it ends here.
    pub(super) fn mode(
        &mut self,
        around: &Around<'_>,
        spec: &Located<spec::Route>,
        certificate: CertificateChoice,
    ) -> Option<snapshot::Mode> {
        Some(match spec.mode.value {
            Mode::Passthrough => snapshot::Mode::Passthrough,
            Mode::Forward => snapshot::Mode::Forward,
            Mode::Originate => snapshot::Mode::Originate,
            Mode::Terminate => {
                snapshot::Mode::Terminate(self.server_side(around, spec, certificate)?)
            }
            Mode::Reencrypt => {
                snapshot::Mode::Reencrypt(self.server_side(around, spec, certificate)?)
            }
        })
    }

    fn server_side(
        &mut self,
        around: &Around<'_>,
        spec: &Located<spec::Route>,
        certificate: CertificateChoice,
    ) -> Option<ServerSide> {
        let tls = &around.endpoint.tls;
        // A route's own block replaces the endpoint's whole.
        let client_auth = spec.client_auth.as_ref().unwrap_or(&tls.client_auth);
        let policy = ServerPolicy {
            versions: around.versions,
            alpn: protocols(spec.alpn.as_ref().unwrap_or(&tls.alpn)),
            client_auth: self.client_auth(client_auth)?,
            certificate,
        };
        match ServerSide::new(policy) {
            Ok(side) => Some(side),
            Err(error) => {
                self.problems.error(
                    spec.at,
                    format!("TLS on this route cannot be set up: {error}"),
                );
                None
            }
        }
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

    /// The certificate of a terminating default route.
    pub(super) fn default_certificate(
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
}

/// Application protocols as they go over the wire.
pub(super) fn protocols(list: &OneOrMany<values::Protocol>) -> Vec<Vec<u8>> {
    list.iter()
        .map(|p| p.value.0.clone().into_bytes())
        .collect()
}
