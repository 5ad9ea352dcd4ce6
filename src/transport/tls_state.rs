//! TLS over a transport: rustls' unbuffered connections, driven over borrowed buffers.
//!
//! rustls does all of the protocol and the record protection; this file owns the rules of how its
//! unbuffered interface must be called:
//! - bytes of an unfinished record or handshake message are retained and passed again on **every**
//!   call, also when we only want to write, since rustls keeps offsets into them;
//! - a call made in order to write must never find something to read: it is passed the bytes of an
//!   unfinished record alone, and not the records that a turn has not come to;
//! - after an error further calls may yield the alert that tells the peer, and once that is taken there
//!   are no further calls: each would process the input that failed again.

use std::fmt;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{CommonState, Error, HandshakeKind};

use super::budget::Budget;
use super::scratch::{OutBuf, RETAINED_MAX};

/// The side of TLS that we play on this transport.
pub enum Conn {
    /// We are the server: this transport is the client's.
    Server(UnbufferedServerConnection),
    /// We are the client: this transport is the origin's.
    Client(UnbufferedClientConnection),
}

/// TLS state of one transport.
pub struct TlsState {
    conn: Conn,
    /// Input that is not used up: what rustls has been shown of it, then what it has not.
    retained: Vec<u8>,
    /// How much of `retained` rustls has been shown. It has found no complete record in that, but may
    /// hold offsets into it.
    seen: usize,
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
    /// The peer broke the protocol or sent an alert.
    Failed(Error),
}

/// What one call of [`TlsState::decrypt`] found.
#[derive(Debug)]
pub struct Decrypted {
    /// Whether application data may be written: the handshake is done.
    pub ready: bool,
    /// The end of the stream, once it is known.
    pub end: Option<TlsEnd>,
}

impl Decrypted {
    /// The turn is over, and the stream goes on.
    const fn so_far() -> Self {
        Self {
            ready: true,
            end: None,
        }
    }
}

/// How much rustls is shown at a time, in bytes, unless the first record is longer: few enough records
/// without data for a turn, and few enough calls for a small handshake.
const WINDOW: usize = 2 * 1024;

/// The length of the record at the front of `input`, in bytes, as its header says (RFC 8446, 5.1).
fn first_record(input: &[u8]) -> usize {
    match input {
        [_, _, _, high, low, ..] => 5 + usize::from(u16::from_be_bytes([*high, *low])),
        _ => input.len(),
    }
}

impl TlsState {
    /// Wraps a fresh connection.
    pub const fn new(conn: Conn) -> Self {
        Self {
            conn,
            retained: Vec::new(),
            seen: 0,
            closed: false,
            failed: false,
        }
    }

