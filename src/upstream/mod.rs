//! Upstreams: which origins there are, in which order they are tried, and the plain connection to
//! one. TLS towards them is laid over it by the caller.

mod connect;
mod resolve;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

pub use connect::{connect, reason_for};
pub use resolve::Resolver;

use crate::leg::TcpOptions;

/// How long to wait before an address is tried again that has just failed.
pub const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// Where an origin is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A host name, looked up for each connection, and a port.
    Host(Arc<str>, u16),
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One server of an upstream.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Its name in logs.
    pub name: Arc<str>,
    /// Where it is.
    pub address: Address,
    /// The name that its certificate must have, where TLS is spoken to it.
    pub server_name: Option<ServerName<'static>>,
}

/// How often and how long a connection to an origin is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectPolicy {
    /// One attempt, origin TLS included.
    pub timeout: Duration,
    /// All attempts, the first included; at least 1.
    pub attempts: u32,
}

/// A named group of origins; never empty.
#[derive(Debug)]
pub struct Origins {
    /// The upstream's name.
    pub name: Arc<str>,
    /// The origins, in the order in which they are tried.
    pub members: Vec<Origin>,
    /// How they are dialled.
    pub connect: ConnectPolicy,
    /// Options of the sockets to them.
    pub tcp: TcpOptions,
}

/// One try to reach an origin.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Whom to try.
    pub origin: &'a Origin,
    /// How many times this origin has been tried before for the same connection.
    pub round: usize,
}

impl Origins {
    /// The attempts of one connection: the origins in turn, over and over, while attempts last.
    pub fn attempts(&self) -> impl Iterator<Item = Attempt<'_>> {
        let members = self.members.len();
        self.members
            .iter()
            .cycle()
            .enumerate()
            .take(usize::try_from(self.connect.attempts).unwrap_or(usize::MAX))
            .map(move |(n, origin)| Attempt {
                origin,
                round: n / members,
            })
    }
}

impl Attempt<'_> {
    /// Which of an origin's addresses this attempt is for, and how long to wait before it: nothing
    /// as long as there is an address that was not tried yet.
    pub fn pick(&self, addresses: &[Address]) -> Option<(Address, Duration)> {
        let address = addresses.get(self.round.checked_rem(addresses.len())?)?;
        let pause = if self.round < addresses.len() {
            Duration::ZERO
        } else {
            RETRY_PAUSE
        };
        Some((address.clone(), pause))
    }
}
