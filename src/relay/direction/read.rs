//! The source of a direction: read, decrypt, and encrypt for a sink that has TLS.

use std::io;
use std::task::{Context, Poll, ready};

use super::{Abort, Direction, DirectionState};
use crate::relay::limits::OnTruncation;
use crate::transport::{Budget, OutBuf, READ_CHUNK, Scratch, TlsEnd, TlsState, Transport};

/// How often the size of a read is halved when the source sends many small records: bytes that a turn does
/// not decrypt are copied twice.
const HALVINGS: u8 = 3;

impl Direction {
    /// Reads once, as many bytes as the budget has, unless the last turn left bytes to decrypt, and passes
    /// the bytes on. An error is the sink's.
    pub(super) fn fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Transport,
        to: &mut Transport,
        back: &mut Self,
        scratch: &mut Scratch,
        budget: &mut Budget,
    ) -> Poll<io::Result<()>> {
        let Scratch { input, output } = scratch;
        let start = match &from.tls {
            Some(tls) => tls.restore(input),
            None => Some(0),
        };
        let Some(start) = start else {
            self.abort(Abort::Failed(rustls::Error::PeerSentOversizedRecord));
            return Poll::Ready(Ok(()));
        };
        let backlog = from.tls.as_ref().is_some_and(|tls| tls.has_backlog());
        let len = if backlog {
            0
        } else {
            let room = &mut input[start..start + self.read_max().min(budget.bytes())];
            match ready!(from.socket.poll_read(cx, room)) {
                Ok(0) => {
                    self.source_ended(from);
                    return Poll::Ready(Ok(()));
                }
                Ok(len) => len,
                Err(error) => {
                    self.abort(Abort::Reset(error));
                    return Poll::Ready(Ok(()));
                }
            }
        };
        if !backlog {
            self.count_read(len);
        }
        let filled = &mut input[..start + len];
        match &mut from.tls {
            Some(tls) => {
                self.decrypt(tls, filled, to, back, output, budget);
                self.adapt(len, tls.has_backlog());
                self.send(cx, to, output.filled())
            }
            None => {
                self.moved += len as u64;
                match &mut to.tls {
                    None => self.send(cx, to, filled),
                    Some(tls) => {
                        if let Err(error) = tls.encrypt(filled, output) {
                            self.abort(Abort::Failed(error));
                        }
                        self.send(cx, to, output.filled())
                    }
                }
            }
        }
    }

    /// How many bytes a read asks for.
    const fn read_max(&self) -> usize {
        READ_CHUNK >> self.halvings
    }

    /// Reads less from a source whose records are so small that a turn does not decrypt a whole read, and
    /// more again once it does.
    const fn adapt(&mut self, read: usize, backlog: bool) {
        if backlog {
            self.halvings = HALVINGS;
        } else if read == self.read_max() {
            self.halvings = self.halvings.saturating_sub(1);
        }
    }

    /// Decrypts the bytes read. Plaintext goes to `output`, encrypted again if the sink has TLS.
    fn decrypt(
        &mut self,
        tls: &mut TlsState,
        filled: &mut [u8],
        to: &mut Transport,
        back: &mut Self,
        output: &mut OutBuf,
        budget: &mut Budget,
    ) {
        let mut replies = OutBuf::default();
        let mut encrypted = Ok(());
        let pass_on = |plain: &[u8]| {
            self.moved += plain.len() as u64;
            match &mut to.tls {
                None => output.push(plain),
                Some(tls) if encrypted.is_ok() => encrypted = tls.encrypt(plain, output),
                Some(_) => {}
            }
        };
        let decrypted = tls.decrypt(filled, pass_on, &mut replies, budget);
        back.reply(replies.filled());
        match (encrypted, decrypted.end) {
            (Err(error), _) | (_, Some(TlsEnd::Failed(error))) => self.abort(Abort::Failed(error)),
            (_, Some(TlsEnd::Closed)) => self.end_well(),
            (_, None) => {}
        }
    }

    /// Handles the end of the source's socket.
    pub(super) fn source_ended(&mut self, from: &Transport) {
        let closed = from.tls.as_ref().is_none_or(|tls| tls.is_closed());
        match self.source_error.take() {
            Some(error) => self.abort(Abort::Reset(error)),
            None if !closed && self.on_truncation == OnTruncation::Reset => {
                self.abort(Abort::Truncated);
            }
            None => self.end_well(),
        }
    }

    /// Handles a clean end of the source.
    fn end_well(&mut self) {
        self.ended_well = true;
        self.state = DirectionState::Ending {
            close_queued: false,
        };
    }
}
