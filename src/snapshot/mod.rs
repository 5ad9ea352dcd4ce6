//! One immutable, validated generation of the configuration with its certificates loaded, and [`Live`],
//! which swaps generations.
//!
//! A snapshot holds no counters and no text that has yet to be parsed.

pub mod admin;
mod listen;
mod rights;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use self::listen::At;
pub use self::listen::{Listen, ListenKey};
use crate::acme::{HttpPlace, Managed};
use crate::admission::{EndpointLimits, Limits, SourceRules};
use crate::fleet::FleetSettings;
use crate::health::HealthPolicy;
use crate::hostname::HostPattern;
use crate::negotiate::{Negotiate, Tunnel};
use crate::observe::access_log::AccessLogSettings;
use crate::observe::logging::LogSettings;
use crate::proxy_protocol::{Accept, SendHeader};
use crate::relay::OnTruncation;
use crate::revocation::Source;
use crate::route::RouteTable;
use crate::sandbox::{Policy, RunAs};
use crate::snapshot::admin::AdminSettings;
use crate::tls::acceptor::TlsAcceptor;
use crate::tls::certificates::Certificate;
use crate::tls::connector::TlsConnector;
use crate::tls::pair::Pair;
use crate::tls::verify::client::Recheck;
use crate::transport::TcpOptions;
use crate::upstream::UpstreamDefinition;
use crate::vault::Identity;

/// A whole valid configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// The settings of the process.
    pub process: ProcessSettings,
    /// The process's log.
    pub log: LogSettings,
    /// The access log.
    pub access_log: AccessLogSettings,
    /// The admin and metrics listeners.
    pub admin: AdminSettings,
    /// The endpoints, in file order.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// The fleet that this process is an instance of, if any.
    pub fleet: Option<Arc<FleetSettings>>,
    /// Counts the snapshots of the process, from 1.
    pub generation: u64,
    /// The upstreams that routes use, in file order.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The certificates that issuers keep.
    pub managed: Vec<Arc<Managed>>,
    /// Those of them for origins that are not there yet.
    pub awaited: Vec<AwaitedIdentity>,
    /// The certificates for origins that engines of `vault` issue.
    pub identities: Vec<Arc<Identity>>,
    /// What is fetched about revocation.
    pub fetched: Vec<Arc<Source>>,
    /// The names of the origins of every upstream of the file, also of upstreams that no route uses.
    origins: HashMap<Arc<str>, HashSet<Arc<str>>>,
    by_name: HashMap<Arc<str>, Arc<Endpoint>>,
    by_key: HashMap<ListenKey, Arc<Endpoint>>,
}

impl Snapshot {
    /// A snapshot of these parts.
    pub fn new(
        process: ProcessSettings,
        log: LogSettings,
        access_log: AccessLogSettings,
        admin: AdminSettings,
        endpoints: Vec<Arc<Endpoint>>,
        upstreams: Vec<Arc<Upstream>>,
        origins: HashMap<Arc<str>, HashSet<Arc<str>>>,
    ) -> Self {
        let by_name = endpoints
            .iter()
            .map(|endpoint| (Arc::clone(&endpoint.name), Arc::clone(endpoint)))
            .collect();
        let by_key = endpoints
            .iter()
            .flat_map(|endpoint| {
                let keys = endpoint.listen_keys().into_iter();
                keys.map(|(key, _)| (key, Arc::clone(endpoint)))
            })
            .collect();
        Self {
            process,
            log,
            access_log,
            admin,
            endpoints,
            fleet: None,
            generation: 1,
            upstreams,
            managed: Vec::new(),
            awaited: Vec::new(),
            identities: Vec::new(),
            fetched: Vec::new(),
            origins,
            by_name,
            by_key,
        }
    }

    /// Whether the upstream of this name has an origin of this name.
    pub fn has_origin(&self, upstream: &str, origin: &str) -> bool {
        let origins = self.origins.get(upstream);
        origins.is_some_and(|origins| origins.contains(origin))
    }

    /// The limits of its endpoints and routes.
    pub fn limits(&self) -> impl Iterator<Item = EndpointLimits<'_>> {
        self.endpoints.iter().map(|endpoint| EndpointLimits {
            name: &endpoint.name,
            own: endpoint.limits.as_deref(),
            // A route is there once for each of its names.
            routes: endpoint
                .routes
                .iter()
                .filter_map(|route| Some((&route.name, route.limits.as_deref()?)))
                .collect::<BTreeMap<_, _>>()
                .into_iter()
                .collect(),
        })
    }

    /// Where validations by HTTP are answered.
    pub fn http_places(&self) -> BTreeSet<HttpPlace> {
        self.managed
            .iter()
            .filter_map(|managed| managed.issuer.http())
            .collect()
    }

    /// The directories of files that the process writes.
    pub fn states(&self) -> BTreeSet<&Path> {
        let issuers = self.managed.iter().map(|managed| managed.state());
        let fetched = self.fetched.iter().map(|source| source.state());
        let issued = self.identities.iter().map(|identity| identity.state());
        issuers.chain(issued).chain(fetched).collect()
    }

    /// The upstream of this name that routes lead to.
    pub fn upstream(&self, name: &str) -> Option<&Arc<Upstream>> {
        let mut upstreams = self.upstreams.iter();
        upstreams.find(|upstream| *upstream.definition.name == *name)
    }

    /// The endpoint with this listening address.
    pub fn endpoint_at(&self, key: &ListenKey) -> Option<&Arc<Endpoint>> {
        self.by_key.get(key)
    }

    /// The endpoint of this name.
    pub fn endpoint(&self, name: &str) -> Option<&Arc<Endpoint>> {
        self.by_name.get(name)
    }
}

