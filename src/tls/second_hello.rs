//! The second ClientHello, which answers a HelloRetryRequest (RFC 8446 section 4.1.2). Its route was
//! chosen by the first one, so what that was chosen by must be the same.

use std::io;

use rustls::{AlertDescription, Error};

use super::classify::alert_record;
use super::early_data::{APPLICATION_DATA, CHANGE_CIPHER_SPEC, EarlyData, HANDSHAKE, record_len};
use super::handshake::{AwaitPeer, HandshakeError};
use super::hello::{HELLO_MAX, Hello, Parser};
use crate::transport::{Transport, with_scratch};

/// How much one read may take.
const READ: usize = 16 * 1024;

/// Reads the second hello from the transport's socket, `read` being what has come of it already. What is
/// returned is to be given to rustls: it holds the hello, and all that came with it but for early data.
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
    let mut whole = second.feed(read)?;
    while !whole {
        let held = second.wire.len() + second.rest.len();
        peer.readable(&transport.socket, held)
            .await
            .map_err(HandshakeError::Socket)?;
        whole = with_scratch(|scratch| {
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
    /// All records that rustls is to see.
    wire: Vec<u8>,
    /// What has come of the next one.
    rest: Vec<u8>,
}

impl SecondHello<'_> {
    /// Takes in what was read. Whether rustls can go on: the hello is whole, or what came is none, which
    /// rustls then has to say.
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
                        Err(_) => return Ok(true),
                    }
                }
                _ => return Ok(true),
            }
        }
        Ok(self.wire.len() + self.rest.len() > HELLO_MAX)
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
