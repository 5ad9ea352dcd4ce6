//! The reads and writes of a dialogue, and what its end means.

use std::io;

use tokio::time::{Instant, timeout_at};

use super::ask::Ask;
use super::dialogue::{Dialogue, Greeted, Negotiate, Protocol, RECEIVED_MAX, Step};
use super::greeting;
use super::serve::Serve;
use crate::outcome::{CloseWith, Failure, OriginRefusal, Reason};
use crate::transport::{Socket, Transport};

/// How many bytes are read at once: most messages are far shorter.
const READ: usize = 4096;

/// Why TLS did not begin.
pub(super) enum Interrupted {
    /// The peer ended its stream; whether it had not sent a byte.
    Ended { silent: bool },
    /// The connection failed.
    Socket(io::Error),
    /// What came is not of the protocol.
    Unknown,
    /// The peer ended the dialogue as the protocol allows; these bytes answer it.
    Quit(Vec<u8>),
    /// The peer asked for something else than TLS, or refused it.
    Refused { answer: Vec<u8>, why: String },
    /// The peer violated the protocol.
    Violated { answer: Vec<u8>, why: &'static str },
}

impl Negotiate {
    /// Serves a client until it begins with TLS. `bytes` are those that it has sent already; then they are
    /// the start of its hello if it began with TLS at once, and empty otherwise.
    ///
    /// `received` counts the bytes of the client. A failure without a detail means that what came, and still
    /// is in `bytes`, is not of the protocol.
    pub async fn with_client(
        &self,
        socket: &mut Socket,
        bytes: &mut Vec<u8>,
        received: &mut usize,
    ) -> Result<(), Failure> {
        let mut dialogue = Serve::new(self.protocol, &self.name);
        let refused = Failure::new(Reason::NegotiateRefused);
        *received = bytes.len();
        match drive(&mut dialogue, socket, bytes, received).await {
            Ok(()) => Ok(()),
            Err(Interrupted::Ended { silent: true }) => Err(Reason::ProbeEof.into()),
            Err(Interrupted::Ended { silent: false }) => Err(Reason::ClientClosed.into()),
            Err(Interrupted::Socket(error)) => {
                Err(Failure::new(Reason::ClientReset).detail(error.to_string()))
            }
            Err(Interrupted::Unknown) => Err(refused),
            Err(Interrupted::Quit(answer)) => {
                Err(Failure::new(Reason::ClientClosed).close_with(CloseWith::Alert(answer)))
            }
            Err(Interrupted::Refused { answer, why }) => {
                Err(refused.detail(why).close_with(CloseWith::Alert(answer)))
            }
            Err(Interrupted::Violated { answer, why }) => {
                Err(refused.detail(why).close_with(CloseWith::Alert(answer)))
            }
        }
    }

    /// Asks an origin, which we call `server`, to begin TLS.
    pub async fn with_origin(
        &self,
        server: &str,
        socket: &mut Socket,
        deadline: Instant,
    ) -> Result<(), OriginRefusal> {
        let mut dialogue = Ask::new(self.protocol, &self.name, server);
        let mut bytes = Vec::new();
        let driven = timeout_at(deadline, drive(&mut dialogue, socket, &mut bytes, &mut 0)).await;
        let interrupted = match driven {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(interrupted)) => interrupted,
            Err(_) => return Err(retry(Failure::new(Reason::OriginTlsTimeout))),
        };
        let refused = Failure::new(Reason::OriginTlsRefused);
        Err(match interrupted {
            Interrupted::Ended { .. } => retry(Failure::new(Reason::OriginClosed)),
            Interrupted::Socket(error) => retry(reset(&error)),
            Interrupted::Refused { why, .. } => last(refused.detail(why)),
            Interrupted::Violated { why, .. } => {
                last(Failure::new(Reason::OriginTlsError).detail(why))
            }
            Interrupted::Unknown | Interrupted::Quit(_) => last(refused),
        })
    }
}

pub(super) const fn retry(failure: Failure) -> OriginRefusal {
    OriginRefusal {
        failure,
        may_retry: true,
    }
}

