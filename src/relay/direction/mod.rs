//! One direction of a relay: its state and its turns. This is the hot loop.

mod paced;
mod read;
mod splice;
mod write;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use tokio::task::yield_now;

use super::fault;
use super::limits::OnTruncation;
use super::pace::Pace;
use crate::transport::{Budget, OutBuf, Pipe, Transport, with_scratch};

/// How many reads a direction may do per turn before the worker serves its other connections. A second one
/// follows only a small read: it mostly finds that there is no more. After a large one it would be cut by the
/// budget, and the bytes that a turn leaves are copied twice.
const ROUNDS: usize = 2;

/// How a source aborted.
#[derive(Debug)]
pub(super) enum Abort {
    /// It reset its connection.
    Reset(io::Error),
    /// Its TLS stream ended without close_notify.
    Truncated,
    /// It violated TLS or sent an alert.
    Failed(rustls::Error),
}

enum DirectionState {
    /// The source may send more.
    Open,
    /// The source has ended cleanly; the sink gets the pending bytes, then close_notify, then FIN.
    Ending { close_queued: bool },
    /// The end has been passed on.
    Done,
    /// The source has aborted, which ends the relay. Boxed, because every direction pays for the variant.
    Abort(Box<Abort>),
    /// The sink is gone, so the source is no longer read.
    SinkGone,
}

/// When the bytes had come that were discarded because the sink is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Discard {
    /// Before the sink was gone: they waited for it.
    Queued,
    /// The sink was gone before they were read, though its reset was not read yet.
    JustRead,
    /// After the sink's own direction had aborted.
    AfterAbort,
}

/// Has this task polled again, but not before the worker has looked for events of its other connections: a
/// task that just wakes itself delays these by a turn of its own for each task that the worker polls between
/// two looks.
pub(super) fn poll_again(cx: &mut Context<'_>) {
    let _ = pin!(yield_now()).poll(cx);
}

/// One direction, from a source transport to a sink transport. The relay lends both for each turn.
pub(super) struct Direction {
    state: DirectionState,
    /// Wire bytes for the sink; those from `sent` on are not written yet. Empty while nothing is in flight.
    pending: Vec<u8>,
    sent: usize,
    /// The error of a write to the source's socket. The kernel reports a reset only once, to the first call
    /// after it: the source's bytes are still read, but its end then counts as an abort.
    source_error: Option<io::Error>,
    /// A read asks for [`READ_CHUNK`](crate::transport::READ_CHUNK) bytes, halved this many times.
    halvings: u8,
    /// Consecutive large reads.
    bulk_reads: u8,
    /// The source has ended cleanly, whether or not that was passed on.
    ended_well: bool,
    /// Bytes that were discarded because the sink is gone, and when they had come.
    dropped: u32,
    discard: Discard,
    /// Spliced bytes that the sink has not taken; they follow those in `pending`.
    pipe: Option<Pipe>,
    /// What holds it back, if anything does.
    pace: Option<Box<Pace>>,
    on_truncation: OnTruncation,
    moved: u64,
    written: u64,
    dirty: bool,
}

impl Direction {
    /// The direction from `from` to `to`. Bytes that came with the handshake of `from` are sent first.
    pub(super) fn new(
        from: &mut Transport,
        to: &mut Transport,
        on_truncation: OnTruncation,
        pace: Option<Box<Pace>>,
    ) -> Self {
        let prefetched = std::mem::take(&mut from.prefetched);
        let closed = from.tls.as_ref().is_some_and(|tls| tls.is_closed());
        let mut direction = Self {
            state: if closed {
                DirectionState::Ending {
                    close_queued: false,
                }
            } else {
                DirectionState::Open
            },
            pending: Vec::new(),
            sent: 0,
            source_error: None,
            halvings: 0,
            bulk_reads: 0,
            ended_well: closed,
            dropped: 0,
            discard: Discard::Queued,
            pipe: None,
            pace,
            on_truncation,
            moved: prefetched.len() as u64,
            written: 0,
            dirty: false,
        };
        if let Some(pace) = &mut direction.pace {
            pace.settle(direction.moved);
        }
        match &mut to.tls {
            None => direction.pending = prefetched,
            // The last flight of the handshake may wait for this call.
            Some(tls) => {
                let mut out = OutBuf::default();
                match tls.encrypt(&prefetched, &mut out) {
                    Ok(()) => direction.pending = out.filled().to_vec(),
                    Err(error) => direction.abort(Abort::Failed(error)),
                }
            }
        }
        direction
    }

    /// Application bytes read from the source.
    pub(super) const fn moved(&self) -> u64 {
        self.moved
    }

    /// A counter that grows whenever bytes move.
    pub(super) const fn progress(&self) -> u64 {
        self.moved + self.written
    }

    /// Whether the source sends no more.
    pub(super) const fn has_ended(&self) -> bool {
        !matches!(self.state, DirectionState::Open)
    }

    /// Whether the source has ended cleanly: by close_notify or FIN.
    pub(super) const fn ended_well(&self) -> bool {
        self.ended_well
    }

