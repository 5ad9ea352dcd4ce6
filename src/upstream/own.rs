//! The places that this process listens at. An origin that is one of them leads back to us, and with a
//! route that leads there again one client becomes as many connections as there can be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::definition::Address;

/// A place that is listened at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnListener {
    /// An address of this machine. `0.0.0.0` stands for all of IPv4, `[::]` for all of IPv6, and for all of
    /// IPv4 as well unless the socket is for IPv6 alone (ipv6(7), `IPV6_V6ONLY`).
    Tcp {
        /// The address.
        address: SocketAddr,
        /// Whether the socket is for IPv6 alone.
        only_v6: bool,
    },
    /// The file of a unix socket.
    Unix {
        /// Its path, as configured.
        path: PathBuf,
        /// Its device and inode.
        file: (u64, u64),
    },
}

/// What this process listens at now. Cheap to look at.
#[derive(Debug, Default)]
pub struct OwnListeners(ArcSwap<Vec<OwnListener>>);

impl OwnListeners {
    /// Puts these in the place of the present ones.
    pub fn set(&self, listeners: Vec<OwnListener>) {
        self.0.store(Arc::new(listeners));
    }

    /// Whether `address`, which the origin configured as `origin` is at, is a place that we listen at,
    /// and is not known from the configuration to be one: a chain of endpoints that is written with
    /// addresses has been found to have an end when the configuration was compiled.
    pub fn lead_back(&self, origin: &Address, address: &Address) -> bool {
        let listeners = self.0.load();
        match address {
            Address::Ip(address) => {
                let address = canonical(*address);
                let is_literal = match origin {
                    Address::Ip(_) => true,
                    Address::Host(host, _) => host.eq_ignore_ascii_case("localhost"),
                    Address::Srv(_) | Address::Unix(_) | Address::Made(..) => false,
                };
                listeners.iter().any(|listener| match listener {
                    OwnListener::Tcp {
                        address: at,
                        only_v6,
                    } => {
                        let at = canonical(*at);
                        let known = is_literal && (at.ip() == address.ip() || is_loopback(address));
                        !known && answers(at, *only_v6, address)
                    }
                    OwnListener::Unix { .. } => false,
                })
            }
            Address::Unix(path) => listeners.iter().any(|listener| match listener {
                OwnListener::Unix { path: known, file } => known != path && is_file(path, *file),
                OwnListener::Tcp { .. } => false,
            }),
            Address::Host(..) | Address::Srv(_) | Address::Made(..) => false,
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Connecting to the unspecified address reaches loopback.
fn is_loopback(address: SocketAddr) -> bool {
    address.ip().is_loopback() || address.ip().is_unspecified()
}

/// Whether a connection to `address` reaches the socket that listens at `at`.
fn answers(at: SocketAddr, only_v6: bool, address: SocketAddr) -> bool {
    let dialled = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let has_family = at.is_ipv4() == dialled.is_ipv4() || (at.is_ipv6() && !only_v6);
    let is_for_all = at.ip().is_unspecified() && has_family;
    at.port() == address.port() && (at.ip() == dialled || (is_for_all && is_here(address)))
}

/// Whether an address is one of this machine: one that it would dial it from. Nothing is sent for this.
fn is_here(address: SocketAddr) -> bool {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(address)?;
        socket.local_addr()
    };
    is_loopback(address) || source().is_ok_and(|source| source.ip() == address.ip())
}

fn is_file(path: &Path, file: (u64, u64)) -> bool {
    path.metadata()
        .is_ok_and(|meta| (meta.dev(), meta.ino()) == file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Address {
        Address::Ip(text.parse().unwrap())
    }

    fn leads_back(listener: &str, origin: &Address, address: &str) -> bool {
        let listeners = OwnListeners::default();
        let (listener, only_v6) = match listener.strip_prefix("only ") {
            Some(listener) => (listener, true),
            None => (listener, false),
        };
        listeners.set(vec![OwnListener::Tcp {
            address: listener.parse().unwrap(),
            only_v6,
        }]);
        listeners.lead_back(origin, &ip(address))
    }

    #[test]
    fn a_name_that_stands_for_a_place_of_ours_leads_back() {
        let name = Address::Host("app.test".into(), 443);
        for (listener, address, ours) in [
            ("127.0.0.1:443", "127.0.0.1:443", true),
            ("127.0.0.1:443", "[::ffff:127.0.0.1]:443", true),
            ("127.0.0.1:443", "127.0.0.1:444", false),
            ("127.0.0.1:443", "127.0.0.2:443", false),
            ("0.0.0.0:443", "127.0.0.2:443", true),
            ("[::]:443", "127.0.0.1:443", true),
            ("[::]:443", "[::ffff:127.0.0.1]:443", true),
            ("[::]:443", "[::1]:443", true),
            ("[::]:443", "192.0.2.1:443", false),
            ("only [::]:443", "127.0.0.1:443", false),
            ("only [::]:443", "[::ffff:127.0.0.1]:443", false),
            ("only [::]:443", "[::1]:443", true),
            ("only [::1]:443", "[::]:443", true),
            ("0.0.0.0:443", "[::1]:443", false),
            ("0.0.0.0:443", "[::]:443", false),
            ("0.0.0.0:443", "[::ffff:127.0.0.1]:443", true),
            ("127.0.0.1:443", "0.0.0.0:443", true),
            ("127.0.0.2:443", "0.0.0.0:443", false),
        ] {
            assert_eq!(
                leads_back(listener, &name, address),
                ours,
                "{listener} {address}"
            );
        }
    }

    #[test]
    fn a_chain_that_the_configuration_spells_out_does_not() {
        let literal = ip("127.0.0.1:443");
        assert!(!leads_back("127.0.0.1:443", &literal, "127.0.0.1:443"));
        assert!(!leads_back("[::]:443", &literal, "127.0.0.1:443"));
        let localhost = Address::Host("localhost".into(), 443);
        assert!(!leads_back("0.0.0.0:443", &localhost, "127.0.0.1:443"));
    }
}