/// The settings of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSettings {
    /// Worker threads; absent = one per available core.
    pub workers: Option<usize>,
    /// Maximum of concurrent connections; absent = as many as the descriptor limit allows.
    pub connections: Option<usize>,
    /// Maximum of concurrent TLS handshakes with clients.
    pub handshakes: usize,
    /// How the process drains connections.
    pub drain: DrainPolicy,
    /// When changed files are read again.
    pub watch: WatchPolicy,
    /// The user that the process becomes, if any.
    pub run_as: Option<RunAs>,
    /// Which rights it gives up.
    pub sandbox: Policy,
}

/// When changed files are read again without a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchPolicy {
    /// Which files are watched.
    pub what: Watched,
    /// The quiet period before a changed file is read again.
    pub debounce: Duration,
}

/// Which files are watched for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// None.
    Nothing,
    /// Certificates, keys, CA bundles, revocation lists and secrets.
    Materials,
    /// These and the configuration file.
    All,
}

/// How connections are drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainPolicy {
    /// How long a stopping process keeps accepting connections, not ready.
    pub lame_duck: Duration,
    /// How long connections may then take to finish.
    pub stop: Duration,
    /// How long connections may take to finish whose endpoint, route or origin left the configuration.
    pub removed: Duration,
    /// While draining, connections that are idle for this long end first.
    pub idle_after: Duration,
}

/// A listening address and its policy.
#[derive(Debug)]
pub struct Endpoint {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens.
    pub listen: Vec<Listen>,
    /// The protocol that clients speak.
    pub protocol: Protocol,
    /// How long a client of [`Protocol::Any`] may say nothing before it is taken for one without TLS.
    pub sniff: Duration,
    /// How TLS begins, if it does so inside another protocol.
    pub negotiate: Option<Negotiate>,
    /// The length of each socket's accept queue.
    pub backlog: u32,
    /// Options of accepted sockets.
    pub tcp: TcpOptions,
    /// Whether TCP Fast Open is accepted.
    pub fast_open: bool,
    /// The certificates it presents, in file order.
    pub certificates: Vec<Arc<Certificate>>,
    /// Those that are not there yet.
    pub pending: Vec<PendingCertificate>,
    /// The peers that send a PROXY header, if any.
    pub accept_proxy_protocol: Option<Accept>,
    /// Which addresses may connect; absent: all.
    pub sources: Option<Arc<Sources>>,
    /// Its limits, if it has any.
    pub limits: Option<Box<Limits>>,
    /// Time from accept to a whole ClientHello, PROXY header included.
    pub hello_timeout: Duration,
    /// Time from accept to the end of the handshake of a CA's validation.
    pub client_timeout: Duration,
    /// The routes.
    pub routes: RouteTable<Arc<Route>>,
}

/// A certificate that an issuer has yet to issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingCertificate {
    /// The name by which the configuration refers to it.
    pub name: String,
    /// The host names that it will be presented for.
    pub names: Vec<HostPattern>,
    /// What is ordered.
    pub managed: Arc<Managed>,
}

/// A certificate for origins that an issuer has yet to issue.
#[derive(Clone, Debug)]
pub struct AwaitedIdentity {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// What is ordered.
    pub managed: Arc<Managed>,
}

/// The protocol that clients of an endpoint speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TLS: routed by the ClientHello.
    Tls,
    /// Anything.
    Tcp,
    /// TLS or anything else, told apart by the first bytes.
    Any,
}

impl Endpoint {
    /// The route of this name.
    pub fn route(&self, name: &str) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| *route.name == *name)
    }

    /// Its listening addresses, each with its key.
    pub fn listen_keys(&self) -> Vec<(ListenKey, &Listen)> {
        let mut chosen = 0;
        let mut key = |listen: &Listen| {
            let by_kernel = match listen {
                Listen::Address(address) => address.port() == 0,
                Listen::Everywhere(port) => *port == 0,
                Listen::Unix { .. } | Listen::Systemd(_) => false,
            };
            chosen += usize::from(by_kernel);
            ListenKey {
                at: match listen {
                    Listen::Unix { path, .. } => At::Unix(path.clone()),
                    Listen::Systemd(name) => At::Systemd(name.clone()),
                    Listen::Address(address) => At::Address(*address),
                    Listen::Everywhere(port) => At::Everywhere(*port),
                },
                chosen: by_kernel.then(|| (Arc::clone(&self.name), chosen)),
            }
        };
        let keys = self.listen.iter().map(|listen| (key(listen), listen));
        keys.collect()
    }
}

