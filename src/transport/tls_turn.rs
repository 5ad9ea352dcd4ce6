//! One call into rustls: what it did with the input, and what it wants next.

use rustls::Error;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

use super::scratch::OutBuf;

pub(super) enum TurnStep {
    Again,
    /// A record of data was decrypted.
    Data,
    PeerClosed,
    Idle {
        ready: bool,
    },
    Failed(Error),
}

pub(super) struct Turn {
    pub(super) discard: usize,
    pub(super) next: TurnStep,
}

pub(super) fn read_turn<D>(
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
                Some(Err(error)) => break TurnStep::Failed(error),
                None => break TurnStep::Data,
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            match fill(out, |room| data.encode(room).map_err(required_to_encode)) {
                Ok(()) => TurnStep::Again,
                Err(error) => TurnStep::Failed(error),
            }
        }
        Ok(ConnectionState::TransmitTlsData(transmit)) => {
            transmit.done();
            TurnStep::Again
        }
        Ok(ConnectionState::PeerClosed) => TurnStep::PeerClosed,
        Ok(ConnectionState::WriteTraffic(_) | ConnectionState::Closed) => {
            TurnStep::Idle { ready: true }
        }
        Ok(ConnectionState::BlockedHandshake) => TurnStep::Idle { ready: false },
        Ok(_) => TurnStep::Failed(Error::General("0-RTT data, which is never enabled".into())),
        Err(error) => TurnStep::Failed(error),
    };
    Turn { discard, next }
}

#[derive(Clone, Copy)]
pub(super) enum Put<'a> {
    Data(&'a [u8]),
    Close,
}

/// Handles one call made in order to write. Returns how many retained bytes it used up, and whether the write
/// is done or the call must be repeated.
pub(super) fn write_turn<D>(
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
        // `decrypt` has processed all readable input, and `write` passes only bytes that it has seen.
        _ => return Err(Error::General("cannot write in this state".into())),
    };
    Ok((status.discard, done))
}

/// Calls `put` with the room of `out`, and again with more room if it reports how much it needs.
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
