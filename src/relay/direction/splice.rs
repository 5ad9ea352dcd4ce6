//! Streams in bulk between two plain sides: spliced through a pipe instead of copied.

use std::task::{Context, Poll};

use super::{Abort, Direction, State, fault};
use crate::transport::{Pipe, Transport};

/// After so many reads in a row that moved at least [`BULK`] bytes, bytes are spliced where both sides
/// are plain. Splicing small amounts costs more than copying them.
const BULK_READS: u8 = 4;

/// What a read or a splice moves at least while a stream is in bulk.
const BULK: usize = 16 * 1024;

impl Direction {
    /// Takes note of how much a read gave.
    pub(super) const fn count_read(&mut self, len: usize) {
        self.bulk_reads = if len >= BULK {
            self.bulk_reads.saturating_add(1)
        } else {
            0
        };
    }

    /// Whether the next bytes are to be spliced; there may be no pipe for them.
    pub(super) fn splices(&mut self, from: &Transport, to: &Transport) -> bool {
        let plain = from.tls.is_none() && to.tls.is_none();
        if self.bulk_reads < BULK_READS {
            return false;
        }
        if plain && from.socket.can_splice() && to.socket.can_splice() {
            self.pipe = self.pipe.take().or_else(Pipe::borrow);
        }
        self.pipe.is_some()
    }

    /// Takes in what the source has, by splicing. The pipe is empty.
    pub(super) fn splice(&mut self, cx: &mut Context<'_>, from: &mut Transport) -> Poll<()> {
        let Some(pipe) = &mut self.pipe else {
            return Poll::Ready(());
        };
        match from.socket.poll_splice_in(cx, pipe) {
            Poll::Pending => {
                // Nothing is in flight, so the pipe goes back; the next bytes may be bulk again.
                self.pipe = None;
                return Poll::Pending;
            }
            Poll::Ready(Ok(0)) => self.source_ended(from),
            Poll::Ready(Ok(moved)) => {
                self.moved += moved as u64;
                fault::inject(self.moved);
                if moved < BULK {
                    self.bulk_reads = 0;
                }
            }
            Poll::Ready(Err(error)) => self.state = State::Abort(Abort::Reset(error)),
        }
        Poll::Ready(())
    }
}
