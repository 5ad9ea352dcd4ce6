//! How a route serves connections: its mode with TLS and client auth, and its limits.

use std::sync::Arc;

use super::compiler::Compiler;
use super::context::EndpointContext;
use super::limits;
use super::negotiate;
use super::wire::{cipher_suites, groups};
use crate::config::reader::generic::{Limit, OffOr};
use crate::config::reader::problem::quoted_list;
use crate::config::reader::read::Located;
use crate::config::reader::values;
use crate::config::spec::{self, Mode};
use crate::snapshot::{self, Delays, Route, Sources, Upstream};
use crate::tls::acceptor::{AcceptorPolicy, Resumption, TlsAcceptor};
use crate::tls::certificates::CertificateChoice;
use crate::tls::sessions::Scope;
use crate::tls::verify::client::ClientVerifier;

/// How clients reach a route.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteKind {
    /// By its server name; on `protocol: tcp`, which has none, in any case.
    ByName,
    /// As the default route, if no other route has their server name.
    ByDefault,
}

/// A route from its compiled parts.
pub(super) fn route(
    context: &EndpointContext<'_>,
    spec: &spec::Route,
    upstream: Arc<Upstream>,
    mode: snapshot::Mode,
    sources: Option<Arc<Sources>>,
    kind: RouteKind,
) -> Route {
    let (own, general) = (&spec.timeouts, &context.endpoint.timeouts);
    let limit = |own: &Option<Located<Limit<values::Duration>>>, general| {
        let limit: &Located<Limit<values::Duration>> = own.as_ref().unwrap_or(general);
        limit.get().map(|duration| duration.0)
    };
    Route {
        name: spec.name.as_str().into(),
        mode,
        sources,
        limits: limits::of_route(&context.endpoint.limits, &spec.limits),
        delays: delays(&spec.delay),
        upstream,
        named: kind == RouteKind::ByName,
        client_timeout: own.client.as_ref().unwrap_or(&general.client).0,
        origin_timeout: own.origin.as_ref().unwrap_or(&general.origin).0,
        idle: limit(&own.idle, &general.idle),
        half_close: limit(&own.half_close, &general.half_close),
        lifetime: limit(&own.lifetime, &general.lifetime),
        on_truncation: context.endpoint.tls.on_truncation.value,
    }
}

fn delays(spec: &spec::Delays) -> Option<Box<Delays>> {
    let delays = || {
        Box::new(Delays {
            connect: spec.connect.0,
            first_byte: spec.first_byte.0,
            chunk: spec.chunk.0,
        })
    };
    spec.is_any().then(delays)
}

