//! TLS over a transport: drives rustls' unbuffered connections over borrowed buffers.
//!
//! rustls implements the protocol and the record protection; this file follows the rules of its unbuffered
//! interface:
//! - bytes of an unfinished record or handshake message are retained and passed again on **every** call,
//!   also when we only want to write, because rustls keeps offsets into them;
//! - a call made in order to write must find nothing to read: it gets only the bytes of an unfinished
//!   record, not the complete records that a turn has left over;
//! - after an error, further calls may yield the alert for the peer. Once the alert is taken no further call
//!   is made, because it would process the failed input again.

use std::fmt;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::{CommonState, Error, HandshakeKind};

use super::budget::Budget;
use super::scratch::{OutBuf, RETAINED_MAX};
use super::tls_turn::{Put, TurnStep, read_turn, write_turn};

/// Our role in TLS on this transport.
pub enum TlsConn {
    /// Server, towards a client.
    Server(UnbufferedServerConnection),
    /// Client, towards an origin.
    Client(UnbufferedClientConnection),
}

/// TLS state of one transport.
pub struct TlsState {
    conn: TlsConn,
    /// Input that is not used up: `seen` bytes that rustls has got, then bytes that it has not.
    retained: Vec<u8>,
    /// How many bytes of `retained` rustls has got. They hold no complete record, but rustls may keep offsets
    /// into them.
    seen: usize,
    /// Our last flight of the handshake, while it waits for the first write.
    flight: Option<Box<[u8]>>,
    holds_flight: bool,
    closed: bool,
    failed: bool,
}

// Never print keys or plaintext.
impl fmt::Debug for TlsState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsState").finish_non_exhaustive()
    }
}

/// How a TLS stream stopped being readable.
#[derive(Debug)]
pub enum TlsEnd {
    /// The peer sent close_notify.
    Closed,
    /// The peer violated the protocol or sent an alert.
    Failed(Error),
}

/// The result of [`TlsState::decrypt`].
#[derive(Debug)]
pub struct Decrypted {
    /// Whether the handshake is done, so that application data may be written.
    pub ready: bool,
    /// The end of the stream, once reached.
    pub end: Option<TlsEnd>,
}

impl Decrypted {
    /// The turn is over and the stream continues.
    const fn so_far() -> Self {
        Self {
            ready: true,
            end: None,
        }
    }
}

/// How many bytes rustls gets per call in a turn, unless the first record is longer. It processes all records
/// without data in them before the turn can end: some twenty key updates, each of which takes microseconds.
const WINDOW: usize = 512;

/// The length of the record at the front of `input`, in bytes, as its header says (RFC 8446, 5.1).
fn first_record(input: &[u8]) -> usize {
    match input {
        [_, _, _, high, low, ..] => 5 + usize::from(u16::from_be_bytes([*high, *low])),
        _ => input.len(),
    }
}

impl TlsState {
    /// Wraps a fresh connection.
    pub const fn new(conn: TlsConn) -> Self {
        Self {
            conn,
            retained: Vec::new(),
            seen: 0,
            flight: None,
            holds_flight: false,
            closed: false,
            failed: false,
        }
    }

    /// Makes the last flight of the handshake wait for the first call of [`TlsState::encrypt`] or
    /// [`TlsState::close`], which puts it in front of its own bytes: one write then carries both. The caller
    /// promises such a call right after the handshake, with or without data.
    pub const fn hold_flight(&mut self) {
        self.holds_flight = true;
    }

    /// Takes the last flight of the handshake if it has to wait. Returns whether it does.
    pub fn take_flight(&mut self, flight: &[u8]) -> bool {
        if self.holds_flight {
            self.flight = Some(flight.into());
        }
        self.holds_flight
    }

    /// The negotiated parameters and other state common to both roles.
    pub fn facts(&self) -> &CommonState {
        match &self.conn {
            TlsConn::Server(conn) => conn,
            TlsConn::Client(conn) => conn,
        }
    }

