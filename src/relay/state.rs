//! The state of a relay, its turns, and the decision how it ended.

use std::cell::LazyCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::deadlines::{Deadlines, Look, RelayLimit};
use super::direction::{Abort, Direction, Discard};
use super::end::RelayEnd;
use super::handle::ConnHandle;
use super::limits::Limits;
use super::loss::{Exchange, Peer};
use super::pace::Pace;
use super::side::Side;
use crate::outcome::Reason;
use crate::transport::Transport;

/// How long an origin's abort is withheld from a client that has not ended, while its end may be on its
/// way. An origin answers a final message (PostgreSQL's Terminate) by a reset, which overtakes the client's
/// end if the client's machine or ours is busy. Data received before is delivered meanwhile.
pub(super) const CLIENT_END_WAIT: Duration = Duration::from_millis(50);

/// Two transports and the two directions between them.
pub struct Relay {
    pub(super) client: Transport,
    pub(super) origin: Transport,
    pub(super) up: Direction,
    pub(super) down: Direction,
    pub(super) deadlines: Deadlines,
    /// How many bytes the peers had not acknowledged at the last look since the last progress.
    undelivered: Option<usize>,
    /// Whether the timer is set for a source that is not read.
    checks_source: bool,
    /// Bytes the client had sent when the origin last sent something.
    up_at_last_down: u64,
    /// Bytes the origin had sent when the client ended its direction.
    down_at_end: Option<u64>,
    /// Set after the origin's abort, while the client's end may be on its way.
    client_end_wait: Option<Pin<Box<Sleep>>>,
}

impl Relay {
    /// A relay between two transports, with what holds back the bytes of the client and of the origin. Those
    /// that came with their handshakes are sent first.
    pub fn new(
        mut client: Transport,
        mut origin: Transport,
        limits: Limits,
        [up, down]: [Option<Box<Pace>>; 2],
    ) -> Self {
        let up = Direction::new(&mut client, &mut origin, limits.client_truncation, up);
        let down = Direction::new(&mut origin, &mut client, limits.origin_truncation, down);
        Self {
            client,
            origin,
            up,
            down,
            deadlines: Deadlines::new(limits, Instant::now()),
            undelivered: None,
            checks_source: false,
            up_at_last_down: 0,
            down_at_end: None,
            client_end_wait: None,
        }
    }

