//! Where an endpoint listens.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The identity of a listening address over reloads: its socket stays open as long as this stays the same,
/// whatever else changes about the endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenKey {
    pub(super) at: At,
    /// If the kernel chooses the port: the endpoint, and which of its several such addresses.
    pub(super) chosen: Option<(Arc<str>, usize)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum At {
    Address(std::net::SocketAddr),
    Everywhere(u16),
    Unix(PathBuf),
    Systemd(String),
}

impl ListenKey {
    /// The port, if the configuration names one.
    pub const fn port(&self) -> Option<u16> {
        match (&self.at, &self.chosen) {
            (At::Address(address), None) => Some(address.port()),
            (At::Everywhere(port), None) => Some(*port),
            _ => None,
        }
    }
}

/// One spelling for each key: a successor of this process recognizes its addresses by it.
impl fmt::Display for ListenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Address(address) => write!(f, "{address}"),
            At::Everywhere(port) => write!(f, "*:{port}"),
            At::Unix(path) => write!(f, "unix:{}", path.display()),
            At::Systemd(name) => write!(f, "systemd:{name}"),
        }?;
        match &self.chosen {
            Some((endpoint, index)) => write!(f, " {index} of {endpoint}"),
            None => Ok(()),
        }
    }
}

/// A listening address.
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
    /// A socket that systemd passes under this name.
    Systemd(String),
}
