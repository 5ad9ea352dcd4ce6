//! One side of a connection: a socket and, where it is sealed, the TLS state over it.
//!
//! Handshakes (`tls`) make legs, the relay moves bytes between two of them. A leg knows nothing of
//! routes, certificates, deadlines or logs.

mod budget;
mod options;
mod pipe;
mod scratch;
mod seal;
mod socket;

pub use budget::Budget;
pub use options::{KEEPALIVE_MAX, TcpOptions};
pub use pipe::{PIPES_PER_WORKER, Pipe};
pub use scratch::{FLIGHT_CHUNK, OutBuf, READ_CHUNK, Scratch, with_scratch};
pub use seal::{Conn, Opened, Seal, SealEnd};
pub use socket::Socket;

/// One side of a connection.
#[derive(Debug)]
pub struct Leg {
    /// The socket.
    pub socket: Socket,
    /// The TLS state; absent where this side is plain, or is passed through unopened.
    pub seal: Option<Box<Seal>>,
    /// Bytes already read from this side, in plaintext where it is sealed, that the other side has
    /// not been given yet: a replayed ClientHello, or data that came along with a handshake.
    pub unread: Vec<u8>,
}

impl Leg {
    /// A leg whose bytes are as they come from the socket.
    pub const fn plain(socket: Socket) -> Self {
        Self {
            socket,
            seal: None,
            unread: Vec::new(),
        }
    }
}
