//! One immutable generation of the whole configuration, certificates loaded, and the one place where
//! generations are swapped.
//!
//! A snapshot holds no number that changes, and no text that still has to be understood.

pub mod admin;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::health::HealthPolicy;
use crate::observe::access_log::AccessLogSettings;
use crate::observe::logging::LogSettings;
use crate::proxy_protocol::{Accept, SendHeader};
use crate::relay::OnTruncation;
use crate::route::RouteTable;
use crate::snapshot::admin::AdminSettings;
use crate::tls::acceptor::TlsAcceptor;
use crate::tls::certificates::Certificate;
use crate::tls::connector::TlsConnector;
use crate::tls::pair::Pair;
use crate::transport::TcpOptions;
use crate::upstream::Origins;

/// A whole valid configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// What concerns the process as a whole.
    pub process: ProcessSettings,
    /// The process's log.
    pub log: LogSettings,
    /// The access log.
    pub access_log: AccessLogSettings,
    /// Where the process can be asked and told.
    pub admin: AdminSettings,
    /// The endpoints, in file order.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Counts the snapshots of the process, from 1.
    pub generation: u64,
    /// The upstreams that routes lead to, in file order.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The origins of every upstream of the file, by their names, also of those that no route leads to.
    origins: HashMap<Arc<str>, HashSet<Arc<str>>>,
    by_name: HashMap<Arc<str>, Arc<Endpoint>>,
    by_place: HashMap<Place, Arc<Endpoint>>,
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
        let by_place = endpoints
            .iter()
            .flat_map(|endpoint| {
                let places = endpoint.places().into_iter();
                places.map(|(place, _)| (place, Arc::clone(endpoint)))
            })
            .collect();
        Self {
            process,
            log,
            access_log,
            admin,
            endpoints,
            generation: 1,
            upstreams,
            origins,
            by_name,
            by_place,
        }
    }

    /// Whether the file has an origin of this name, in an upstream of that.
    pub fn has_origin(&self, upstream: &str, origin: &str) -> bool {
        let origins = self.origins.get(upstream);
        origins.is_some_and(|origins| origins.contains(origin))
    }

    /// The endpoint that listens at this place.
    pub fn endpoint_at(&self, place: &Place) -> Option<&Arc<Endpoint>> {
        self.by_place.get(place)
    }

    /// The endpoint of this name.
    pub fn endpoint(&self, name: &str) -> Option<&Arc<Endpoint>> {
        self.by_name.get(name)
    }
}

/// What concerns the process as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSettings {
    /// Worker threads; absent = as many as there are cores to use.
    pub workers: Option<usize>,
    /// Connections at once; absent = as many as the descriptor limit allows.
    pub connections: Option<usize>,
    /// Connections at once whose TLS handshake with the client is not done.
    pub handshakes: usize,
    /// How a stop goes.
    pub drain: DrainPolicy,
    /// When what files hold is read again.
    pub watch: WatchPolicy,
}

/// When what files hold is read again, without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchPolicy {
    /// What is watched.
    pub what: Watched,
    /// How long nothing must change before it is read.
    pub debounce: Duration,
}

/// What is watched for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Nothing.
    Nothing,
    /// Certificates, keys, CA bundles, revocation lists and secrets.
    Materials,
    /// These, and the configuration file.
    All,
}

/// How a stop goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainPolicy {
    /// Still accepting, for so long.
    pub lame_duck: Duration,
    /// Then connections may finish, for so long.
    pub stop: Duration,
    /// Those whose endpoint, route or origin has left the configuration may finish, for so long.
    pub removed: Duration,
    /// Meanwhile a connection without a byte for so long ends first.
    pub idle_after: Duration,
}

/// A listening address and its policy.
#[derive(Debug)]
pub struct Endpoint {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens.
    pub listen: Vec<Listen>,
    /// What clients speak.
    pub protocol: Protocol,
    /// The kernel's queue of each socket.
    pub backlog: u32,
    /// Options of accepted sockets.
    pub tcp: TcpOptions,
    /// Whether TCP Fast Open is accepted.
    pub fast_open: bool,
    /// The certificates it presents, in file order.
    pub certificates: Vec<Arc<Certificate>>,
    /// The peers that send a PROXY header, if there are any.
    pub accept_proxy_protocol: Option<Accept>,
    /// From accept to a whole ClientHello, PROXY header included.
    pub hello_timeout: Duration,
    /// The routes.
    pub routes: RouteTable<Arc<Route>>,
}

/// What clients of an endpoint speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TLS: routed by the ClientHello.
    Tls,
    /// Anything.
    Tcp,
}

