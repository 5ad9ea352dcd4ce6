//! Drives a handshake over a socket to its end, as client or as server.

use std::io;

use rustls::{CommonState, Error, HandshakeKind};

use super::early_data::EarlyData;
use super::handshake_notes::HandshakeNotes;
use super::turns::HandshakeTurn;
use super::wrapped_suites::SuiteHooks;
use crate::transport::{FLIGHT_CHUNK, Socket, TlsEnd, TlsState, Transport, with_scratch};

/// How a handshake failed.
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// The protocol failed. `alert` is the record to send, if there is one.
    Tls { error: Error, alert: Vec<u8> },
    /// The peer ended the connection.
    Ended,
    /// The caller did not approve an answer that would begin a handshake of this kind; nothing was sent.
    Declined(Option<HandshakeKind>),
    /// The socket failed.
    Socket(io::Error),
}

/// How a handshake waits for its peer.
pub trait AwaitPeer: Send {
    /// Waits until the socket is readable. Meanwhile the connection buffers `retained` bytes of an
    /// incomplete record or message.
    fn readable(
        &mut self,
        socket: &Socket,
        retained: usize,
    ) -> impl Future<Output = io::Result<()>> + Send;
}

/// Waits for the socket alone.
pub(super) struct WaitForPeer;

impl AwaitPeer for WaitForPeer {
    async fn readable(&mut self, socket: &Socket, _: usize) -> io::Result<()> {
        socket.readable().await
    }
}

/// The result of one synchronous step.
struct Progress {
    ready: bool,
    end: Option<TlsEnd>,
    /// Bytes that the socket did not take at once.
    unsent: Vec<u8>,
}

/// Decides whether the answer to the peer's first message may be sent. Called once, before it is sent.
pub(super) type Approve<'a> = &'a (dyn Fn(&CommonState) -> bool + Sync);

/// Gives `tls` the peer's first message (empty for a client, which speaks first) and sends the answer
/// if `approve` allows it. `notes` records what rustls does not keep.
pub(super) async fn begin(
    transport: &mut Transport,
    tls: &mut TlsState,
    first: &[u8],
    hooks: &SuiteHooks,
    notes: &mut HandshakeNotes,
    approve: Approve<'_>,
) -> Result<(), HandshakeError> {
    let input = Input::First(first, approve);
    let mut early_data = EarlyData::announced(false);
    let turn = HandshakeTurn::take().await;
    let progress = hooks.during(|| advance(transport, tls, input, &mut early_data, notes))?;
    drop(turn);
    complete_step(transport, progress).await.map(|_| ())
}

/// Drives a handshake that has begun until application data may be written.
///
/// `read` has already been read from the socket. Application data that arrives with the last flight is
/// left in the transport's `prefetched`. `peer` waits between flights.
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
        let turn = HandshakeTurn::take().await;
        let progress = advance(
            transport,
            &mut tls,
            Input::Read(read),
            &mut early_data,
            notes,
        )?;
        drop(turn);
        ready = complete_step(transport, progress).await?;
    }
    while !ready {
        peer.readable(&transport.socket, tls.retained())
            .await
            .map_err(HandshakeError::Socket)?;
        let turn = HandshakeTurn::take().await;
        let progress = advance(transport, &mut tls, Input::Socket, &mut early_data, notes)?;
        drop(turn);
        ready = complete_step(transport, progress).await?;
    }
    transport.tls = Some(tls);
    Ok(())
}

/// Writes what a step left unsent. Returns whether application data may be written.
async fn complete_step(
    transport: &mut Transport,
    progress: Progress,
) -> Result<bool, HandshakeError> {
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
    /// The peer's first message, already read; the answer needs the caller's approval.
    First(&'a [u8], Approve<'a>),
    /// Bytes already read.
    Read(&'a [u8]),
    Socket,
}

/// Processes the available input and sends rustls' output, without waiting.
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
        notes.take_recorded();
        if let Input::First(_, approve) = input
            && !approve(tls.facts())
        {
            return Err(HandshakeError::Declined(tls.facts().handshake_kind()));
        }
        let failed = matches!(decrypted.end, Some(TlsEnd::Failed(_)));
        let unsent = if failed {
            // This is the alert. The caller delivers it with a shutdown and a drain.
            scratch.output.filled().to_vec()
        } else if decrypted.ready && tls.take_flight(scratch.output.filled()) {
            Vec::new()
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

/// Writes what the socket takes at once and returns the rest.
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

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use rustls::client::UnbufferedClientConnection;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

    use super::*;
    use crate::transport::{OutBuf, TlsConn};

    /// A client's state with its last flight held back, and a server that it trusts.
    fn peers() -> (Box<TlsState>, ServerConnection) {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let key = made.signing_key.serialize_der().try_into().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let name = ServerName::try_from("a.test").unwrap();
        let client = UnbufferedClientConnection::new(Arc::new(client), name).unwrap();
        let mut tls = Box::new(TlsState::new(TlsConn::Client(client)));
        tls.hold_flight();
        (tls, ServerConnection::new(Arc::new(server)).unwrap())
    }

    #[tokio::test]
    async fn a_last_flight_that_is_held_back_goes_out_with_the_first_write() {
        let (mut tls, mut server) = peers();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap());
        let mut transport = Transport::plain(stream.await.unwrap().into());
        let (mut origin, _) = listener.accept().unwrap();
        let answering = std::thread::spawn(move || {
            while server.wants_read() && !server.wants_write() {
                server.read_tls(&mut origin).unwrap();
                server.process_new_packets().unwrap();
            }
            while server.wants_write() {
                server.write_tls(&mut origin).unwrap();
            }
            (server, origin)
        });
        let (notes, hooks) = (&mut HandshakeNotes::default(), SuiteHooks::default());
        let begun = begin(&mut transport, &mut tls, &[], &hooks, notes, &|_| true);
        begun.await.unwrap();
        let no_early_data = EarlyData::announced(false);
        finish(
            &mut transport,
            tls,
            &[],
            no_early_data,
            notes,
            &mut WaitForPeer,
        )
        .await
        .unwrap();
        let (server, origin) = answering.join().unwrap();
        origin.set_nonblocking(true).unwrap();
        let error = origin.peek(&mut [0]).unwrap_err();
        assert_eq!(
            error.kind(),
            io::ErrorKind::WouldBlock,
            "nothing is sent yet"
        );
        let mut out = OutBuf::default();
        let tls = transport.tls.as_mut().unwrap();
        tls.encrypt(b"get", &mut out).unwrap();
        transport.socket.write_all(out.filled()).await.unwrap();
        origin.set_nonblocking(false).unwrap();
        let mut received = [0; 3];
        StreamOwned::new(server, origin)
            .read_exact(&mut received)
            .unwrap();
        assert_eq!(&received, b"get");
    }
}
