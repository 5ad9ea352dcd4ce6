//! Dialling one address, and what a failure to do so means.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use socket2::SockRef;
use tokio::net::{TcpSocket, UnixStream};
use tokio::time::sleep;

use super::Address;
use crate::leg::{Socket, TcpOptions};
use crate::outcome::Reason;

/// How long to wait before a unix socket whose queue is full is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Connects to a resolved address. A host name has to be looked up before.
pub async fn connect(address: &Address, options: &TcpOptions) -> io::Result<Socket> {
    match address {
        Address::Ip(address) => connect_tcp(*address, options).await.map(Socket::from),
        Address::Unix(path) => loop {
            match UnixStream::connect(path).await {
                // Its queue is full, which passes; the caller bounds the time.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => sleep(BUSY_PAUSE).await,
                connected => return connected.map(Socket::from),
            }
        },
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
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::INVAL) => {
            Reason::LocalDescriptors
        }
        _ => Reason::OriginUnreachable,
    }
}
