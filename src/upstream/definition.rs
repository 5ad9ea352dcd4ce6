//! What the configuration says of an upstream. Immutable; compared to find out what a reload changed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::balance::Balance;
use super::outlier::OutlierPolicy;
use crate::hostname::{HostName, HostTemplate};
use crate::transport::TcpOptions;

/// Where an origin is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A host name, which stands for one origin at each of its addresses, and a port.
    Host(Arc<str>, u16),
    /// A service (RFC 2782), which stands for one origin at each address of its hosts.
    Srv(Arc<str>),
    /// A unix socket.
    Unix(PathBuf),
    /// A host name that is made for each client of its server name, and a port.
    Made(HostTemplate, u16),
}

impl Address {
    /// Whether it has to be resolved, and may stand for several.
    pub const fn is_name(&self) -> bool {
        matches!(self, Self::Host(..) | Self::Srv(_) | Self::Made(..))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
            Self::Srv(service) => write!(f, "srv:{service}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Made(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// One server of an upstream, or several that share one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginDefinition {
    /// Its name in logs.
    pub name: Arc<str>,
    /// Where it is.
    pub address: Address,
    /// The name that its certificate must have; absent where no TLS is spoken to it.
    pub server_name: Option<ServerName<'static>>,
    /// Its share of the connections, 1 to 256.
    pub weight: u32,
    /// Whether it is used only while no other origin is usable.
    pub backup: bool,
    /// The most connections at each of its addresses; `None` is no limit.
    pub max_connections: Option<usize>,
    /// Whether its name may stand for this machine or its link.
    pub may_be_local: bool,
}

impl OriginDefinition {
    /// The same at the address that is made of these labels of a client's name, if it is to be made.
    fn made(&self, labels: &str) -> Option<Self> {
        let Address::Made(template, port) = &self.address else {
            return None;
        };
        let host = template.host(labels)?;
        Some(Self {
            // Without the dot, domains that resolv.conf searches could be put behind it.
            address: Address::Host(format!("{host}.").into(), *port),
            server_name: self.server_name.clone().or_else(|| verified(&host)),
            ..self.clone()
        })
    }
}

/// The name that a certificate of a host must have.
fn verified(host: &HostName) -> Option<ServerName<'static>> {
    ServerName::try_from(host.as_str().to_owned()).ok()
}

/// How connections to origins are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectPolicy {
    /// One attempt, origin TLS included.
    pub timeout: Duration,
    /// All attempts, the first included; at least 1.
    pub attempts: u32,
    /// How many connections may wait for a slot at an origin; `None` is no limit.
    pub queue: Option<usize>,
    /// How long each of them may wait.
    pub queue_timeout: Duration,
    /// The addresses to dial from, in turn; empty leaves it to the kernel.
    pub sources: Vec<IpAddr>,
    /// The HTTP proxy that is dialled in the place of every origin, if there is one. It looks up their host
    /// names.
    pub proxy: Option<SocketAddr>,
}

/// What happens to the connections to an address that has left the answers of the resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnGone {
    /// They stay.
    Keep,
    /// They are drained.
    Drain,
}

/// A named group of origins and how connections are spread over them; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamDefinition {
    /// The upstream's name.
    pub name: Arc<str>,
    /// The origins, in file order.
    pub origins: Vec<Arc<OriginDefinition>>,
    /// Which origin gets the next connection.
    pub balance: Balance,
    /// How long an origin that has come up, or joined, gets less than its share.
    pub slow_start: Option<Duration>,
    /// When an origin that fails connections is ejected.
    pub outlier: Option<OutlierPolicy>,
    /// What happens to the connections to an address that has left DNS.
    pub on_gone: OnGone,
    /// How origins are dialled.
    pub connect: ConnectPolicy,
    /// Options of the sockets to them.
    pub tcp: TcpOptions,
    /// The definition that it was made of, if its addresses are made of a client's name.
    pub made_of: Option<Arc<Self>>,
}

impl UpstreamDefinition {
    /// Whether the addresses of its origins are made of clients' names: of all or of none.
    pub fn is_template(&self) -> bool {
        // Asked for each connection, so it must not grow with the origins.
        let first = self.origins.first();
        first.is_some_and(|origin| matches!(origin.address, Address::Made(..)))
    }

    /// Whether these labels of a client's name make addresses.
    pub fn makes(&self, labels: &str) -> bool {
        let is_made = |origin: &Arc<OriginDefinition>| match &origin.address {
            Address::Made(template, _) => template.host(labels).is_some(),
            Address::Ip(_) | Address::Host(..) | Address::Srv(_) | Address::Unix(_) => false,
        };
        self.origins.iter().all(is_made)
    }

    /// The same with the addresses that are made of these labels of a client's name; `None` if they make no
    /// host name.
    pub fn made(self: &Arc<Self>, labels: &str) -> Option<Self> {
        let origins = self.origins.iter();
        let origins = origins.map(|origin| origin.made(labels).map(Arc::new));
        Some(Self {
            origins: origins.collect::<Option<_>>()?,
            made_of: Some(Arc::clone(self)),
            ..Self::clone(self)
        })
    }

    /// The definition of the configuration: the one that it was made of, or itself.
    pub fn configured(self: &Arc<Self>) -> &Arc<Self> {
        self.made_of.as_ref().unwrap_or(self)
    }
}