    /// The facts of the handshake.
    pub fn facts(&self) -> &CommonState {
        match &self.conn {
            Conn::Server(conn) => conn,
            Conn::Client(conn) => conn,
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

    /// How many bytes were retained.
    pub const fn retained(&self) -> usize {
        self.retained.len()
    }

    /// Forgets what is retained: a record that the connection has dropped.
    pub fn discard_retained(&mut self) {
        self.retained = Vec::new();
        self.seen = 0;
    }

    /// Whether a turn ended before all that had been read was decrypted. Nothing more is to be read before
    /// [`TlsState::decrypt`] has gone on with it.
    pub const fn has_backlog(&self) -> bool {
        self.retained.len() > self.seen
    }

    /// Puts what was retained at the front of `input` and says how much that is; bytes read next
    /// belong behind it. `None` when a peer has filled the room for a partial message, which no
    /// honest one does.
    pub fn restore(&self, input: &mut [u8]) -> Option<usize> {
        let len = self.retained.len();
        if self.seen >= RETAINED_MAX {
            return None;
        }
        input.get_mut(..len)?.copy_from_slice(&self.retained);
        Some(len)
    }

    /// Processes what is in `input`, which begins with what [`TlsState::restore`] put there: plaintext goes
    /// to `plain`, bytes for the peer are appended to `out`, the rest is retained. When `budget` is
    /// spent, complete records may be among the rest ([`TlsState::has_backlog`]).
    ///
    /// Under a bounded budget rustls is shown little more than a record at a time: it goes through all
    /// that it is shown of records without data (key updates) in one call, which can be ten thousand in
    /// one read.
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
            let shown = first_record(rest).max(least).max(seen).min(left);
            let window = &mut rest[..shown];
            let turn = match &mut self.conn {
                Conn::Server(conn) => read_turn(conn.process_tls_records(window), &mut plain, out),
                Conn::Client(conn) => read_turn(conn.process_tls_records(window), &mut plain, out),
            };
            used += turn.discard;
            seen = shown.saturating_sub(turn.discard);
            match turn.next {
                Next::Again => {}
                Next::Data => {
                    // A record of data is never within a message that is split over others.
                    seen = 0;
                    if budget.spend_record() {
                        break Decrypted::so_far();
                    }
                }
                Next::PeerClosed => self.closed = true,
                Next::Idle { .. } if shown < left && !self.closed => {
                    if turn.discard == 0 {
                        // The first message is longer than what was shown of it.
                        seen = shown.saturating_add(WINDOW);
                    } else if budget.is_spent() {
                        break Decrypted::so_far();
                    }
                }
                Next::Idle { ready } => {
                    let end = self.closed.then_some(TlsEnd::Closed);
                    break Decrypted { ready, end };
                }
                Next::Failed(error) => {
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
        if plain.is_empty() {
            return Ok(());
        }
        self.write(Put::Data(plain), out)
    }

    /// Appends close_notify to `out`.
    pub fn close(&mut self, out: &mut OutBuf) -> Result<(), Error> {
        self.write(Put::Close, out)
    }

    fn write(&mut self, put: Put<'_>, out: &mut OutBuf) -> Result<(), Error> {
        if self.failed {
            return Err(failed_before());
        }
        loop {
            let retained = &mut self.retained[..self.seen];
            let (discard, done) = match &mut self.conn {
                Conn::Server(conn) => write_turn(conn.process_tls_records(retained), put, out)?,
                Conn::Client(conn) => write_turn(conn.process_tls_records(retained), put, out)?,
            };
            self.retained.drain(..discard);
            self.seen = self.seen.saturating_sub(discard);
            if done {
                return Ok(());
            }
        }
    }

    /// The alert that an error has queued, if it did. What rustls has queued comes before it looks at
    /// the input, which must not be processed a second time.
    fn push_alert(&mut self, rest: &mut [u8], out: &mut OutBuf) {
        while self.facts().wants_write() {
            let turn = match &mut self.conn {
                Conn::Server(conn) => read_turn(conn.process_tls_records(rest), &mut |_| {}, out),
                Conn::Client(conn) => read_turn(conn.process_tls_records(rest), &mut |_| {}, out),
            };
            if !matches!(turn.next, Next::Again) {
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

enum Next {
    Again,
    /// A record of data was decrypted.
    Data,
    PeerClosed,
    Idle {
        ready: bool,
    },
    Failed(Error),
}

struct Turn {
    discard: usize,
    next: Next,
}

fn read_turn<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plain: &mut impl FnMut(&[u8]),
    out: &mut OutBuf,
) -> Turn {
    let UnbufferedStatus { mut discard, state } = status;
    let next = match state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    plain(record.payload);
                }
                Some(Err(error)) => break Next::Failed(error),
                None => break Next::Data,
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            match fill(out, |room| data.encode(room).map_err(required_to_encode)) {
                Ok(()) => Next::Again,
                Err(error) => Next::Failed(error),
            }
        }
        Ok(ConnectionState::TransmitTlsData(transmit)) => {
            transmit.done();
            Next::Again
        }
        Ok(ConnectionState::PeerClosed) => Next::PeerClosed,
        Ok(ConnectionState::WriteTraffic(_) | ConnectionState::Closed) => {
            Next::Idle { ready: true }
        }
        Ok(ConnectionState::BlockedHandshake) => Next::Idle { ready: false },
        Ok(_) => Next::Failed(Error::General("0-RTT data, which is never enabled".into())),
        Err(error) => Next::Failed(error),
    };
    Turn { discard, next }
}

#[derive(Clone, Copy)]
enum Put<'a> {
    Data(&'a [u8]),
    Close,
}

/// One call that wants to write: how much of what was retained it used up, and whether it is done
/// or must be made again.
fn write_turn<D>(
    status: UnbufferedStatus<'_, '_, D>,
    put: Put<'_>,
    out: &mut OutBuf,
) -> Result<(usize, bool), Error> {
    let done = match status.state? {
        ConnectionState::WriteTraffic(mut traffic) => {
            fill(out, |room| {
                match put {
                    Put::Data(plain) => traffic.encrypt(plain, room),
                    Put::Close => traffic.queue_close_notify(room),
                }
                .map_err(required_to_encrypt)
            })?;
            true
        }
        ConnectionState::EncodeTlsData(mut data) => {
            fill(out, |room| data.encode(room).map_err(required_to_encode))?;
            false
        }
        ConnectionState::TransmitTlsData(transmit) => {
            transmit.done();
            false
        }
        ConnectionState::PeerClosed => false,
        // `decrypt` has drained all that was readable, and is never followed by bytes it has not seen.
        _ => return Err(Error::General("cannot write in this state".into())),
    };
    Ok((status.discard, done))
}

/// Lets `put` write into the room of `out`, with more room when it says how much it needs.
fn fill(
    out: &mut OutBuf,
    mut put: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> Result<(), Error> {
    let mut required = 0;
    loop {
        match put(out.room(required)) {
            Ok(written) => {
                out.advance(written);
                return Ok(());
            }
            Err(Some(more)) if more > required => required = more,
            Err(_) => return Err(Error::EncryptError),
        }
    }
}

fn required_to_encode(error: EncodeError) -> Option<usize> {
    match error {
        EncodeError::InsufficientSize(size) => Some(size.required_size),
        EncodeError::AlreadyEncoded => None,
    }
}

fn required_to_encrypt(error: EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(size) => Some(size.required_size),
        EncryptError::EncryptExhausted => None,
    }
}
