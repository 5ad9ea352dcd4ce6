//! One direction of a relay: read, decrypt, encrypt, write. This is the hot loop.

mod splice;

use std::io;
use std::task::{Context, Poll, ready};

use super::fault;
use super::limits::OnTruncation;
use crate::transport::{
    Budget, OutBuf, Pipe, READ_CHUNK, Scratch, TlsEnd, TlsState, Transport, with_scratch,
};

/// How many reads a direction may do per turn before the worker serves its other connections.
const ROUNDS: usize = 2;

/// How many bytes one read asks for when the source sends many small records: bytes that a turn does not
/// decrypt are copied twice.
const READ_SMALL: usize = READ_CHUNK / 8;

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
    /// The source has aborted, which ends the relay.
    Abort(Abort),
    /// The sink is gone, so the source is no longer read.
    SinkGone,
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
    /// How many bytes a read asks for.
    read_max: usize,
    /// Consecutive large reads.
    bulk_reads: u8,
    /// The source has ended cleanly, whether or not that was passed on.
    ended_well: bool,
    /// Bytes that were discarded because the sink is gone.
    dropped: u32,
    /// Bytes that came after the sink's own direction had aborted.
    late: u32,
    /// Spliced bytes that the sink has not taken; they follow those in `pending`.
    pipe: Option<Pipe>,
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
            read_max: READ_CHUNK,
            bulk_reads: 0,
            ended_well: closed,
            dropped: 0,
            late: 0,
            pipe: None,
            on_truncation,
            moved: prefetched.len() as u64,
            written: 0,
            dirty: false,
        };
        match &mut to.tls {
            None => direction.pending = prefetched,
            Some(tls) => {
                let mut out = OutBuf::default();
                match tls.encrypt(&prefetched, &mut out) {
                    Ok(()) => direction.pending = out.filled().to_vec(),
                    Err(error) => direction.state = DirectionState::Abort(Abort::Failed(error)),
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

    /// Bytes of the source that came after the sink had aborted.
    pub(super) const fn late(&self) -> usize {
        self.late as usize
    }

    /// Whether the source's TLS has failed, which ends the relay.
    pub(super) const fn has_failed(&self) -> bool {
        matches!(self.state, DirectionState::Abort(Abort::Failed(_)))
    }

    /// Whether the source has aborted.
    pub(super) const fn has_aborted(&self) -> bool {
        matches!(self.state, DirectionState::Abort(_))
    }

    /// Whether the source has reset its connection or ended its TLS stream without close_notify.
    pub(super) const fn has_reset_or_truncated(&self) -> bool {
        matches!(
            self.state,
            DirectionState::Abort(Abort::Reset(_) | Abort::Truncated)
        )
    }

    /// Whether the end has been passed on, or the sink is gone.
    pub(super) const fn is_done(&self) -> bool {
        matches!(self.state, DirectionState::Done | DirectionState::SinkGone)
    }

    /// Whether bytes for the sink are still pending.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty() || self.pipe.as_ref().is_some_and(|pipe| pipe.buffered() > 0)
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
            DirectionState::Abort(abort) => Some(abort),
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
            if budget.is_spent() {
                break;
            }
        }
        cx.waker().wake_by_ref();
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
            self.lose_sink(error, back);
            return Poll::Ready(());
        }
        match self.state {
            DirectionState::Open => {
                if self.splices(from, to) {
                    return self.splice(cx, from);
                }
                let output = with_scratch(|scratch| self.fill(cx, from, to, back, scratch, budget));
                if let Err(error) = ready!(output) {
                    self.lose_sink(error, back);
                }
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

    /// Sends the pending bytes.
    fn deliver(&mut self, cx: &mut Context<'_>, to: &mut Transport) -> Poll<io::Result<()>> {
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

    /// Reads once, unless the last turn left bytes to decrypt, and passes the bytes on. An error is the
    /// sink's.
    fn fill(
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
            self.state =
                DirectionState::Abort(Abort::Failed(rustls::Error::PeerSentOversizedRecord));
            return Poll::Ready(Ok(()));
        };
        let backlog = from.tls.as_ref().is_some_and(|tls| tls.has_backlog());
        let len = if backlog {
            0
        } else {
            let room = &mut input[start..start + self.read_max];
            match ready!(from.socket.poll_read(cx, room)) {
                Ok(0) => {
                    self.source_ended(from);
                    return Poll::Ready(Ok(()));
                }
                Ok(len) => len,
                Err(error) => {
                    self.state = DirectionState::Abort(Abort::Reset(error));
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
                            self.state = DirectionState::Abort(Abort::Failed(error));
                        }
                        self.send(cx, to, output.filled())
                    }
                }
            }
        }
    }

    /// Reads less from a source whose records are so small that a turn does not decrypt a whole read, and
    /// more again once it does.
    const fn adapt(&mut self, read: usize, backlog: bool) {
        if backlog {
            self.read_max = READ_SMALL;
        } else if read == self.read_max && read < READ_CHUNK {
            self.read_max = read * 2;
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
            (Err(error), _) | (_, Some(TlsEnd::Failed(error))) => {
                self.state = DirectionState::Abort(Abort::Failed(error))
            }
            (_, Some(TlsEnd::Closed)) => self.end_well(),
            (_, None) => {}
        }
    }

    /// Sends `bytes` and keeps those that the sink does not take at once.
    fn send(
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

    /// Handles the end of the source's socket.
    fn source_ended(&mut self, from: &Transport) {
        let closed = from.tls.as_ref().is_none_or(|tls| tls.is_closed());
        match self.source_error.take() {
            Some(error) => self.state = DirectionState::Abort(Abort::Reset(error)),
            None if !closed && self.on_truncation == OnTruncation::Reset => {
                self.state = DirectionState::Abort(Abort::Truncated);
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

    /// Queues close_notify if the sink has TLS.
    fn queue_close(&mut self, to: &mut Transport) {
        self.state = DirectionState::Ending { close_queued: true };
        if let Some(tls) = &mut to.tls {
            let mut out = OutBuf::default();
            match tls.close(&mut out) {
                Ok(()) => self.pending = out.filled().to_vec(),
                Err(error) => self.state = DirectionState::Abort(Abort::Failed(error)),
            }
        }
    }

    /// Queues a TLS reply to our sink (an alert, a key update) behind the pending bytes.
    fn reply(&mut self, bytes: &[u8]) {
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

    fn lose_sink(&mut self, error: io::Error, back: &mut Self) {
        let lost = u32::try_from(self.buffered()).unwrap_or(u32::MAX);
        match back.state {
            DirectionState::Abort(_) => (self.dropped, self.late) = (0, lost),
            _ => self.dropped = lost,
        }
        self.state = DirectionState::SinkGone;
        self.pending = Vec::new();
        self.sent = 0;
        self.pipe = None;
        back.source_error = Some(error);
        back.dirty = true;
    }
}
