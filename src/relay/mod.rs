//! The relay: bytes between two transports, both ways at once, until both directions have ended or a limit
//! says stop.
//!
//! What the relay promises:
//! - an end is passed on as what it was: a clean end (close_notify or FIN) as a clean end, a cut
//!   (reset, or TLS without close_notify) as a reset, and never before what was read has been sent;
//! - one direction may end while the other goes on, as long as something moves within `half_close`, be
//!   it out of the kernel's queue;
//! - nothing is buffered for a peer that does not read, but for what one read took.
//!
//! It knows no configuration and no log; it returns how it ended.

mod deadlines;
mod direction;
mod fault;
mod handle;
mod loss;
mod teardown;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use self::deadlines::Deadlines;
use self::direction::{Abort, Direction};
pub use self::handle::{Command, ConnHandle};
pub use self::loss::Loss;
use self::loss::{Exchange, Peer};
pub use self::teardown::Teardown;
use crate::outcome::Reason;
use crate::transport::Transport;

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Client,
    /// The origin.
    Origin,
}

/// What the other side is shown when a TLS stream ends without close_notify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTruncation {
    /// A reset: the stream may have been cut by anybody.
    Reset,
    /// A clean end, by the operator's choice.
    Close,
}

/// The limits of one relay.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// No application byte either way for this long.
    pub idle: Option<Duration>,
    /// No progress for this long since the first end.
    pub half_close: Option<Duration>,
    /// The moment at which the connection has lived long enough.
    pub lifetime: Option<Instant>,
    /// What the origin sees when the client's TLS stream is cut.
    pub client_truncation: OnTruncation,
    /// What the client sees when the origin's TLS stream is cut.
    pub origin_truncation: OnTruncation,
}

/// How a relay ended.
#[derive(Debug)]
pub enum RelayEnd {
    /// Both directions ended cleanly.
    Clean,
    /// This side ended first, and the other did not end within `half_close`.
    EndedAlone(Side),
    /// A side ended, and the other did not take what was queued for it within `half_close`.
    Undelivered,
    /// Nothing moved for `idle`.
    Idle,
    /// The connection reached `lifetime`.
    Lifetime,
    /// It was ended from outside.
    Commanded(Reason),
    /// This side reset its connection.
    Reset(Side, std::io::Error, Loss),
    /// This side's TLS stream ended without close_notify.
    Truncated(Side, Loss),
    /// This side broke TLS or sent an alert.
    Failed(Side, rustls::Error),
}

/// Two transports and what is between them.
pub struct Relay {
    client: Transport,
    origin: Transport,
    up: Direction,
    down: Direction,
    deadlines: Deadlines,
    limits: Limits,
    /// What the peers had not taken when nothing had moved for as long as may be.
    undelivered: Option<usize>,
    /// How much the client had sent when the origin last sent something.
    up_at_last_down: u64,
    /// How much the origin had sent when the client ended.
    down_at_end: Option<u64>,
}

impl Relay {
    /// A relay between two transports, with what came along with their handshakes to be passed on first.
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
        }
    }

    /// Moves bytes until the end, and says how it ended. What is then left to do, if anything is, is
    /// in the [`Teardown`]. What has moved is told to the handle all along, and orders come from it.
    pub async fn run(mut self: Box<Self>, handle: &ConnHandle) -> (RelayEnd, Option<Teardown>) {
        // What came along with the handshakes.
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
        // Nothing can be sealed for a client whose TLS has failed, and the end is known already.
        if !self.up.has_failed() {
            self.down
                .poll(cx, &mut self.origin, &mut self.client, &mut self.up);
        }
        if self.down.moved() != down {
            self.up_at_last_down = self.up.moved();
        }
        if self.up.is_dirty() {
            cx.waker().wake_by_ref();
        }
        if self.up.progress() + self.down.progress() != before {
            self.deadlines.progress(Instant::now());
            self.undelivered = None;
            handle.progress(self.up.moved(), self.down.moved());
        }
        if let Some(end) = self.end() {
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
                Some(limit) if limit.is_about_progress() && self.is_being_taken() => {
                    self.deadlines.progress(Instant::now());
                }
                Some(limit) => return Poll::Ready(self.expiry(limit)),
                None => {}
            }
            timer
                .as_mut()
                .reset(self.deadlines.deadline(Instant::now()));
        }
        Poll::Pending
    }

    /// Whether a peer goes on taking what the kernel has for it, and a reset would throw away: the last
    /// megabytes of a slow reader move without us. It is given the time of the limit to show that it does.
    fn is_being_taken(&mut self) -> bool {
        let left = self.client.socket.undelivered() + self.origin.socket.undelivered();
        match self.undelivered.replace(left) {
            None => left > 0,
            Some(before) => left < before,
        }
    }

    /// The end of the relay, once one direction was cut or both are done.
    fn end(&mut self) -> Option<RelayEnd> {
        if let Some(cut) = self.up.take_abort() {
            return Some(self.cut(Side::Client, cut));
        }
        if let Some(cut) = self.down.take_abort() {
            return Some(self.cut(Side::Origin, cut));
        }
        (self.up.is_done() && self.down.is_done()).then_some(RelayEnd::Clean)
    }

    fn cut(&self, side: Side, cut: Abort) -> RelayEnd {
        match cut {
            Abort::Reset(error) => RelayEnd::Reset(side, error, self.exchange(side).cut_by(side)),
            Abort::Truncated => RelayEnd::Truncated(side, self.exchange(side).cut_by(side)),
            Abort::Failed(error) => RelayEnd::Failed(side, error),
        }
    }

    /// How far the two sides have come, of which `gone` was cut.
    fn exchange(&self, gone: Side) -> Exchange {
        let peer =
            |side, transport: &Transport, from: &Direction, to: &Direction, other: &Transport| {
                Peer {
                    // The end of the one that is still there may be in the kernel, and not read yet.
                    ended: from.ended_well() || (side != gone && transport.socket.peer_has_ended()),
                    held: to.held(),
                    late: to.late() + other.socket.prefetched(),
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
            up_since_down: up - self.up_at_last_down,
            down_since_end: down - self.down_at_end.unwrap_or(down),
        }
    }

    /// Whether a peer has not taken everything, be it from us or from the kernel.
    fn is_undelivered(&self) -> bool {
        let stuck = self.up.has_pending() || self.down.has_pending();
        stuck || self.client.socket.undelivered() + self.origin.socket.undelivered() > 0
    }

    fn expiry(&self, limit: deadlines::Limit) -> RelayEnd {
        match limit {
            deadlines::Limit::Idle => RelayEnd::Idle,
            deadlines::Limit::Lifetime => RelayEnd::Lifetime,
            deadlines::Limit::Drain => RelayEnd::Commanded(Reason::Drain),
            deadlines::Limit::Commanded(reason) => RelayEnd::Commanded(reason),
            deadlines::Limit::HalfClose if self.is_undelivered() => RelayEnd::Undelivered,
            deadlines::Limit::HalfClose if self.up.has_ended() => {
                RelayEnd::EndedAlone(Side::Client)
            }
            deadlines::Limit::HalfClose => RelayEnd::EndedAlone(Side::Origin),
        }
    }
}
