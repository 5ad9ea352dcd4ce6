//! Splicing: bulk data between two plain sockets moves through a pipe instead of our memory.

use std::task::{Context, Poll};

use super::{Abort, Direction, fault};
use crate::transport::{Budget, Pipe, Transport};

/// A direction between plain sockets splices after this many consecutive reads of at least [`BULK`] bytes.
/// Splicing small amounts costs more than copying them.
const BULK_READS: u8 = 4;

/// The least that a read or a splice moves, in bytes, to count as bulk.
const BULK: usize = 16 * 1024;

impl Direction {
    /// Counts a read of this length.
    pub(super) const fn count_read(&mut self, len: usize) {
        self.bulk_reads = if len >= BULK {
            self.bulk_reads.saturating_add(1)
        } else {
            0
        };
    }

    /// Whether to splice the next bytes. Borrows a pipe for them; without one they are copied.
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

    /// Splices as many bytes as the budget has from the source into the pipe, which is empty.
    pub(super) fn splice(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Transport,
        budget: &Budget,
    ) -> Poll<()> {
        let Some(pipe) = &mut self.pipe else {
            return Poll::Ready(());
        };
        match from.socket.poll_splice_in(cx, pipe, budget.bytes()) {
            Poll::Pending => {
                // Nothing is in flight, so the pipe goes back to the worker; the next bytes may be bulk
                // again.
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
            Poll::Ready(Err(error)) => self.abort(Abort::Reset(error)),
        }
        Poll::Ready(())
    }
}