/// The next origin is not asked: it would hide a server without TLS.
pub(super) const fn last(failure: Failure) -> OriginRefusal {
    OriginRefusal {
        failure,
        may_retry: false,
    }
}

/// A connection that failed.
pub(super) fn reset(error: &io::Error) -> Failure {
    let failure = Failure::new(match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Reason::OriginReset,
        _ => Reason::OriginUnreachable,
    });
    failure.detail(error.to_string())
}

/// Runs a dialogue until TLS begins.
pub(super) async fn drive(
    dialogue: &mut impl Dialogue,
    socket: &mut Socket,
    bytes: &mut Vec<u8>,
    received: &mut usize,
) -> Result<(), Interrupted> {
    send(socket, &dialogue.opening()).await?;
    loop {
        match dialogue.next(bytes) {
            Step::Read => *received += read(dialogue, socket, bytes, *received).await?,
            Step::Send(answer) => send(socket, &answer).await?,
            // A peer that waits for the answer, as it must, has sent nothing else.
            Step::Tls(_) if !bytes.is_empty() || socket.readable_bytes() > 0 => {
                let why = "bytes came before the answer to the request for TLS";
                return Err(violated(dialogue, why));
            }
            Step::Tls(answer) => return send(socket, &answer).await,
            Step::Direct => return Ok(()),
            Step::Unknown => return Err(Interrupted::Unknown),
            Step::Quit(answer) => return Err(Interrupted::Quit(answer)),
            Step::Refuse { answer, why } => return Err(Interrupted::Refused { answer, why }),
        }
    }
}

async fn send(socket: &mut Socket, bytes: &[u8]) -> Result<(), Interrupted> {
    if bytes.is_empty() {
        return Ok(());
    }
    socket.write_all(bytes).await.map_err(Interrupted::Socket)
}

/// Reads more, and returns how much.
async fn read(
    dialogue: &impl Dialogue,
    socket: &mut Socket,
    bytes: &mut Vec<u8>,
    received: usize,
) -> Result<usize, Interrupted> {
    let room = RECEIVED_MAX.saturating_sub(received).min(READ);
    if room == 0 {
        return Err(violated(dialogue, "more than 16 KiB before TLS"));
    }
    match socket.read_onto(bytes, room).await {
        Ok(0) => Err(Interrupted::Ended {
            silent: received == 0,
        }),
        Ok(len) => Ok(len),
        Err(error) => Err(Interrupted::Socket(error)),
    }
}

fn violated(dialogue: &impl Dialogue, why: &'static str) -> Interrupted {
    Interrupted::Violated {
        answer: dialogue.objection(why),
        why,
    }
}

/// Reads the greeting of an origin whose client has had ours, until `deadline`. Bytes behind it stay in
/// `prefetched`. A server that does not welcome us is as one that refuses the connection.
pub async fn read_greeting(
    protocol: Protocol,
    transport: &mut Transport,
    deadline: Instant,
) -> Result<(), OriginRefusal> {
    let refused = Failure::new(Reason::OriginRefused);
    match timeout_at(deadline, greeting_of(protocol, transport)).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(said))) => Err(retry(refused.detail(format!("its greeting is {said}")))),
        Ok(Err(error)) => Err(retry(
            Failure::new(Reason::OriginClosed).detail(format!("before its greeting: {error}")),
        )),
        Err(_) => Err(retry(
            Failure::new(Reason::OriginConnectTimeout).detail("it sent no greeting"),
        )),
    }
}

async fn greeting_of(protocol: Protocol, transport: &mut Transport) -> io::Result<Greeted> {
    let mut bytes = Vec::new();
    loop {
        if let Some(greeted) = greeting::take(protocol, &mut bytes) {
            transport.prefetched = bytes;
            return Ok(greeted);
        }
        if bytes.len() > RECEIVED_MAX {
            return Ok(Err("longer than 16 KiB".to_owned()));
        }
        let read = transport.read().await?;
        if read.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&read);
    }
}
