//! The sink of a direction: write, keep what it does not take, and pass the end on.

use std::io;
use std::task::{Context, Poll, ready};

use super::{Abort, Direction, DirectionState, Discard, fault};
use crate::transport::{OutBuf, Transport};

impl Direction {
    /// Sends the pending bytes.
    pub(super) fn deliver(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Transport,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.pending.len() {
            let n = ready!(to.socket.poll_write(cx, &self.pending[self.sent..]))?;
            self.sent += n;
            self.written += n as u64;
        }
        // A direction holds memory only while bytes are in flight.
        self.pending = Vec::new();
        self.sent = 0;
        while let Some(pipe) = &mut self.pipe {
            if pipe.buffered() == 0 {
                self.pipe = None;
                break;
            }
            self.written += ready!(to.socket.poll_splice_out(cx, pipe))? as u64;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends `bytes` and keeps those that the sink does not take at once.
    pub(super) fn send(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Transport,
        mut bytes: &[u8],
    ) -> Poll<io::Result<()>> {
        fault::inject(self.moved);
        while !bytes.is_empty() {
            match to.socket.poll_write(cx, bytes) {
                Poll::Ready(Ok(n)) => {
                    self.written += n as u64;
                    bytes = &bytes[n..];
                }
                Poll::Ready(Err(error)) => {
                    self.dropped = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                    return Poll::Ready(Err(error));
                }
                Poll::Pending => {
                    self.pending = bytes.to_vec();
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Queues close_notify if the sink has TLS.
    pub(super) fn queue_close(&mut self, to: &mut Transport) {
        self.state = DirectionState::Ending { close_queued: true };
        if let Some(tls) = &mut to.tls {
            let mut out = OutBuf::default();
            match tls.close(&mut out) {
                Ok(()) => self.pending = out.filled().to_vec(),
                Err(error) => self.abort(Abort::Failed(error)),
            }
        }
    }

    /// Queues a TLS reply to our sink (an alert, a key update) behind the pending bytes.
    pub(super) fn reply(&mut self, bytes: &[u8]) {
        if bytes.is_empty()
            || matches!(
                self.state,
                DirectionState::Ending { close_queued: true }
                    | DirectionState::Done
                    | DirectionState::SinkGone
            )
        {
            return;
        }
        self.pending.extend_from_slice(bytes);
        self.dirty = true;
    }

    /// Handles an error of the sink: discards what it has not taken.
    pub(super) fn lose_sink(&mut self, error: io::Error, discard: Discard, back: &mut Self) {
        self.dropped = u32::try_from(self.buffered()).unwrap_or(u32::MAX);
        self.discard = match back.has_aborted() {
            true => Discard::AfterAbort,
            false => discard,
        };
        self.state = DirectionState::SinkGone;
        self.pending = Vec::new();
        self.sent = 0;
        self.pipe = None;
        back.source_error = Some(error);
        back.dirty = true;
    }
}
