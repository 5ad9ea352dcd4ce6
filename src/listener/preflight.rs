//! What can be known about a listening address before it is bound for good.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use super::bind::{cannot_listen, endpoint_cannot_listen};
use super::unix;

/// Why this process could not listen on an address of an endpoint now: it has no right to the port, or the
/// machine does not have the address. A port in use is no reason: the process that runs this configuration
/// may hold it.
pub fn endpoint(address: SocketAddr) -> Option<String> {
    refused(address).map(|error| endpoint_cannot_listen(&address.to_string(), &error))
}

/// The same for an address of the admin socket or of the metrics.
pub fn admin(address: SocketAddr) -> Option<String> {
    refused(address).map(|error| cannot_listen(&address.to_string(), &error))
}

/// [`endpoint`] for a port on every address of both families.
pub fn everywhere(port: u16) -> Option<String> {
    let error = refused((Ipv6Addr::UNSPECIFIED, port).into())?;
    let error = match Errno::from_io_error(&error) {
        // A machine without IPv6 listens on IPv4 alone.
        Some(Errno::ADDRNOTAVAIL) => refused((Ipv4Addr::UNSPECIFIED, port).into())?,
        _ => error,
    };
    Some(endpoint_cannot_listen(&format!("*:{port}"), &error))
}

/// Binds without listening and with SO_REUSEADDR, which another socket can bind beside.
fn refused(address: SocketAddr) -> Option<io::Error> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())
    };
    let error = bind().err()?;
    let lasts = [Errno::ACCESS, Errno::ADDRNOTAVAIL];
    lasts
        .contains(&Errno::from_io_error(&error)?)
        .then_some(error)
}

/// The number of a user who may own a socket's file.
pub fn user(name: &str) -> io::Result<u32> {
    unix::user(name, None).map(|account| account.id)
}

/// The number of a group that a socket's file may belong to.
pub fn group(name: &str) -> io::Result<u32> {
    unix::group(name, None).map(|account| account.id)
}
