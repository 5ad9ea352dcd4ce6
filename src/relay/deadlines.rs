//! The time limits of a relay. Pure: the caller passes the time in.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

use super::handle::Command;
use super::limits::Limits;
use crate::outcome::Reason;

/// The relay's timer is always set; this is how far ahead when there is no limit.
const NEVER: Duration = Duration::from_secs(30 * 24 * 3600);

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RelayLimit {
    Idle,
    HalfClose,
    Lifetime,
    Drain,
    Commanded(Reason),
}

impl RelayLimit {
    /// Whether it counts from the last progress.
    pub(super) const fn is_about_progress(self) -> bool {
        matches!(self, Self::Idle | Self::HalfClose | Self::Drain)
    }
}

/// Into how many parts the time to a limit on progress is divided, to look at what the kernel still delivers.
const PARTS: u32 = 8;

/// How long a source that is not read may have been reset or ended unnoticed, if `half_close` is no limit.
const SOURCE_CHECK_MAX: Duration = Duration::from_secs(30);

/// What a look at the sockets has found, which the kernel reports by no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The bytes that the peers had not acknowledged; `None` before the first look since the last progress.
    pub(super) undelivered: Option<usize>,
    /// Whether a source is not read because its sink takes nothing.
    pub(super) is_stalled: bool,
}

pub(super) struct Deadlines {
    pub(super) limits: Limits,
    /// Boxed, because few connections ever get a command and every live one pays for the field.
    command: Option<Box<Command>>,
    ended: bool,
    last_progress: Instant,
}

impl Deadlines {
    pub(super) const fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            command: None,
            ended: false,
            last_progress: now,
        }
    }

    /// Bytes have moved.
    pub(super) const fn progress(&mut self, now: Instant) {
        self.last_progress = now;
    }

    /// Whether a direction has ended.
    pub(super) const fn is_ending(&self) -> bool {
        self.ended
    }

    /// The first direction has ended. The deadline may be earlier now.
    pub(super) const fn first_end(&mut self, now: Instant) {
        self.ended = true;
        self.progress(now);
    }

    /// A source has ended that is not read. Unlike [`Deadlines::first_end`], this is no progress: the end is
    /// older than the look that found it.
    pub(super) const fn unread_end(&mut self) {
        self.ended = true;
    }

    /// Sets the command in force. The deadline may have changed.
    pub(super) fn set_command(&mut self, command: Option<Command>) {
        self.command = command.map(Box::new);
    }

    /// The deadline that the command sets.
    fn commanded(&self) -> Option<(Instant, RelayLimit)> {
        Some(match **self.command.as_ref()? {
            Command::Drain {
                idle_after,
                from,
                until,
            } => {
                let idle = self.last_progress.checked_add(idle_after);
                let idle = idle.map(|idle| (idle.max(from), RelayLimit::Drain));
                let until = until.map(|until| (until, RelayLimit::Commanded(Reason::Drain)));
                idle.into_iter().chain(until).min_by_key(|(at, _)| *at)?
            }
            Command::End { reason, at } => (at, RelayLimit::Commanded(reason)),
        })
    }

    /// When to check the limits again: at the earliest of them, or before that to look at the sockets.
    pub(super) fn next_check(&self, now: Instant, look: Look) -> Instant {
        let mut next = now + NEVER;
        if let Some((at, limit)) = self.limits().min_by_key(|(at, _)| *at) {
            let part = at.saturating_duration_since(self.last_progress) / PARTS;
            next = match look.undelivered {
                _ if !limit.is_about_progress() => at,
                // Only two looks tell whether the peers still take bytes, so the first one comes early.
                None => self.last_progress + part,
                Some(0) => at,
                Some(_) => at.min(now + part),
            };
        }
        if look.is_stalled {
            next = next.min(now + self.source_check());
        }
        next
    }

    /// How often a source that is not read is looked at.
    pub(super) fn source_check(&self) -> Duration {
        let half_close = self.limits.half_close;
        half_close.map_or(SOURCE_CHECK_MAX, |limit| (limit / 2).min(SOURCE_CHECK_MAX))
    }

    /// The earliest limit that has been reached, if any.
    pub(super) fn expired(&self, now: Instant) -> Option<RelayLimit> {
        self.limits()
            .filter(|(at, _)| *at <= now)
            .min_by_key(|(at, _)| *at)
            .map(|(_, limit)| limit)
    }

    fn limits(&self) -> impl Iterator<Item = (Instant, RelayLimit)> {
        let since = |limit: Option<Duration>, name| {
            limit
                .and_then(|d| self.last_progress.checked_add(d))
                .map(|at| (at, name))
        };
        [
            since(self.limits.idle, RelayLimit::Idle),
            since(
                self.limits.half_close.filter(|_| self.ended),
                RelayLimit::HalfClose,
            ),
            self.commanded(),
            self.limits.lifetime.map(|at| (at, RelayLimit::Lifetime)),
        ]
        .into_iter()
        .flatten()
    }
}
