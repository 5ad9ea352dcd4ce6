//! What holds a direction back: its share of the bandwidth, and delays for tests of applications. A direction
//! has this only if its route has such settings.
//!
//! What may not be sent is not read, so that it waits at the source, and nothing is kept for it here.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::bandwidth::Flow;
use crate::transport::{READ_CHUNK, Transport};

/// How often a direction that is held back looks whether one of its peers has reset.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The delays of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// How much later the first chunk with data is read.
    pub first: Duration,
    /// How much later every chunk is read.
    pub chunk: Duration,
}

/// What holds one direction back. Small while nothing does: most connections are idle.
#[derive(Debug)]
pub struct Pace {
    flow: Option<Flow>,
    hold: Option<Box<Hold>>,
}

/// The state of a direction that has delays or has waited for its share.
#[derive(Debug)]
struct Hold {
    delay: Delay,
    phase: Phase,
    timer: Pin<Box<Sleep>>,
    next_look: Instant,
    /// Whether the last look has found that the source has reset.
    was_reset: bool,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The next chunk has not come, or may be read.
    Free,
    /// It has come, and its delay lasts until then.
    Delayed(Instant),
    /// It waits for its share.
    Waiting,
}

impl Pace {
    /// The pace of a direction; `None` if nothing holds it back.
    pub fn new(flow: Option<Flow>, delay: Delay) -> Option<Box<Self>> {
        let is_delayed = delay != Delay::default();
        let hold = is_delayed.then(|| Hold::new(delay, Instant::now()));
        (flow.is_some() || is_delayed).then(|| Box::new(Self { flow, hold }))
    }

    fn phase(&self) -> Phase {
        self.hold.as_ref().map_or(Phase::Free, |hold| hold.phase)
    }

    /// Whether bytes have come that may not be read yet.
    pub(super) fn holds_back(&self) -> bool {
        !matches!(self.phase(), Phase::Free)
    }

    /// Waits until bytes may be read, and returns how many; [`Pace::settle`] must follow. An end is never
    /// delayed, but for the bytes before it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, from: &Transport) -> Poll<usize> {
        // They were read before; those that they become are owed.
        if from.tls.as_ref().is_some_and(|tls| tls.has_backlog()) {
            return Poll::Ready(READ_CHUNK);
        }
        match &mut self.hold {
            Some(hold) if !matches!(hold.phase, Phase::Free) => {
                ready!(hold.timer.as_mut().poll(cx));
            }
            _ => {
                if let Some(bytes) = self.credit() {
                    return Poll::Ready(bytes);
                }
                ready!(from.socket.poll_readable(cx));
            }
        }
        loop {
            // Each round may come after the timer.
            let now = Instant::now();
            let readable = from.socket.readable_bytes();
            let delayed_until = match self.phase() {
                Phase::Free if readable == 0 => return Poll::Ready(READ_CHUNK),
                Phase::Free => self.hold.as_ref().and_then(|hold| hold.delay_from(now)),
                Phase::Delayed(until) => Some(until).filter(|until| *until > now),
                Phase::Waiting => None,
            };
            let (phase, until) = match delayed_until {
                Some(until) => (Phase::Delayed(until), until),
                None => match self.ask(readable, now) {
                    Ok(bytes) => {
                        if let Some(hold) = &mut self.hold {
                            hold.phase = Phase::Free;
                        }
                        return Poll::Ready(bytes);
                    }
                    Err(wait) => (Phase::Waiting, now + wait),
                },
            };
            let undelayed = || Hold::new(Delay::default(), now);
            let hold = self.hold.get_or_insert_with(undelayed);
            hold.phase = phase;
            hold.timer.as_mut().reset(until.min(now + LOOK_INTERVAL));
            ready!(hold.timer.as_mut().poll(cx));
        }
    }

    /// What may be read without a look at how much has come.
    fn credit(&mut self) -> Option<usize> {
        let is_delayed = self.hold.as_ref().is_some_and(|hold| hold.is_delayed());
        let flow = self.flow.as_mut().filter(|_| !is_delayed)?;
        let bytes = flow.credit(Instant::now())?;
        Some(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    fn ask(&mut self, readable: usize, now: Instant) -> Result<usize, Duration> {
        let Some(flow) = &mut self.flow else {
            return Ok(READ_CHUNK);
        };
        let readable = readable.clamp(1, READ_CHUNK);
        let bytes = flow.ask(u64::try_from(readable).unwrap_or(u64::MAX), now)?;
        Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Tells how many bytes have moved since the last call.
    pub(super) fn settle(&mut self, moved: u64) {
        if let Some(hold) = self.hold.as_mut().filter(|_| moved > 0) {
            hold.delay.first = Duration::ZERO;
        }
        if let Some(flow) = &mut self.flow {
            flow.settle(moved, Instant::now);
        }
    }

    /// Whether it is time to look whether the peers have reset.
    pub(super) fn is_look_due(&mut self) -> bool {
        let holds_back = self.holds_back();
        let Some(hold) = self.hold.as_mut().filter(|_| holds_back) else {
            return false;
        };
        let now = Instant::now();
        let is_due = now >= hold.next_look;
        if is_due {
            hold.next_look = now + LOOK_INTERVAL;
        }
        is_due
    }

    /// Keeps whether a look has found that the source has reset, and returns what the one before had found.
    pub(super) fn replace_reset(&mut self, is_reset: bool) -> bool {
        let hold = self.hold.as_mut();
        hold.is_some_and(|hold| std::mem::replace(&mut hold.was_reset, is_reset))
    }
}

impl Hold {
    fn new(delay: Delay, now: Instant) -> Box<Self> {
        Box::new(Self {
            delay,
            phase: Phase::Free,
            timer: Box::pin(sleep_until(now)),
            next_look: now,
            was_reset: false,
        })
    }

    fn is_delayed(&self) -> bool {
        self.delay != Delay::default()
    }

    /// When a chunk that has come now may be read, if that is later.
    fn delay_from(&self, now: Instant) -> Option<Instant> {
        let until = now + self.delay.first + self.delay.chunk;
        (until > now).then_some(until)
    }
}
