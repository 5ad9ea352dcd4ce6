//! The relay: copies bytes between two transports in both directions until both have ended or a limit is
//! reached.
//!
//! What the relay promises:
//! - it passes an end on as what it was: a clean end (close_notify or FIN) as a clean end, an abort (reset,
//!   or TLS without close_notify) as a reset, and only after it has sent everything it read;
//! - one direction may end while the other continues, as long as there is progress within `half_close`;
//!   bytes that leave the kernel's send queue count as progress;
//! - it buffers at most one read for a peer that does not read.
//!
//! The relay knows no configuration and writes no log; it returns how it ended.

mod deadlines;
mod direction;
mod fault;
mod handle;
mod loss;
mod teardown;
#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, sleep_until};

use self::deadlines::Deadlines;
use self::direction::{Abort, Direction};
pub use self::handle::{Command, ConnHandle};
pub use self::loss::Loss;
use self::loss::{Exchange, Peer};
pub use self::teardown::Teardown;
use crate::outcome::Reason;
use crate::transport::Transport;

/// How long an origin's abort is withheld from a client that has not ended, while its end may be on its
/// way. An origin answers a final message (PostgreSQL's Terminate) by a reset, which overtakes the client's
/// end if the client's machine or ours is busy. Data received before is delivered meanwhile.
const CLIENT_END_WAIT: Duration = Duration::from_millis(50);

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Client,
    /// The origin.
    Origin,
}

/// How a TLS stream that ends without close_notify is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTruncation {
    /// A reset: an attacker may have truncated the stream.
    Reset,
    /// A clean end, because the operator configured it.
    Close,
}

/// The limits of one relay.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Ends the relay after this long without an application byte in either direction.
    pub idle: Option<Duration>,
    /// Ends the relay after this long without progress, once one direction has ended.
    pub half_close: Option<Duration>,
    /// Ends the relay at this moment, whatever it does.
    pub lifetime: Option<Instant>,
    /// What the origin sees when the client's TLS stream is truncated.
    pub client_truncation: OnTruncation,
    /// What the client sees when the origin's TLS stream is truncated.
    pub origin_truncation: OnTruncation,
}

/// How a relay ended.
#[derive(Debug)]
pub enum RelayEnd {
    /// Both directions ended cleanly.
    Clean,
    /// This side ended first, and the other did not end within `half_close`.
    EndedAlone(Side),
    /// A side ended, and the other did not take the bytes queued for it within `half_close`.
    Undelivered,
    /// Nothing moved for `idle`.
    Idle,
    /// The connection reached `lifetime`.
    Lifetime,
    /// A command ended it.
    Commanded(Reason),
    /// This side reset its connection.
    Reset(Side, std::io::Error, Loss),
    /// This side's TLS stream ended without close_notify.
    Truncated(Side, Loss),
    /// This side broke TLS or sent an alert.
    Failed(Side, rustls::Error),
}

/// Two transports and the two directions between them.
pub struct Relay {
    client: Transport,
    origin: Transport,
    up: Direction,
    down: Direction,
    deadlines: Deadlines,
    limits: Limits,
    /// How many bytes the peers had not acknowledged when a limit on progress was last reached.
    undelivered: Option<usize>,
    /// Bytes the client had sent when the origin last sent something.
    up_at_last_down: u64,
    /// Bytes the origin had sent when the client ended its direction.
    down_at_end: Option<u64>,
    /// Set after the origin's abort, while the client's end may be on its way.
    client_end_wait: Option<Pin<Box<Sleep>>>,
}

impl Relay {
    /// A relay between two transports. Bytes that came with their handshakes are sent first.
    pub fn new(mut client: Transport, mut origin: Transport, limits: Limits) -> Self {
        let up = Direction::new(&mut client, &mut origin, limits.client_truncation);
        let down = Direction::new(&mut origin, &mut client, limits.origin_truncation);
        Self {
            client,
            origin,
            up,
            down,
            deadlines: Deadlines::new(limits, Instant::now()),
            limits,
            undelivered: None,
            up_at_last_down: 0,
            down_at_end: None,
            client_end_wait: None,
        }
    }

