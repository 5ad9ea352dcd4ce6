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

/// What holds one direction back.
#[derive(Debug)]
pub struct Pace {
    flow: Option<Flow>,
    delay: Delay,
    phase: Phase,
    timer: Pin<Box<Sleep>>,
    next_look: Instant,
    /// Whether the last look has found that the source has reset.
    pub(super) was_reset: bool,
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
        let now = Instant::now();
        (flow.is_some() || delay != Delay::default()).then(|| {
            Box::new(Self {
                flow,
                delay,
                phase: Phase::Free,
                timer: Box::pin(sleep_until(now)),
                next_look: now,
                was_reset: false,
            })
        })
    }

    /// Whether bytes have come that may not be read yet.
    pub(super) const fn holds_back(&self) -> bool {
        !matches!(self.phase, Phase::Free)
    }

    /// Waits until bytes may be read, and returns how many; [`Pace::settle`] must follow. An end is never
    /// delayed, but for the bytes before it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, from: &Transport) -> Poll<usize> {
        // They were read before; those that they become are owed.
        if from.tls.as_ref().is_some_and(|tls| tls.has_backlog()) {
            return Poll::Ready(READ_CHUNK);
        }
        if self.holds_back() {
            ready!(self.timer.as_mut().poll(cx));
        } else {
            if let Some(bytes) = self.credit() {
                return Poll::Ready(bytes);
            }
            ready!(from.socket.poll_readable(cx));
        }
        loop {
            // Each round may come after the timer.
            let now = Instant::now();
            let readable = from.socket.readable_bytes();
            if matches!(self.phase, Phase::Free) {
                if readable == 0 {
                    return Poll::Ready(READ_CHUNK);
                }
                self.phase = Phase::Delayed(now + self.delay.first + self.delay.chunk);
            }
            let until = match self.phase {
                Phase::Delayed(until) if until > now => until,
                Phase::Free | Phase::Delayed(_) | Phase::Waiting => match self.ask(readable, now) {
                    Ok(bytes) => {
                        self.phase = Phase::Free;
                        return Poll::Ready(bytes);
                    }
                    Err(wait) => {
                        self.phase = Phase::Waiting;
                        now + wait
                    }
                },
            };
            self.timer.as_mut().reset(until.min(now + LOOK_INTERVAL));
            ready!(self.timer.as_mut().poll(cx));
        }
    }

    /// What may be read without a look at how much has come.
    fn credit(&self) -> Option<usize> {
        let flow = self.flow.as_ref()?;
        let is_delayed = self.delay != Delay::default();
        let bytes = (!is_delayed).then(|| flow.credit(Instant::now()))??;
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
        if moved > 0 {
            self.delay.first = Duration::ZERO;
        }
        if let Some(flow) = &mut self.flow {
            flow.settle(moved, Instant::now);
        }
    }

    /// Whether it is time to look whether the peers have reset.
    pub(super) fn is_look_due(&mut self) -> bool {
        if !self.holds_back() {
            return false;
        }
        let now = Instant::now();
        let is_due = now >= self.next_look;
        if is_due {
            self.next_look = now + LOOK_INTERVAL;
        }
        is_due
    }
}