impl Compiler<'_> {
    /// The mode of a route, with TLS where it terminates.
    pub(super) fn mode(
        &mut self,
        context: &EndpointContext<'_>,
        spec: &Located<spec::Route>,
        certificate: CertificateChoice,
    ) -> Option<snapshot::Mode> {
        Some(match spec.mode.value {
            Mode::Passthrough => snapshot::Mode::Passthrough,
            Mode::Forward => snapshot::Mode::Forward,
            Mode::Originate => snapshot::Mode::Originate,
            Mode::Terminate => {
                snapshot::Mode::Terminate(Arc::new(self.acceptor(context, spec, certificate)?))
            }
            Mode::Reencrypt => {
                snapshot::Mode::Reencrypt(Arc::new(self.acceptor(context, spec, certificate)?))
            }
        })
    }

    fn acceptor(
        &mut self,
        context: &EndpointContext<'_>,
        spec: &Located<spec::Route>,
        certificate: CertificateChoice,
    ) -> Option<TlsAcceptor> {
        let tls = &context.endpoint.tls;
        // A route's own block replaces the endpoint's block as a whole.
        let client_auth = spec.client_auth.as_ref().unwrap_or(&tls.client_auth);
        let verifier = self.client_verifier(client_auth)?;
        let policy = AcceptorPolicy {
            versions: context.versions,
            cipher_suites: cipher_suites(&tls.cipher_suites),
            groups: groups(&tls.groups),
            alpn: negotiate::alpn(context.endpoint, spec),
            resumption: self.resumption(context, spec, &verifier, &certificate),
            verifier,
            certificate,
        };
        let (endpoint, route) = (context.endpoint.name.as_str(), spec.name.as_str());
        let is_named = matches!(policy.certificate, CertificateChoice::ByName(_));
        let running = self.parts.acceptor(endpoint, route, is_named);
        match TlsAcceptor::new(policy, running) {
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

    /// The verifier of a block, compiled once for all routes that it applies to.
    fn client_verifier(&mut self, spec: &Located<spec::ClientAuth>) -> Option<ClientVerifier> {
        let key = std::ptr::from_ref(&spec.value);
        if let Some(known) = self.client_verifiers.get(&key) {
            return known.clone();
        }
        let policy = self.client_auth(spec);
        let verifier = policy.map(|policy| self.parts.verifier(policy, self.sessions.revoked()));
        self.client_verifiers.insert(key, verifier.clone());
        verifier
    }

    /// The session resumption of a route. Sessions are bound to its policy and certificates.
    fn resumption(
        &mut self,
        context: &EndpointContext<'_>,
        spec: &Located<spec::Route>,
        verifier: &ClientVerifier,
        certificate: &CertificateChoice,
    ) -> Option<Resumption> {
        let OffOr::On(resumption) = &context.endpoint.tls.resumption.value else {
            return None;
        };
        let served: Vec<_> = spec.server_names().cloned().collect();
        let certificates = match (&spec.routes_file, certificate) {
            // Each of them may be presented for some name of the file.
            (Some(_), CertificateChoice::ByName(_)) => {
                let all = context.certificates.all.iter();
                all.map(|certificate| certificate.pair.sha256).collect()
            }
            _ => certificate.fingerprints(&served),
        };
        let names = [context.endpoint.name.as_str(), spec.name.as_str()];
        let parts = names.iter().map(|name| name.as_bytes());
        let parts = parts
            .chain([&verifier.fingerprint()[..]])
            .chain(certificates.iter().map(|f| &f[..]));
        let max_age = resumption.max_age.0;
        Some(Resumption {
            sessions: self
                .sessions
                .scope(Scope::of(parts), max_age, &self.ticket_secrets),
            tickets: resumption.tickets.0 as usize,
        })
    }

    /// The certificate of a terminating default route.
    pub(super) fn default_certificate(
        &mut self,
        context: &EndpointContext<'_>,
        default: &Located<spec::DefaultRoute>,
    ) -> Option<CertificateChoice> {
        let all = &context.certificates.all;
        let pending = &context.certificates.pending;
        let expected = pending.iter().map(|c| c.name.as_str());
        let names = || quoted_list(all.iter().map(|c| c.name.as_str()).chain(expected.clone()));
        if !context.certificates.complete {
            return None;
        }
        let endpoint = context.endpoint.name.as_str();
        let before = self.previous_default(endpoint);
        let awaited = match (&default.certificate, all.as_slice(), pending.as_slice()) {
            (Some(name), ..) => pending.iter().find(|c| c.name == name.as_str()),
            (None, [], [only]) => Some(only),
            (None, ..) => pending.iter().find(|c| before.as_ref() == Some(&c.name)),
        };
        if let Some(awaited) = awaited {
            self.defaults_to(endpoint, &awaited.name);
            return Some(CertificateChoice::Pending);
        }
        let found = match (&default.certificate, all.as_slice()) {
            (Some(name), _) => all.iter().find(|c| c.name == name.as_str()),
            (None, [only]) if pending.is_empty() => Some(only),
            (None, _) if before.is_some() => {
                let name = before.unwrap_or_default();
                let why = "several certificates, and the default route names none".to_owned();
                self.warn_kept(default.at, why);
                all.iter().find(|c| c.name == name)
            }
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
        let found = found?;
        self.defaults_to(endpoint, &found.name);
        Some(CertificateChoice::Fixed(Arc::clone(found)))
    }
}