    /// Whether the handshake resumed a session.
    pub fn is_resumed(&self) -> bool {
        self.facts().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Whether the peer has sent close_notify.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// How many bytes are retained.
    pub const fn retained(&self) -> usize {
        self.retained.len()
    }

    /// Discards the retained bytes: a record that rustls has dropped.
    pub fn discard_retained(&mut self) {
        self.retained = Vec::new();
        self.seen = 0;
    }

    /// Whether a turn ended before all bytes read were decrypted. The caller must call [`TlsState::decrypt`]
    /// before it reads more.
    pub const fn has_backlog(&self) -> bool {
        self.retained.len() > self.seen
    }

    /// Copies the retained bytes to the front of `input` and returns their number; the next read goes behind
    /// them. `None` when a partial message exceeds its room, which no well-behaved peer causes.
    pub fn restore(&self, input: &mut [u8]) -> Option<usize> {
        let len = self.retained.len();
        if self.seen >= RETAINED_MAX {
            return None;
        }
        input.get_mut(..len)?.copy_from_slice(&self.retained);
        Some(len)
    }

    /// Processes `input`, which begins with the bytes of [`TlsState::restore`]: plaintext goes to `plain`,
    /// bytes for the peer are appended to `out`, the rest is retained. When `budget` is spent, the rest may
    /// contain complete records ([`TlsState::has_backlog`]).
    ///
    /// Under a bounded budget rustls gets little more than one record per call: in one call it processes all
    /// records without data (key updates) in its input, and one read can hold ten thousand of those.
    pub fn decrypt(
        &mut self,
        input: &mut [u8],
        mut plain: impl FnMut(&[u8]),
        out: &mut OutBuf,
        budget: &mut Budget,
    ) -> Decrypted {
        if self.failed {
            let end = Some(TlsEnd::Failed(failed_before()));
            return Decrypted { ready: false, end };
        }
        let mut used = 0;
        let mut seen = self.seen;
        let decrypted = loop {
            let rest = &mut input[used..];
            let left = rest.len();
            let least = if budget.is_bounded() { WINDOW } else { left };
            let len = first_record(rest).max(least).max(seen).min(left);
            let window = &mut rest[..len];
            let turn = match &mut self.conn {
                TlsConn::Server(conn) => {
                    read_turn(conn.process_tls_records(window), &mut plain, out)
                }
                TlsConn::Client(conn) => {
                    read_turn(conn.process_tls_records(window), &mut plain, out)
                }
            };
            used += turn.discard;
            seen = len.saturating_sub(turn.discard);
            match turn.next {
                TurnStep::Again => {}
                TurnStep::Data => {
                    // Data records never interleave with a message split over records.
                    seen = 0;
                    if budget.spend_record() {
                        break Decrypted::so_far();
                    }
                }
                TurnStep::PeerClosed => self.closed = true,
                TurnStep::Idle { .. } if len < left && !self.closed => {
                    if turn.discard == 0 {
                        // The first message is longer than the window.
                        seen = len.saturating_add(WINDOW);
                    } else if budget.spend_window() {
                        break Decrypted::so_far();
                    }
                }
                TurnStep::Idle { ready } => {
                    let end = self.closed.then_some(TlsEnd::Closed);
                    break Decrypted { ready, end };
                }
                TurnStep::Failed(error) => {
                    self.push_alert(&mut input[used..], out);
                    self.failed = true;
                    self.retained = Vec::new();
                    self.seen = 0;
                    let end = Some(TlsEnd::Failed(error));
                    return Decrypted { ready: false, end };
                }
            }
        };
        self.retain(&input[used..], seen);
        decrypted
    }

    /// Encrypts `plain` onto the end of `out`.
    pub fn encrypt(&mut self, plain: &[u8], out: &mut OutBuf) -> Result<(), Error> {
        self.push_flight(out);
        if plain.is_empty() {
            return Ok(());
        }
        self.write(Put::Data(plain), out)
    }

    /// Appends close_notify to `out`.
    pub fn close(&mut self, out: &mut OutBuf) -> Result<(), Error> {
        self.push_flight(out);
        self.write(Put::Close, out)
    }

    fn push_flight(&mut self, out: &mut OutBuf) {
        if let Some(flight) = self.flight.take() {
            out.push(&flight);
        }
    }

    fn write(&mut self, put: Put<'_>, out: &mut OutBuf) -> Result<(), Error> {
        if self.failed {
            return Err(failed_before());
        }
        loop {
            let retained = &mut self.retained[..self.seen];
            let (discard, done) = match &mut self.conn {
                TlsConn::Server(conn) => write_turn(conn.process_tls_records(retained), put, out)?,
                TlsConn::Client(conn) => write_turn(conn.process_tls_records(retained), put, out)?,
            };
            self.retained.drain(..discard);
            self.seen = self.seen.saturating_sub(discard);
            if done {
                return Ok(());
            }
        }
    }

    /// Appends the alert that an error has queued, if any. rustls yields queued bytes before it processes
    /// input, which must not be processed a second time.
    fn push_alert(&mut self, rest: &mut [u8], out: &mut OutBuf) {
        while self.facts().wants_write() {
            let turn = match &mut self.conn {
                TlsConn::Server(conn) => {
                    read_turn(conn.process_tls_records(rest), &mut |_| {}, out)
                }
                TlsConn::Client(conn) => {
                    read_turn(conn.process_tls_records(rest), &mut |_| {}, out)
                }
            };
            if !matches!(turn.next, TurnStep::Again) {
                return;
            }
        }
    }

    fn retain(&mut self, rest: &[u8], seen: usize) {
        self.seen = seen.min(rest.len());
        if rest.is_empty() {
            // An idle connection must not keep the memory of its last partial record.
            self.retained = Vec::new();
        } else {
            self.retained.clear();
            self.retained.extend_from_slice(rest);
        }
    }
}

fn failed_before() -> Error {
    Error::General("TLS on this connection has failed before".into())
}