    /// Moves what can be moved now. Ready at the end of the relay.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        handle: &ConnHandle,
    ) -> Poll<RelayEnd> {
        // Reading the clock is a fair part of a turn that moves a few bytes.
        let now = LazyCell::new(Instant::now);
        let before = self.up.progress() + self.down.progress();
        self.up
            .poll(cx, &mut self.client, &mut self.origin, &mut self.down);
        let down = self.down.moved();
        if self.up.ended_well() {
            self.down_at_end.get_or_insert(down);
        }
        // Nothing can be encrypted for a client whose TLS has failed, and the end is known already.
        if !self.up.has_failed() {
            self.down
                .poll(cx, &mut self.origin, &mut self.client, &mut self.up);
        }
        if self.down.moved() != down {
            self.up_at_last_down = self.up.moved();
        }
        if self.down.has_aborted() && !self.up.has_aborted() {
            // Read what the client has sent by now, which decides whether data was lost.
            self.up
                .poll(cx, &mut self.client, &mut self.origin, &mut self.down);
        }
        if self.up.is_dirty() {
            cx.waker().wake_by_ref();
        }
        if self.up.progress() + self.down.progress() != before {
            self.deadlines.progress(*now);
            self.undelivered = None;
            handle.progress(self.up.moved(), self.down.moved(), *now);
        }
        if !self.waits_for_client_end(cx)
            && let Some(end) = self.end()
        {
            return Poll::Ready(end);
        }
        if (self.up.has_ended() || self.down.has_ended()) && !self.deadlines.is_ending() {
            self.deadlines.first_end(*now);
            timer.as_mut().reset(self.next_check(*now));
        }
        if !self.checks_source && self.is_stalled() {
            self.checks_source = true;
            let check = *now + self.deadlines.source_check();
            if timer.deadline() > check {
                timer.as_mut().reset(check);
            }
        }
        while timer.as_mut().poll(cx).is_ready() {
            if let Some(limit) = self.look(Instant::now()) {
                return Poll::Ready(self.end().unwrap_or_else(|| self.expiry(limit)));
            }
            timer.as_mut().reset(self.next_check(Instant::now()));
        }
        Poll::Pending
    }

    /// Whether a source is not read, because its sink takes nothing.
    fn is_stalled(&self) -> bool {
        self.up.has_pending() || self.down.has_pending()
    }

    /// When the timer has to fire next; the caller sets it.
    pub(super) fn next_check(&mut self, now: Instant) -> Instant {
        self.checks_source = self.is_stalled();
        let look = Look {
            undelivered: self.undelivered,
            is_stalled: self.checks_source,
        };
        self.deadlines.next_check(now, look)
    }

    /// Looks at what the kernel tells by no event, then at the limits; returns the one that is reached.
    ///
    /// A slow reader takes its last megabytes from the kernel's send queue without any action of ours, and a
    /// reset would discard them: a queue that is shorter than at the last look is progress. What a peer that
    /// has reset will never take stays in the count: it is none. The end of a source that is not read is
    /// behind bytes that nobody takes. Bytes that wait for their share of the bandwidth will move.
    fn look(&mut self, now: Instant) -> Option<RelayLimit> {
        let left = self.client.socket.queued() + self.origin.socket.queued();
        let before = self.undelivered.replace(left);
        let is_held_back = self.up.is_held_back() || self.down.is_held_back();
        if is_held_back || before.is_some_and(|before| left < before) {
            self.deadlines.progress(now);
        }
        let has_ended = |to: &Direction, from: &Transport| {
            to.has_pending() && !to.has_ended() && from.socket.peer_has_ended()
        };
        if has_ended(&self.up, &self.client) || has_ended(&self.down, &self.origin) {
            self.deadlines.unread_end();
        }
        let limit = self.deadlines.expired(now)?;
        // The look before this one came too late to compare with.
        if limit.is_about_progress() && before.is_none() && left > 0 {
            self.deadlines.progress(now);
            return None;
        }
        Some(limit)
    }

    /// Whether to delay the decision on the origin's abort, because the client's end may be on its way.
    fn waits_for_client_end(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.down.has_reset_or_truncated()
            || self.down.has_pending()
            || self.up.has_aborted()
            || !self.exchange(Side::Origin).depends_on_client_end()
        {
            return false;
        }
        self.client_end_wait
            .get_or_insert_with(|| Box::pin(sleep(CLIENT_END_WAIT)))
            .as_mut()
            .poll(cx)
            .is_pending()
    }

    /// The end of the relay, once one direction was aborted or both are done.
    fn end(&mut self) -> Option<RelayEnd> {
        if let Some(abort) = self.up.take_abort() {
            return Some(self.aborted(Side::Client, abort));
        }
        if let Some(abort) = self.down.take_abort() {
            return Some(self.aborted(Side::Origin, abort));
        }
        (self.up.is_done() && self.down.is_done()).then_some(RelayEnd::Clean)
    }

    fn aborted(&self, side: Side, abort: Abort) -> RelayEnd {
        match abort {
            Abort::Reset(error) => RelayEnd::Reset(side, error, self.exchange(side).loss_by(side)),
            Abort::Truncated => RelayEnd::Truncated(side, self.exchange(side).loss_by(side)),
            Abort::Failed(error) => RelayEnd::Failed(side, error),
        }
    }

    /// The state of both sides at the moment at which `gone` aborted.
    fn exchange(&self, gone: Side) -> Exchange {
        let peer =
            |side, transport: &Transport, from: &Direction, to: &Direction, other: &Transport| {
                let came_late = match to.discard() {
                    Discard::Queued => false,
                    // A client that resets after an answer has what it wants: whether the reset or the
                    // origin's final message is read first is chance. An origin's reset may lose a request.
                    Discard::JustRead => side == Side::Client,
                    Discard::AfterAbort => true,
                };
                let (buffered, late) = match (to.buffered(), came_late) {
                    (bytes, true) => (0, bytes),
                    (bytes, false) => (bytes, 0),
                };
                Peer {
                    // The end of the remaining side may be in the kernel, not read yet.
                    ended: from.ended_well() || (side != gone && transport.socket.peer_has_ended()),
                    buffered,
                    late: late + other.socket.readable_bytes() + other.undecrypted(),
                    unacknowledged: transport.socket.unacknowledged(),
                }
            };
        let (client, origin) = (&self.client, &self.origin);
        let (up, down) = (self.up.moved(), self.down.moved());
        Exchange {
            client: peer(Side::Client, client, &self.up, &self.down, origin),
            origin: peer(Side::Origin, origin, &self.down, &self.up, client),
            up,
            down,
            up_since_down: up - self.up_at_last_down + client.undecrypted() as u64,
            down_since_end: down - self.down_at_end.unwrap_or(down) + origin.undecrypted() as u64,
        }
    }

    /// Whether bytes for a peer remain, in our buffers or in the kernel's.
    fn is_undelivered(&self) -> bool {
        let pending = self.up.has_pending() || self.down.has_pending();
        pending || self.client.socket.undelivered() + self.origin.socket.undelivered() > 0
    }

    /// The side that has reset its connection behind bytes that its peer does not take, and its error.
    fn unread_reset(&mut self) -> Option<(Side, io::Error)> {
        let gone = |side, direction: &mut Direction, from: &Transport| {
            let error = direction.has_pending().then(|| {
                let error = direction.take_source_error();
                error.or_else(|| from.socket.gone())
            });
            Some((side, error??))
        };
        let client = gone(Side::Client, &mut self.up, &self.client);
        client.or_else(|| gone(Side::Origin, &mut self.down, &self.origin))
    }

    fn expiry(&mut self, limit: RelayLimit) -> RelayEnd {
        if let RelayLimit::HalfClose | RelayLimit::Idle = limit
            && let Some((side, error)) = self.unread_reset()
        {
            return RelayEnd::Reset(side, error, self.exchange(side).loss_by(side));
        }
        match limit {
            RelayLimit::Idle => RelayEnd::Idle,
            RelayLimit::Lifetime => RelayEnd::Lifetime,
            RelayLimit::Drain => RelayEnd::Commanded(Reason::Drain),
            RelayLimit::Commanded(reason) => RelayEnd::Commanded(reason),
            RelayLimit::HalfClose if self.is_undelivered() => RelayEnd::Undelivered,
            RelayLimit::HalfClose if self.up.has_ended() => RelayEnd::EndedAlone(Side::Client),
            RelayLimit::HalfClose => RelayEnd::EndedAlone(Side::Origin),
        }
    }
}