    /// Copies bytes until the end and returns how it ended. The [`Teardown`], if any, is what remains to be
    /// done. The relay reports its byte counts to `handle` and takes its commands from it.
    pub async fn run(mut self: Box<Self>, handle: &ConnHandle) -> (RelayEnd, Option<Teardown>) {
        // Bytes that came with the handshakes count, too.
        handle.progress(self.up.moved(), self.down.moved());
        self.deadlines.set_command(handle.command());
        let mut timer = std::pin::pin!(sleep_until(self.deadlines.deadline(Instant::now())));
        let end = loop {
            tokio::select! {
                biased;
                end = poll_fn(|cx| self.poll(cx, timer.as_mut(), handle)) => break end,
                () = handle.changed() => {
                    self.deadlines.set_command(handle.command());
                    timer.as_mut().reset(self.deadlines.deadline(Instant::now()));
                }
            }
        };
        let teardown = Teardown::new(self, &end);
        (end, teardown)
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        handle: &ConnHandle,
    ) -> Poll<RelayEnd> {
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
            self.deadlines.progress(Instant::now());
            self.undelivered = None;
            handle.progress(self.up.moved(), self.down.moved());
        }
        if !self.waits_for_client_end(cx)
            && let Some(end) = self.end()
        {
            return Poll::Ready(end);
        }
        if (self.up.has_ended() || self.down.has_ended())
            && self.deadlines.first_end(Instant::now())
        {
            timer
                .as_mut()
                .reset(self.deadlines.deadline(Instant::now()));
        }
        while timer.as_mut().poll(cx).is_ready() {
            match self.deadlines.expired(Instant::now()) {
                Some(limit) if limit.is_about_progress() && self.is_draining() => {
                    self.deadlines.progress(Instant::now());
                }
                Some(limit) => {
                    return Poll::Ready(self.end().unwrap_or_else(|| self.expiry(limit)));
                }
                None => {}
            }
            timer
                .as_mut()
                .reset(self.deadlines.deadline(Instant::now()));
        }
        Poll::Pending
    }

    /// Whether a peer still acknowledges bytes from the kernel's send queue, which a reset would discard: a
    /// slow reader takes its last megabytes without any action of ours. The first time, a queue that is not
    /// empty counts as draining; by the next limit it has to be shorter.
    fn is_draining(&mut self) -> bool {
        let left = self.client.socket.undelivered() + self.origin.socket.undelivered();
        match self.undelivered.replace(left) {
            None => left > 0,
            Some(before) => left < before,
        }
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
                Peer {
                    // The end of the remaining side may be in the kernel, not read yet.
                    ended: from.ended_well() || (side != gone && transport.socket.peer_has_ended()),
                    buffered: to.buffered(),
                    late: to.late() + other.socket.readable_bytes() + other.undecrypted(),
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

    fn expiry(&self, limit: deadlines::RelayLimit) -> RelayEnd {
        match limit {
            deadlines::RelayLimit::Idle => RelayEnd::Idle,
            deadlines::RelayLimit::Lifetime => RelayEnd::Lifetime,
            deadlines::RelayLimit::Drain => RelayEnd::Commanded(Reason::Drain),
            deadlines::RelayLimit::Commanded(reason) => RelayEnd::Commanded(reason),
            deadlines::RelayLimit::HalfClose if self.is_undelivered() => RelayEnd::Undelivered,
            deadlines::RelayLimit::HalfClose if self.up.has_ended() => {
                RelayEnd::EndedAlone(Side::Client)
            }
            deadlines::RelayLimit::HalfClose => RelayEnd::EndedAlone(Side::Origin),
        }
    }
}
