//! What the configuration says of an upstream. Immutable; compared to find out what a reload changed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::balance::Balance;
use super::outlier::OutlierPolicy;
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
}

impl Address {
    /// Whether it has to be resolved, and may stand for several.
    pub const fn is_name(&self) -> bool {
        matches!(self, Self::Host(..) | Self::Srv(_))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
            Self::Srv(service) => write!(f, "srv:{service}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
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
}
