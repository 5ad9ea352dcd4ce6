//! Dialling one address, and what a failure to do so means.

use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;
use socket2::SockRef;
use tokio::net::{TcpSocket, UnixStream};

use super::Address;
use crate::leg::{Socket, TcpOptions};
use crate::outcome::Reason;

/// Connects to a resolved address. A host name has to be looked up before.
pub async fn connect(address: &Address, options: &TcpOptions) -> io::Result<Socket> {
    match address {
        Address::Ip(address) => connect_tcp(*address, options).await.map(Socket::Tcp),
        Address::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
        Address::Host(..) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

async fn connect_tcp(
    address: SocketAddr,
    options: &TcpOptions,
) -> io::Result<tokio::net::TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    options.apply(&SockRef::from(&socket))?;
    socket.connect(address).await
}

/// The reason that a failed dial is logged under. What is our own trouble is never held against an
/// origin.
pub fn reason_for(error: &io::Error) -> Reason {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::CONNREFUSED | Errno::NOENT) => Reason::OriginRefused,
        Some(Errno::TIMEDOUT) => Reason::OriginConnectTimeout,
        Some(Errno::CONNRESET | Errno::PIPE) => Reason::OriginReset,
        Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE) => Reason::LocalPortsExhausted,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
            Reason::LocalDescriptors
        }
        _ => Reason::OriginUnreachable,
    }
}