/// The policy for a connection: certificates, client auth, mode, upstream and limits.
#[derive(Debug)]
pub struct Route {
    /// Its name.
    pub name: Arc<str>,
    /// How it carries connections.
    pub mode: Mode,
    /// Which of the addresses that may connect may use it; absent: all.
    pub sources: Option<Arc<Sources>>,
    /// Its limits, if it has any.
    pub limits: Option<Box<Limits>>,
    /// Its delays, if it has any.
    pub delays: Option<Box<Delays>>,
    /// The upstream they go to.
    pub upstream: Arc<Upstream>,
    /// Whether it matches a server name. A client can send any name to a default route, so that name is never
    /// passed on to an origin.
    pub named: bool,
    /// Time from accept to the end of the client's TLS handshake and client auth.
    pub client_timeout: Duration,
    /// Time from then until the origin is ready.
    pub origin_timeout: Duration,
    /// Maximum time without an application byte in either direction.
    pub idle: Option<Duration>,
    /// Maximum time without progress once one direction has ended.
    pub half_close: Option<Duration>,
    /// Maximum time from accept to the end.
    pub lifetime: Option<Duration>,
    /// What the origin sees if the client ends without close_notify.
    pub on_truncation: OnTruncation,
}

/// Delays that are made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// Before the origin is dialled.
    pub connect: Duration,
    /// Of the origin's first byte.
    pub first_byte: Duration,
    /// Of each chunk.
    pub chunk: Duration,
}

/// The rules on the addresses of clients.
#[derive(Debug)]
pub struct Sources {
    /// Who may connect.
    pub rules: SourceRules,
    /// What happens to live connections that a reload denies.
    pub recheck: Recheck,
}

/// How a route carries its connections.
#[derive(Clone, Debug)]
pub enum Mode {
    /// The client's TLS goes to the origin unchanged.
    Passthrough,
    /// The client's TLS ends here, the origin gets plaintext.
    Terminate(Arc<TlsAcceptor>),
    /// The client's TLS ends here, and Reseal opens a new TLS connection to the origin.
    Reencrypt(Arc<TlsAcceptor>),
    /// Plain on both sides.
    Forward,
    /// Plain from the client, TLS to the origin.
    Originate,
}

impl Mode {
    /// The word used in the configuration and in logs.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Passthrough => "passthrough",
            Self::Terminate(_) => "terminate",
            Self::Reencrypt(_) => "reencrypt",
            Self::Forward => "forward",
            Self::Originate => "originate",
        }
    }

    /// The acceptor for the client's TLS, if it ends here.
    pub fn acceptor(&self) -> Option<&TlsAcceptor> {
        match self {
            Self::Terminate(acceptor) | Self::Reencrypt(acceptor) => Some(&**acceptor),
            Self::Passthrough | Self::Forward | Self::Originate => None,
        }
    }
}

/// Origins and how to connect to them.
#[derive(Debug)]
pub struct Upstream {
    /// What it is, for its pool.
    pub definition: Arc<UpstreamDefinition>,
    /// TLS towards them; absent if routes use the upstream without TLS.
    pub tls: Option<Arc<TlsConnector>>,
    /// How TLS with them begins, if it does so inside another protocol: ours, and that of clients which is
    /// passed through.
    pub negotiate: Option<Negotiate>,
    /// The HTTP proxy before them, if any.
    pub tunnel: Option<Tunnel>,
    /// The PROXY header that origins get, if any.
    pub send_proxy_protocol: Option<SendHeader>,
    /// The policy of health checks, if any.
    pub health: Option<Arc<HealthPolicy>>,
    /// What the client sees if the origin ends without close_notify.
    pub on_truncation: OnTruncation,
}

impl Upstream {
    /// The client certificate for origins, used by connections or only by checks.
    pub fn certificate(&self) -> Option<&Arc<Pair>> {
        let checks = self.health.as_ref().and_then(|health| health.tls.as_ref());
        self.tls.as_deref().or(checks)?.certificate()
    }
}

/// The current snapshot, which new connections get.
#[derive(Debug)]
pub struct Live(ArcSwap<Snapshot>);

impl Live {
    /// The first generation.
    pub fn new(snapshot: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(snapshot))
    }

    /// The current generation.
    pub fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.0.load()
    }

    /// Replaces the current generation.
    pub fn swap(&self, mut next: Snapshot) -> Arc<Snapshot> {
        next.generation = self.0.load().generation + 1;
        let next = Arc::new(next);
        self.0.store(Arc::clone(&next));
        next
    }
}
