//! Reads the ClientHello, with one parser for every mode.
//!
//! A recording reader feeds rustls' `Acceptor`. The recorded bytes are then replayed: to the origin
//! verbatim (passthrough), or into the handshake (terminate, reencrypt). No decision depends on how the
//! hello was split into records or segments: it is made once the parser has all of the hello, and the
//! size limit counts bytes on the wire.
//!
//! The parser refuses hellos without `signature_algorithms` (TLS 1.1 and older) in every mode, also in
//! passthrough.

use rustls::server::{Accepted, Acceptor};
use rustls::{
    AlertDescription, CipherSuite, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved,
};

use super::classify::alert_record;
use super::early_data::HANDSHAKE;
use super::foreign;
use super::suites::Suite;
use super::words;
use crate::outcome::{CloseWith, Failure, Reason};
use crate::transport::Socket;

/// The most bytes that a ClientHello may take on the wire, record headers included: the limit of
/// rustls' parser.
pub const HELLO_MAX: usize = 65_535;

/// The size on the wire above which a hello counts as large. Hellos take less than 2 KiB, except with a
/// large ticket.
pub const HELLO_SMALL: usize = 4 * 1024;

/// The most bytes of one read of a large hello.
const HELLO_READ: usize = 16 * 1024;

/// A parsed ClientHello.
#[derive(Debug, Default)]
pub struct Hello {
    /// The server name as sent, lower-cased, not yet normalised; also absent if it is an IP address.
    pub server_name: Option<String>,
    /// The application protocols offered, in the client's order.
    pub alpn: Vec<Vec<u8>>,
    /// Whether the client's first AEAD suite is ChaCha20-Poly1305: it has no fast AES.
    pub prefers_chacha: bool,
    /// All bytes read so far: the hello and what followed it.
    pub bytes: Vec<u8>,
}

/// Reads a ClientHello from `socket` until it is complete, or until `max` bytes are read, which returns
/// `None`. `bytes` holds the part that was read before. On success they move into the hello; otherwise
/// they stay in `bytes`, to read on or to describe a client that does not speak TLS.
pub async fn read(
    parser: &mut Parser,
    socket: &mut Socket,
    bytes: &mut Vec<u8>,
    max: usize,
) -> Result<Option<Hello>, Failure> {
    loop {
        if let Some(hello) = parser.feed(bytes)? {
            let bytes = std::mem::take(bytes);
            return Ok(Some(Hello { bytes, ..hello }));
        }
        if bytes.len() >= max {
            return Ok(None);
        }
        if read_more(socket, bytes, max).await? == 0 {
            let reason = if bytes.is_empty() {
                Reason::ProbeEof
            } else {
                Reason::ClientClosed
            };
            return Err(reason.into());
        }
    }
}

/// Parses the captured records of a ClientHello.
pub fn captured(bytes: Vec<u8>) -> Result<Hello, Failure> {
    match Parser::default().feed(&bytes)? {
        Some(hello) => Ok(Hello { bytes, ..hello }),
        None => Err(Failure::new(Reason::HelloMalformed).detail("it is incomplete")),
    }
}

async fn read_more(socket: &mut Socket, bytes: &mut Vec<u8>, max: usize) -> Result<usize, Failure> {
    let room = (max - bytes.len()).min(HELLO_READ);
    let read = socket.read_onto(bytes, room).await;
    read.map_err(|e| Failure::new(Reason::ClientReset).detail(e.to_string()))
}

/// The parser of one hello, and how many of the recorded bytes it has consumed.
#[derive(Default)]
pub struct Parser {
    acceptor: Acceptor,
    fed: usize,
}

impl Parser {
    /// Feeds the new part of `bytes`, which are all bytes received so far, at most [`HELLO_MAX`].
    /// `None` means that the hello is incomplete.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<Hello>, Failure> {
        while let Some(mut rest) = bytes.get(self.fed..).filter(|rest| !rest.is_empty()) {
            let before = rest.len();
            if self.acceptor.read_tls(&mut rest).is_err() {
                return Err(refusal(
                    Reason::HelloTooLarge,
                    AlertDescription::IllegalParameter,
                ));
            }
            self.fed += before - rest.len();
            match self.acceptor.accept() {
                Ok(Some(accepted)) => return Ok(Some(describe(&accepted))),
                Ok(None) if before == rest.len() => break,
                Ok(None) => {}
                Err((error, _)) if is_another_message(bytes, &error) => return Err(unexpected()),
                Err((error, _)) => return Err(classify(&error, bytes)),
            }
        }
        if bytes.len() >= HELLO_MAX {
            return Err(refusal(
                Reason::HelloTooLarge,
                AlertDescription::IllegalParameter,
            ));
        }
        Ok(None)
    }
}