impl Endpoint {
    /// The route of this name.
    pub fn route(&self, name: &str) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| *route.name == *name)
    }

    /// The places that it listens at.
    pub fn places(&self) -> Vec<(Place, &Listen)> {
        let mut chosen = 0;
        let mut place = |listen: &Listen| {
            let by_kernel = match listen {
                Listen::Address(address) => address.port() == 0,
                Listen::Everywhere(port) => *port == 0,
                Listen::Unix { .. } | Listen::Systemd(_) => false,
            };
            chosen += usize::from(by_kernel);
            Place {
                at: match listen {
                    Listen::Unix { path, .. } => At::Unix(path.clone()),
                    Listen::Systemd(name) => At::Systemd(name.clone()),
                    Listen::Address(address) => At::Address(*address),
                    Listen::Everywhere(port) => At::Everywhere(*port),
                },
                chosen: by_kernel.then(|| (Arc::clone(&self.name), chosen)),
            }
        };
        let places = self.listen.iter().map(|listen| (place(listen), listen));
        places.collect()
    }
}

/// What tells a place to listen at from all others, over reloads: a socket stays the same as long as
/// its place does, whatever else changes about its endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    at: At,
    /// Where the kernel chooses the port: for whom, and which of several.
    chosen: Option<(Arc<str>, usize)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum At {
    Address(std::net::SocketAddr),
    Everywhere(u16),
    Unix(PathBuf),
    Systemd(String),
}

impl Place {
    /// The port, where it is one that the configuration names.
    pub const fn port(&self) -> Option<u16> {
        match (&self.at, &self.chosen) {
            (At::Address(address), None) => Some(address.port()),
            (At::Everywhere(port), None) => Some(*port),
            _ => None,
        }
    }
}

/// A place to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// One address. `[::]` means IPv6 alone.
    Address(std::net::SocketAddr),
    /// Every address of both families.
    Everywhere(u16),
    /// A unix socket.
    Unix {
        /// Its path.
        path: PathBuf,
        /// Its permission bits.
        permissions: u32,
        /// Its owner, by name or number.
        owner: Option<String>,
        /// Its group, by name or number.
        group: Option<String>,
    },
    /// A socket that systemd hands over under this name.
    Systemd(String),
}

/// One object for all that is decided about a connection: what it is shown, what is demanded of it,
/// how it is carried and where to.
#[derive(Debug)]
pub struct Route {
    /// Its name.
    pub name: Arc<str>,
    /// How it is carried.
    pub mode: Mode,
    /// Where to.
    pub upstream: Arc<Upstream>,
    /// Whether clients reach it by a name of its own. The name that a client sends to a default route
    /// is anything, and is never sent on as if it were a name of ours.
    pub named: bool,
    /// From accept to the client's TLS and client auth done.
    pub client_timeout: Duration,
    /// From then to the origin being ready.
    pub origin_timeout: Duration,
    /// No application byte either way.
    pub idle: Option<Duration>,
    /// No progress since the first end.
    pub half_close: Option<Duration>,
    /// From accept.
    pub lifetime: Option<Duration>,
    /// What the origin sees of a client that ends without close_notify.
    pub on_truncation: OnTruncation,
}

/// How a route carries its connections.
#[derive(Debug)]
pub enum Mode {
    /// The client's TLS goes to the origin unopened.
    Passthrough,
    /// The client's TLS ends here, the origin gets plaintext.
    Terminate(TlsAcceptor),
    /// The client's TLS ends here, another begins.
    Reencrypt(TlsAcceptor),
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

    /// Our side of the client's TLS, where it ends here.
    pub const fn acceptor(&self) -> Option<&TlsAcceptor> {
        match self {
            Self::Terminate(side) | Self::Reencrypt(side) => Some(side),
            Self::Passthrough | Self::Forward | Self::Originate => None,
        }
    }
}

/// Origins, and how they are spoken to.
#[derive(Debug)]
pub struct Upstream {
    /// The origins.
    pub origins: Origins,
    /// TLS towards them; absent where the upstream is used plain.
    pub tls: Option<TlsConnector>,
    /// The PROXY header that origins are sent, if they are sent one.
    pub send_proxy_protocol: Option<SendHeader>,
    /// How they are checked, if they are.
    pub health: Option<Arc<HealthPolicy>>,
    /// What the client sees of an origin that ends without close_notify.
    pub on_truncation: OnTruncation,
}

impl Upstream {
    /// The certificate that origins are presented, by connections or by checks alone.
    pub fn certificate(&self) -> Option<&Arc<Pair>> {
        let checks = self.health.as_ref().and_then(|health| health.tls.as_ref());
        self.tls.as_ref().or(checks)?.certificate()
    }
}

/// The snapshot that new connections get.
#[derive(Debug)]
pub struct Live(ArcSwap<Snapshot>);

impl Live {
    /// The first generation.
    pub fn new(snapshot: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(snapshot))
    }

    /// The present generation.
    pub fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.0.load()
    }

    /// Puts a new generation in the place of the present one.
    pub fn swap(&self, mut next: Snapshot) -> Arc<Snapshot> {
        next.generation = self.0.load().generation + 1;
        let next = Arc::new(next);
        self.0.store(Arc::clone(&next));
        next
    }
}
