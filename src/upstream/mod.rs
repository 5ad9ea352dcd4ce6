//! Upstreams: which origins there are, which of them are fit, who gets the next connection, and the
//! plain connection to one. TLS towards them is laid over it by the caller, and so are checks.

mod balance;
mod connect;
mod following;
mod group;
mod ledger;
mod member;
mod names;
mod own;
mod parting;
mod passive;
mod queue;
mod roster;
mod state;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::ServerName;

pub use balance::Balance;
pub use connect::{connect, reason_for};
pub use group::{Ask, Group, Picked, Unpicked};
pub use ledger::{Change, OriginEvent};
pub use member::Member;
pub use own::{OwnListener, OwnListeners};
pub use parting::{Parting, Why};
pub use passive::PassivePolicy;
pub use roster::{OriginStatus, Roster};
pub use state::{CheckNote, Held, Order, OriginState, Threshold, Verdict};

use crate::transport::TcpOptions;

/// How long to wait before an address is tried again that has just failed.
pub const RETRY_PAUSE: Duration = Duration::from_millis(250);

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

/// One server of an upstream, or several that go by one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its name in logs.
    pub name: Arc<str>,
    /// Where it is.
    pub address: Address,
    /// The name that its certificate must have, where TLS is spoken to it.
    pub server_name: Option<ServerName<'static>>,
    /// Its share of the connections, 1 to 256.
    pub weight: u32,
    /// Whether it is used only when nobody else is fit.
    pub backup: bool,
    /// The most connections that it may have at each of its addresses.
    pub connections: Option<usize>,
}

/// How connections to origins are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectPolicy {
    /// One attempt, origin TLS included.
    pub timeout: Duration,
    /// All attempts, the first included; at least 1.
    pub attempts: u32,
    /// How many connections may wait for a place at an origin.
    pub queue: Option<usize>,
    /// How long each of them may wait.
    pub queue_timeout: Duration,
    /// The addresses to dial from, in turn; empty leaves it to the kernel.
    pub sources: Vec<IpAddr>,
}

/// What becomes of the connections to an address that has left the answers of the resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnGone {
    /// They stay.
    Keep,
    /// They are drained.
    Drain,
}

/// A named group of origins; never empty.
#[derive(Debug)]
pub struct Origins {
    /// The upstream's name.
    pub name: Arc<str>,
    /// The origins, in file order.
    pub members: Vec<Arc<Origin>>,
    /// Who gets the next connection.
    pub balance: Balance,
    /// How long an origin that has come up, or joined, gets less than its share.
    pub slow_start: Option<Duration>,
    /// When an origin that fails connections is left alone.
    pub passive: Option<PassivePolicy>,
    /// What becomes of the connections to an address that is gone.
    pub on_gone: OnGone,
    /// How they are dialled.
    pub connect: ConnectPolicy,
    /// Options of the sockets to them.
    pub tcp: TcpOptions,
    /// Their live side, there once [`Roster::apply`] has taken them in.
    pub group: OnceLock<Arc<Group>>,
}
