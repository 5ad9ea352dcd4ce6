//! Upstreams: their origins, connection policy and TLS.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::Compiler;
use super::client_auth::RevocationKeys;
use super::context::Upstreams;
use super::health::{checks_use_tls, connect, health, passable, passive};
use super::materials::PairPlaces;
use super::reuse::unchanged;
use super::wire::{groups, once, protocols};
use crate::config::reader::address::OriginAddress;
use crate::config::reader::generic::OffOr;
use crate::config::reader::problem::{Span, quoted};
use crate::config::reader::read::Located;
use crate::config::spec::{self, Mode, TlsVersion, UpstreamAlpn, UpstreamTls, Verify, server_name};
use crate::snapshot::Upstream;
use crate::tls::Versions;
use crate::tls::connector::{ConnectorPolicy, OriginAlpn, Sni, TlsConnector};
use crate::tls::pair::{Pair, PairFiles};
use crate::tls::usage::Presented;
use crate::tls::verify::allow::Rules;
use crate::tls::verify::crl::Revocation;
use crate::tls::verify::origin::{Authority, Trust};
use crate::transport::TcpOptions;
use crate::upstream::{Address, OriginDefinition, UpstreamDefinition};

/// The most bytes of ALPN protocols in a ClientHello. Its extensions have 64 KiB together, and few
/// servers accept a hello above 16 KiB.
const ALPN_MAX: usize = 8 * 1024;

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
        let spec = self.spec;
        let uses = uses(spec);
        let mut upstreams = HashMap::new();
        for (name, upstream) in &spec.upstreams.0 {
            let uses = uses.get(name.as_str()).copied().unwrap_or_default();
            if uses.is_empty() {
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
        if !tls_origins && !tls_checks && !uses.is_empty() {
            self.without_effect_plain(spec);
        }
        let send_proxy_protocol = self.send_proxy_protocol(&spec.send_proxy_protocol);
        let members = self.origins(spec, tls_origins || tls_checks);
        let tls = if tls_origins || tls_checks {
            Some(self.connector(name, &spec.tls))
        } else {
            None
        };
        let definition = UpstreamDefinition {
            name: name.into(),
            origins: members?,
            balance: spec.balance.value,
            slow_start: spec.slow_start.get().map(|time| time.0),
            outlier: passive(spec),
            on_gone: spec.resolve.on_gone.value,
            connect: connect(&spec.connect),
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
            Some(_) => negotiated(self.spec, name),
            None => Vec::new(),
        };
        let health = health(spec, check_tls, &negotiated, &definition);
        let running = self.parts.upstream(name);
        let running_health = running.and_then(|running| running.health.as_ref());
        Some(Upstream {
            health: health.map(|health| unchanged(health, running_health)),
            definition: unchanged(definition, running.map(|running| &running.definition)),
            tls: tls.filter(|_| tls_origins),
            send_proxy_protocol,
            on_truncation: spec.tls.on_truncation.value,
        })
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

    fn origins(
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
            if names.insert(name.clone(), ()).is_some() {
                let message = format!("two origins are named {}", quoted(&name));
                self.problems.error(origin.at, message);
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
                .help("set `server_name` under the upstream's `tls`: it is verified, and the client's name sent");
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

    /// The connector of an upstream: the running one, with its sessions, if the policy is equal.
    fn connector(
        &mut self,
        upstream: &str,
        spec: &Located<UpstreamTls>,
    ) -> Option<Arc<TlsConnector>> {
        let policy = self.connector_policy(spec)?;
        let running = self.parts.upstream(upstream);
        let running = running.and_then(|running| running.tls.as_ref());
        if let Some(running) = running.filter(|running| *running.policy() == policy) {
            return Some(Arc::clone(running));
        }
        match TlsConnector::new(policy) {
            Ok(connector) => Some(Arc::new(connector)),
            Err(error) => {
                self.problems.error(
                    spec.at,
                    format!("TLS to this upstream cannot be set up: {error}"),
                );
                None
            }
        }
    }

    fn connector_policy(&mut self, spec: &Located<UpstreamTls>) -> Option<ConnectorPolicy> {
        let authority = match spec.verify.value {
            Verify::Full => self.authorities(&spec.ca).map(Authority::Roots),
            // A pinned key is sufficient verification.
            Verify::DangerNone if !spec.spki_sha256.is_empty() => {
                if spec.ca.given_in(spec) {
                    let message = "`ca` has no effect with `verify: danger-none`";
                    self.problems
                        .warning(spec.ca.at, message)
                        .help("leave `verify` out to demand both, the CA and the pinned key");
                }
                Some(Authority::DangerNone)
            }
            Verify::DangerNone => {
                self.problems
                    .warning(
                        spec.verify.at,
                        "`verify: danger-none`: any server can pose as the origin",
                    )
                    .help(if spec.ca.given_in(spec) {
                        "`ca` is ignored with it: leave `verify` out"
                    } else {
                        "give the origins' CA in `ca` instead"
                    });
                Some(Authority::DangerNone)
            }
        };
        let certificate = spec
            .client_certificate
            .as_ref()
            .map(|pair| self.client_certificate(pair));
        let (revocation, pins, rules) = self.origin_demands(spec)?;
        if let (Some(Authority::Roots(roots)), Some(revocation)) = (&authority, &revocation) {
            self.strange_lists(spec.crl.at, roots, revocation);
        }
        let alpn = match &spec.alpn.value {
            UpstreamAlpn::Forward => OriginAlpn::Forward,
            UpstreamAlpn::None => OriginAlpn::Absent,
            UpstreamAlpn::List(list) => {
                let names = list.iter().map(|p| p.value.0.as_bytes());
                let len: usize = names.clone().map(|name| 1 + name.len()).sum();
                if len > ALPN_MAX {
                    let message = format!(
                        "these protocols take {len} bytes of the ClientHello, at most {ALPN_MAX} are allowed"
                    );
                    self.problems.error(spec.alpn.at, message);
                    return None;
                }
                OriginAlpn::Fixed(once(names.map(<[u8]>::to_vec)))
            }
        };
        let sni = spec.sni.value;
        Some(ConnectorPolicy {
            versions: match spec.min_version.value {
                TlsVersion::V1_2 => Versions::Both,
                TlsVersion::V1_3 => Versions::Tls13,
            },
            groups: groups(&spec.groups),
            trust: Trust {
                authority: authority?,
                // `sni: client` sends the client's name; a configured name is then the one that is
                // verified.
                verify_name: match (&spec.server_name, sni) {
                    (Some(name), Sni::Client) => Some(name.value.clone()),
                    _ => None,
                },
                revocation,
                pins,
                rules,
            },
            sni,
            certificate: match certificate {
                Some(pair) => Some(pair?),
                None => None,
            },
            alpn,
            resumption: match &spec.resumption.value {
                OffOr::Off => None,
                OffOr::On(resumption) => Some(resumption.max_age.0),
            },
        })
    }

    /// The requirements for an origin's certificate beyond chain and name.
    #[allow(clippy::type_complexity)]
    fn origin_demands(
        &mut self,
        spec: &Located<UpstreamTls>,
    ) -> Option<(Option<Revocation>, Vec<[u8; 32]>, Option<Rules>)> {
        let keys = RevocationKeys {
            scope: &spec.crl_scope,
            unknown: &spec.crl_unknown,
            expired: &spec.crl_expired,
        };
        if spec.verify.value == Verify::DangerNone && spec.crl.given_in(spec) {
            let message =
                "`crl` has no effect with `verify: danger-none`: no certificate is checked";
            self.problems.warning(spec.crl.at, message);
        }
        let revocation = if spec.crl.is_empty() {
            Some(None)
        } else {
            self.revocation(&spec.crl, &keys).map(Some)
        };
        let rules = if spec.allow.is_empty() {
            Some(None)
        } else {
            self.rules(&spec.allow).map(Some)
        };
        let pins = spec.spki_sha256.iter().map(|pin| pin.value.0);
        Some((revocation?, pins.collect(), rules?))
    }

    fn client_certificate(&mut self, spec: &Located<spec::ClientCertificate>) -> Option<Arc<Pair>> {
        let cert = self.resolve(&spec.cert);
        let (at, key) = (spec.cert.at, spec.key.as_ref());
        let key_at = key.map_or(at, |key| key.at);
        let files = PairFiles {
            key: key.map_or_else(|| cert.clone(), |key| self.resolve(key)),
            ocsp: None,
            cert,
        };
        let places = PairPlaces {
            key: key_at,
            ..PairPlaces::all(at)
        };
        let pair = self.certified(places, files)?;
        self.presented(at, &pair, Presented::ToOrigins);
        Some(pair)
    }
}

/// The protocols that clients of an upstream may have negotiated; empty if some negotiate none.
fn negotiated(spec: &spec::Spec, upstream: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for endpoint in spec.endpoints.iter() {
        let routes = endpoint.routes.iter();
        for route in routes.filter(|route| route.upstream.as_str() == upstream) {
            let list = route.alpn.as_ref().unwrap_or(&endpoint.tls.alpn);
            if route.mode.value != Mode::Reencrypt || list.is_empty() {
                return Vec::new();
            }
            for protocol in protocols(list) {
                if !all.contains(&protocol) {
                    all.push(protocol);
                }
            }
        }
    }
    all
}

/// How each upstream is used; absent if no route leads to it.
pub(super) fn uses(spec: &spec::Spec) -> HashMap<&str, Uses> {
    let mut uses: HashMap<&str, Uses> = HashMap::new();
    for route in spec
        .endpoints
        .iter()
        .flat_map(|endpoint| endpoint.routes.iter())
    {
        let uses = uses.entry(route.upstream.as_str()).or_default();
        let at = route.upstream.at;
        match route.mode.value {
            Mode::Terminate => uses.terminate.get_or_insert(at),
            Mode::Forward => uses.forward.get_or_insert(at),
            Mode::Passthrough => uses.passthrough.get_or_insert(at),
            Mode::Reencrypt | Mode::Originate => uses.tls_origins.get_or_insert(at),
        };
    }
    uses
}
