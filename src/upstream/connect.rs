//! Dialling one address, and what a failure to do so means.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::sleep;

use super::definition::Address;
use crate::outcome::Reason;
use crate::sys;
use crate::transport::{Socket, TcpOptions};

/// How long to wait before a unix socket whose queue is full is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Connects to a resolved address, from one of `sources` where there are any of its family. A host
/// name has to be looked up before.
pub async fn connect(
    address: &Address,
    options: &TcpOptions,
    sources: &[IpAddr],
) -> io::Result<Socket> {
    connect_as(address, options, sources, LastAck::AtOnce).await
}

/// Finds out whether a resolved address accepts connections. Over TCP the handshake is reset in place of its
/// last ACK, so that the origin's accept(2) does not return: servers that speak first count connections
/// that end before a login, and some lock their host out for them.
pub async fn probe(address: &Address, options: &TcpOptions, sources: &[IpAddr]) -> io::Result<()> {
    let socket = connect_as(address, options, sources, LastAck::Delayed).await?;
    match address {
        // Dropped, the socket is reset.
        Address::Ip(_) => drop(socket),
        Address::Unix(_) | Address::Host(..) | Address::Srv(_) | Address::Made(..) => {
            socket.close()
        }
    }
    Ok(())
}

/// When the ACK that completes a handshake is sent.
#[derive(Clone, Copy)]
enum LastAck {
    AtOnce,
    /// By the kernel's timer for delayed ACKs (200 ms), or with the first bytes.
    Delayed,
}

async fn connect_as(
    address: &Address,
    options: &TcpOptions,
    sources: &[IpAddr],
    ack: LastAck,
) -> io::Result<Socket> {
    match address {
        Address::Ip(address) => connect_from(*address, options, sources, ack)
            .await
            .map(Socket::from),
        Address::Unix(path) => loop {
            match UnixStream::connect(path).await {
                // Its queue is full, which passes; the caller bounds the time.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => sleep(BUSY_PAUSE).await,
                connected => return connected.map(Socket::from),
            }
        },
        Address::Host(..) | Address::Srv(_) | Address::Made(..) => {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }
}

/// Takes the sources in turn, and goes on to the next one when a source has no port left.
async fn connect_from(
    address: SocketAddr,
    options: &TcpOptions,
    sources: &[IpAddr],
    ack: LastAck,
) -> io::Result<TcpStream> {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let fits = |source: &&IpAddr| source.is_ipv4() == address.is_ipv4();
    let count = sources.iter().filter(fits).count();
    if count == 0 {
        return connect_tcp(address, options, None, ack).await;
    }
    let first = TURN.fetch_add(1, Ordering::Relaxed) % count;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for source in sources.iter().filter(fits).cycle().skip(first).take(count) {
        match connect_tcp(address, options, Some(*source), ack).await {
            Err(error) if reason_for(&error) == Reason::LocalPortsExhausted => last = error,
            connected => return connected,
        }
    }
    Err(last)
}

async fn connect_tcp(
    address: SocketAddr,
    options: &TcpOptions,
    source: Option<IpAddr>,
    ack: LastAck,
) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    options.apply(&SockRef::from(&socket))?;
    options.size_buffers(&SockRef::from(&socket))?;
    if let LastAck::Delayed = ack {
        SockRef::from(&socket).set_tcp_quickack(false)?;
    }
    if let Some(source) = source {
        // The port is chosen at the connect, so that it need only be free towards this origin.
        sys::bind_without_port(&socket)?;
        socket
            .bind(SocketAddr::new(source, 0))
            .map_err(|error| match error.kind() {
                io::ErrorKind::AddrNotAvailable => {
                    io::Error::new(error.kind(), format!("cannot dial from {source}: {error}"))
                }
                _ => error,
            })?;
    }
    socket.connect(address).await
}

/// The reason that a failed dial is logged under. What is our own trouble is never held against an
/// origin.
pub fn reason_for(error: &io::Error) -> Reason {
    // With more words, it has no number.
    if matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse
    ) {
        return Reason::LocalPortsExhausted;
    }
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::CONNREFUSED | Errno::NOENT) => Reason::OriginRefused,
        Some(Errno::TIMEDOUT) => Reason::OriginConnectTimeout,
        Some(Errno::CONNRESET | Errno::PIPE) => Reason::OriginReset,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::INVAL) => {
            Reason::LocalDescriptors
        }
        _ => Reason::OriginUnreachable,
    }
}
