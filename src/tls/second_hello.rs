//! The second ClientHello, which answers a HelloRetryRequest (RFC 8446 section 4.1.2). The first one
//! has selected the route, so the server name and the protocols of the second must be the same.

use std::io;

use rustls::{AlertDescription, Error};

use super::classify::alert_record;
use super::early_data::{
    APPLICATION_DATA, CHANGE_CIPHER_SPEC, EarlyData, HANDSHAKE, HEADER, record_len,
};
use super::handshake::{AwaitPeer, HandshakeError};
use super::hello::{HELLO_MAX, Hello, Parser};
use crate::outcome::Reason;
use crate::transport::{Transport, with_scratch};

/// A record with an alert (RFC 8446 section 6), and the level of an alert that is not fatal.
const ALERT: u8 = 21;
const WARNING: u8 = 1;

/// The most bytes of one read.
const READ: usize = 16 * 1024;

/// Reads the second hello from the transport's socket; `read` is its part that has been read already.
/// Returns the input for rustls: the hello and all that came with it, without early data.
pub(super) async fn read(
    transport: &mut Transport,
    first: &Hello,
    early_data: EarlyData,
    read: &[u8],
    peer: &mut impl AwaitPeer,
) -> Result<Vec<u8>, HandshakeError> {
    let mut second = SecondHello {
        first,
        early_data,
        parser: Parser::default(),
        hello: Vec::new(),
        wire: Vec::new(),
        rest: Vec::new(),
    };
    let mut complete = second.feed(read)?;
    while !complete {
        let retained = second.wire.len() + second.rest.len();
        peer.readable(&transport.socket, retained)
            .await
            .map_err(HandshakeError::Socket)?;
        complete = with_scratch(|scratch| {
            let room = &mut scratch.input[..READ];
            match transport.socket.try_read(room) {
                Ok(0) => Err(HandshakeError::Ended),
                Ok(len) => second.feed(&room[..len]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
                Err(e) => Err(HandshakeError::Socket(e)),
            }
        })?;
    }
    second.wire.append(&mut second.rest);
    Ok(second.wire)
}

struct SecondHello<'a> {
    first: &'a Hello,
    early_data: EarlyData,
    parser: Parser,
    /// The records of the hello.
    hello: Vec<u8>,
    /// All records for rustls.
    wire: Vec<u8>,
    /// The incomplete next record.
    rest: Vec<u8>,
}

impl SecondHello<'_> {
    /// Adds bytes that were read. Returns whether rustls can go on: the hello is complete, or the input
    /// is no hello, which rustls then refuses. rustls does not compare ALPN protocols, so it must not get
    /// a hello that was not compared here.
    fn feed(&mut self, bytes: &[u8]) -> Result<bool, HandshakeError> {
        self.rest.extend_from_slice(bytes);
        while let Some(len) = record_len(&self.rest) {
            let record: Vec<u8> = self.rest.drain(..len).collect();
            let kind = record.first().copied();
            if kind == Some(APPLICATION_DATA) && self.early_data.is_expected() {
                self.early_data
                    .skip(len)
                    .map_err(|error| HandshakeError::Tls {
                        error,
                        alert: alert_record(AlertDescription::UnexpectedMessage),
                    })?;
                continue;
            }
            self.wire.extend_from_slice(&record);
            match kind {
                Some(CHANGE_CIPHER_SPEC) => {}
                Some(HANDSHAKE) => {
                    self.hello.extend_from_slice(&record);
                    match self.parser.feed(&self.hello) {
                        Ok(None) => {}
                        Ok(Some(second)) => return self.compare(&second).map(|()| true),
                        Err(refusal) if refusal.reason == Reason::HelloTooLarge => {
                            return Err(too_large());
                        }
                        Err(_) => return Ok(true),
                    }
                }
                // rustls ignores some warnings, and the hello may follow.
                Some(ALERT) if record.get(HEADER) == Some(&WARNING) => {}
                _ => return Ok(true),
            }
        }
        if self.wire.len() + self.rest.len() > HELLO_MAX {
            return Err(too_large());
        }
        Ok(false)
    }

    fn compare(&self, second: &Hello) -> Result<(), HandshakeError> {
        if (&second.server_name, &second.alpn) == (&self.first.server_name, &self.first.alpn) {
            return Ok(());
        }
        Err(HandshakeError::Tls {
            error: Error::General(
                "the second ClientHello has another server name, or offers other protocols, than the first"
                    .into(),
            ),
            alert: alert_record(AlertDescription::IllegalParameter),
        })
    }
}

fn too_large() -> HandshakeError {
    HandshakeError::Tls {
        error: Error::General(format!(
            "the second ClientHello takes more than {HELLO_MAX} bytes"
        )),
        alert: alert_record(AlertDescription::IllegalParameter),
    }
}