/// Whether the parser failed at a whole handshake message that is no ClientHello. Errors in the header of a
/// record come before its content, and must not depend on whether that has come, too.
fn is_another_message(bytes: &[u8], error: &Error) -> bool {
    use InvalidMessage as M;
    const CLIENT_HELLO: u8 = 1;
    let in_header = matches!(
        error,
        Error::InvalidMessage(
            M::InvalidContentType
                | M::UnknownProtocolVersion
                | M::MessageTooLarge
                | M::InvalidEmptyPayload
                | M::HandshakePayloadTooLarge
        )
    );
    let kind = match bytes {
        [HANDSHAKE, _, _, high, low, kind, ..] if (*high, *low) != (0, 0) => Some(*kind),
        _ => None,
    };
    !in_header && kind.is_some_and(|kind| kind != CLIENT_HELLO)
}

/// The refusal of another message than a ClientHello (RFC 8446 section 4).
fn unexpected() -> Failure {
    refusal(Reason::HelloMalformed, AlertDescription::UnexpectedMessage)
        .detail("the first message is no ClientHello")
}

fn describe(accepted: &Accepted) -> Hello {
    let hello = accepted.client_hello();
    Hello {
        server_name: hello.server_name().map(str::to_owned),
        alpn: hello
            .alpn()
            .map(|names| names.map(<[u8]>::to_vec).collect())
            .unwrap_or_default(),
        prefers_chacha: prefers_chacha(hello.cipher_suites()),
        bytes: Vec::new(),
    }
}

fn prefers_chacha(suites: &[CipherSuite]) -> bool {
    let first = suites.iter().find_map(|number| Suite::of(*number));
    first.is_some_and(|suite| suite.is_chacha)
}

/// Maps a parse error to a refusal. rustls' own alert is not used: for several of these errors it has
/// none, and clients of old versions should get `protocol_version`.
fn classify(error: &Error, bytes: &[u8]) -> Failure {
    use {AlertDescription as A, InvalidMessage as M, PeerIncompatible as P};
    let (reason, alert) = match error {
        Error::InvalidMessage(M::InvalidContentType | M::UnknownProtocolVersion) => {
            (Reason::NotTls, A::UnexpectedMessage)
        }
        // Another record before, or inside, the ClientHello (RFC 8446 sections 4 and 5.1).
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::AlertReceived(_)
        | Error::PeerMisbehaved(PeerMisbehaved::MessageInterleavedWithHandshakeMessage) => {
            (Reason::HelloMalformed, A::UnexpectedMessage)
        }
        Error::InvalidMessage(M::HandshakePayloadTooLarge) => {
            (Reason::HelloTooLarge, A::IllegalParameter)
        }
        Error::PeerIncompatible(
            P::SignatureAlgorithmsExtensionRequired
            | P::Tls12NotOffered
            | P::Tls12NotOfferedOrEnabled
            | P::SupportedVersionsExtensionRequired,
        ) => (Reason::NoCommonVersion, A::ProtocolVersion),
        Error::PeerIncompatible(_) => (Reason::HelloUnsupported, A::IllegalParameter),
        Error::PeerMisbehaved(_) => (Reason::HelloMalformed, A::IllegalParameter),
        _ => (Reason::HelloMalformed, A::DecodeError),
    };
    refusal(reason, alert).detail(match reason {
        Reason::NotTls => foreign::describe(bytes),
        Reason::NoCommonVersion => {
            foreign::describe_old(bytes).unwrap_or_else(|| words::tls(error))
        }
        _ => words::tls(error),
    })
}

fn refusal(reason: Reason, alert: AlertDescription) -> Failure {
    Failure::new(reason).close_with(CloseWith::Alert(alert_record(alert)))
}
