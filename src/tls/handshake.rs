//! Driving a handshake of either side to its end over a socket.

use std::io;

use rustls::{CommonState, Error, HandshakeKind};

use super::early_data::EarlyData;
use super::handshake_notes::HandshakeNotes;
use super::wrapped_suites::Wanted;
use crate::transport::{FLIGHT_CHUNK, Socket, TlsEnd, TlsState, Transport, with_scratch};

/// How a handshake failed.
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// The protocol failed; `alert` tells the peer, where there is something to tell.
    Tls { error: Error, alert: Vec<u8> },
    /// The peer ended the connection.
    Ended,
    /// The caller did not consent to the answer, which would begin a handshake of this kind, and nothing
    /// of it was sent.
    Withheld(Option<HandshakeKind>),
    /// The socket failed.
    Socket(io::Error),
}

/// How a handshake waits for its peer.
pub trait AwaitPeer: Send {
    /// Waits until the peer has sent something. `retained` bytes of an unfinished record or message are
    /// held meanwhile.
    fn readable(
        &mut self,
        socket: &Socket,
        retained: usize,
    ) -> impl Future<Output = io::Result<()>> + Send;
}

/// Waits, and does nothing else.
pub(super) struct Patiently;

impl AwaitPeer for Patiently {
    async fn readable(&mut self, socket: &Socket, _: usize) -> io::Result<()> {
        socket.readable().await
    }
}

/// What one synchronous step leaves to do.
struct Progress {
    ready: bool,
    end: Option<TlsEnd>,
    /// What the socket did not take at once.
    unsent: Vec<u8>,
}

/// Whether the answer to what the peer said first may be sent; asked once it is known.
pub(super) type Consent<'a> = &'a (dyn Fn(&CommonState) -> bool + Sync);

/// Gives `tls` what the peer has said first, or nothing where we begin, and sends what it answers, if
/// `consent` is given. What rustls forgets is left in `shown`.
pub(super) async fn begin(
    transport: &mut Transport,
    tls: &mut TlsState,
    first: &[u8],
    wanted: &Wanted,
    notes: &mut HandshakeNotes,
    consent: Consent<'_>,
) -> Result<(), HandshakeError> {
    let input = Input::First(first, consent);
    let mut early_data = EarlyData::announced(false);
    let progress = wanted.during(|| advance(transport, tls, input, &mut early_data, notes))?;
    settle(transport, progress).await.map(|_| ())
}

/// Drives a handshake that has begun over the transport's socket until application data may be written.
///
/// `read` is what has already been read. Application data that comes along with the last flight is
/// left in the transport's `prefetched`. Between flights `peer` waits.
pub(super) async fn finish(
    transport: &mut Transport,
    mut tls: Box<TlsState>,
    read: &[u8],
    mut early_data: EarlyData,
    notes: &mut HandshakeNotes,
    peer: &mut impl AwaitPeer,
) -> Result<(), HandshakeError> {
    let mut ready = false;
    if !read.is_empty() {
        let progress = advance(
            transport,
            &mut tls,
            Input::Read(read),
            &mut early_data,
            notes,
        )?;
        ready = settle(transport, progress).await?;
    }
    while !ready {
        peer.readable(&transport.socket, tls.retained())
            .await
            .map_err(HandshakeError::Socket)?;
        let progress = advance(transport, &mut tls, Input::Socket, &mut early_data, notes)?;
        ready = settle(transport, progress).await?;
    }
    transport.tls = Some(tls);
    Ok(())
}

/// Does what a step has left to do. Whether application data may be written.
async fn settle(transport: &mut Transport, progress: Progress) -> Result<bool, HandshakeError> {
    if let Some(TlsEnd::Failed(error)) = progress.end {
        let alert = progress.unsent;
        return Err(HandshakeError::Tls { error, alert });
    }
    if !progress.unsent.is_empty() {
        transport
            .socket
            .write_all(&progress.unsent)
            .await
            .map_err(HandshakeError::Socket)?;
    }
    if !progress.ready && progress.end.is_some() {
        return Err(HandshakeError::Ended);
    }
    Ok(progress.ready)
}

enum Input<'a> {
    /// What has already been read, to be answered with the caller's consent.
    First(&'a [u8], Consent<'a>),
    /// What has already been read.
    Read(&'a [u8]),
    Socket,
}

/// Processes what is there and sends what rustls wants sent, without waiting for anything.
fn advance(
    transport: &mut Transport,
    tls: &mut TlsState,
    input: Input<'_>,
    early_data: &mut EarlyData,
    notes: &mut HandshakeNotes,
) -> Result<Progress, HandshakeError> {
    let Transport {
        socket, prefetched, ..
    } = transport;
    with_scratch(|scratch| {
        let overlong = || HandshakeError::Tls {
            error: Error::PeerSentOversizedRecord,
            alert: Vec::new(),
        };
        let start = tls.restore(&mut scratch.input).ok_or_else(overlong)?;
        let room = &mut scratch.input[start..];
        let len = match input {
            Input::First(bytes, _) | Input::Read(bytes) => {
                room.get_mut(..bytes.len())
                    .ok_or_else(overlong)?
                    .copy_from_slice(bytes);
                bytes.len()
            }
            Input::Socket => match socket.try_read(&mut room[..FLIGHT_CHUNK]) {
                Ok(0) => return Err(HandshakeError::Ended),
                Ok(len) => len,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
                Err(e) => return Err(HandshakeError::Socket(e)),
            },
        };
        let filled = &mut scratch.input[..start + len];
        let plain = |plain: &[u8]| prefetched.extend_from_slice(plain);
        let decrypted = early_data.decrypt(tls, filled, plain, &mut scratch.output);
        notes.take_notes();
        if let Input::First(_, consent) = input
            && !consent(tls.facts())
        {
            return Err(HandshakeError::Withheld(tls.facts().handshake_kind()));
        }
        let failed = matches!(decrypted.end, Some(TlsEnd::Failed(_)));
        let unsent = if failed {
            // The alert is the close_with, which is sent with more care than a flight.
            scratch.output.filled().to_vec()
        } else {
            send(socket, scratch.output.filled())?
        };
        Ok(Progress {
            ready: decrypted.ready,
            end: decrypted.end,
            unsent,
        })
    })
}

/// Sends what the socket takes at once and returns the rest.
fn send(socket: &Socket, bytes: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    match socket.try_write(bytes) {
        Ok(sent) => Ok(bytes[sent..].to_vec()),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(bytes.to_vec()),
        Err(e) => Err(HandshakeError::Socket(e)),
    }
}
