//! One side of a connection: a socket and, where it speaks TLS, the TLS state over it.
//!
//! Handshakes (`tls`) make transports; the relay copies bytes between two of them. A transport knows no
//! routes, certificates, deadlines or logs.

mod budget;
mod exchange;
mod options;
mod pipe;
mod scratch;
mod socket;
mod tls_state;
mod tls_turn;

pub use budget::Budget;
pub use options::{KEEPALIVE_MAX, TcpOptions};
pub use pipe::{PIPES_PER_WORKER, Pipe};
pub use scratch::{FLIGHT_CHUNK, OutBuf, READ_CHUNK, Scratch, with_scratch};
pub use socket::Socket;
pub use tls_state::{Decrypted, TlsConn, TlsEnd, TlsState};

/// One side of a connection.
#[derive(Debug)]
pub struct Transport {
    /// The socket.
    pub socket: Socket,
    /// The TLS state; absent where this side is plain or in passthrough.
    pub tls: Option<Box<TlsState>>,
    /// Bytes already read from this side and not yet passed on: a ClientHello in passthrough, or
    /// application data that came with the last flight of a handshake (as plaintext).
    pub prefetched: Vec<u8>,
}

impl Transport {
    /// A transport without TLS.
    pub const fn plain(socket: Socket) -> Self {
        Self {
            socket,
            tls: None,
            prefetched: Vec::new(),
        }
    }

    /// How many bytes were read from the peer and not decrypted, because their record is incomplete or a
    /// turn ended before them.
    pub fn undecrypted(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| tls.retained())
    }
}