    /// Bytes of the source that the kernel has not taken for the sink, or that were discarded.
    pub(super) fn buffered(&self) -> usize {
        // Only our own close_notify is pending in this state.
        if matches!(self.state, DirectionState::Ending { close_queued: true }) {
            return 0;
        }
        let piped = self.pipe.as_ref().map_or(0, Pipe::buffered);
        self.dropped as usize + self.pending.len() - self.sent + piped
    }

    /// When the bytes had come that were discarded.
    pub(super) const fn discard(&self) -> Discard {
        self.discard
    }

    /// Whether the source's TLS has failed, which ends the relay.
    pub(super) fn has_failed(&self) -> bool {
        matches!(&self.state, DirectionState::Abort(abort) if matches!(**abort, Abort::Failed(_)))
    }

    /// Whether the source has aborted.
    pub(super) const fn has_aborted(&self) -> bool {
        matches!(self.state, DirectionState::Abort(_))
    }

    /// Whether the source has reset its connection or ended its TLS stream without close_notify.
    pub(super) fn has_reset_or_truncated(&self) -> bool {
        matches!(&self.state, DirectionState::Abort(abort)
            if matches!(**abort, Abort::Reset(_) | Abort::Truncated))
    }

    /// Whether the end has been passed on, or the sink is gone.
    pub(super) const fn is_done(&self) -> bool {
        matches!(self.state, DirectionState::Done | DirectionState::SinkGone)
    }

    /// Whether bytes for the sink are still pending.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty() || self.pipe.as_ref().is_some_and(|pipe| pipe.buffered() > 0)
    }

    /// Whether bytes of the source may not be read yet, though the sink takes all, and the source has not
    /// reset.
    pub(super) fn is_held_back(&self) -> bool {
        let is_held = self.pace.as_ref().is_some_and(|pace| pace.holds_back());
        is_held && !self.has_ended() && !self.has_pending() && self.source_error.is_none()
    }

    /// Whether the other direction has queued bytes or an error here since the last turn.
    pub(super) const fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// The bytes that the sink has not taken.
    pub(super) fn into_pending(mut self) -> Vec<u8> {
        self.pending.drain(..self.sent);
        if let Some(pipe) = self.pipe {
            self.pending.extend(pipe.into_bytes());
        }
        self.pending
    }

    /// How the source aborted, if it did.
    pub(super) fn take_abort(&mut self) -> Option<Abort> {
        match std::mem::replace(&mut self.state, DirectionState::SinkGone) {
            DirectionState::Abort(abort) => Some(*abort),
            // The source had ended its direction and then refused our bytes: the connection is gone.
            DirectionState::Ending { .. } | DirectionState::Done | DirectionState::SinkGone
                if self.source_error.is_some() =>
            {
                self.source_error.take().map(Abort::Reset)
            }
            state => {
                self.state = state;
                None
            }
        }
    }

    /// The error that the source's reset has caused in a write to it, if that has happened.
    pub(super) const fn take_source_error(&mut self) -> Option<io::Error> {
        self.source_error.take()
    }

    fn abort(&mut self, abort: Abort) {
        self.state = DirectionState::Abort(Box::new(abort));
    }

    /// Runs one turn. `back` is the other direction, whose sink is our source.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Transport,
        to: &mut Transport,
        back: &mut Self,
    ) {
        self.dirty = false;
        let mut budget = Budget::of_turn();
        for _ in 0..ROUNDS {
            if self.turn(cx, from, to, back, &mut budget).is_pending() {
                return;
            }
            if self.is_done() || matches!(self.state, DirectionState::Abort(_)) {
                return;
            }
            if (self.bulk_reads > 0 && self.pipe.is_none()) || budget.is_spent() {
                break;
            }
        }
        poll_again(cx);
    }

    fn turn(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Transport,
        to: &mut Transport,
        back: &mut Self,
        budget: &mut Budget,
    ) -> Poll<()> {
        if let Err(error) = ready!(self.deliver(cx, to)) {
            self.lose_sink(error, Discard::Queued, back);
            return Poll::Ready(());
        }
        match self.state {
            DirectionState::Open => {
                if self.pace.is_some() {
                    return self.advance_at_pace(cx, from, to, back, budget);
                }
                return self.advance(cx, from, to, back, budget);
            }
            DirectionState::Ending {
                close_queued: false,
            } => self.queue_close(to),
            DirectionState::Ending { close_queued: true } => {
                // If the other direction is done, too, closing the socket sends the FIN.
                if !back.is_done() {
                    to.socket.shutdown_write();
                }
                self.state = DirectionState::Done;
            }
            DirectionState::Done | DirectionState::Abort(_) | DirectionState::SinkGone => {}
        }
        Poll::Ready(())
    }

    /// Moves as many bytes as the budget has.
    fn advance(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Transport,
        to: &mut Transport,
        back: &mut Self,
        budget: &mut Budget,
    ) -> Poll<()> {
        if self.splices(from, to) {
            return self.splice(cx, from, budget);
        }
        let output = with_scratch(|scratch| self.fill(cx, from, to, back, scratch, budget));
        if let Err(error) = ready!(output) {
            self.lose_sink(error, Discard::JustRead, back);
        }
        Poll::Ready(())
    }
}
