//! The limits of a relay in time. Pure but for reading the clock.

use std::time::Duration;

use tokio::time::Instant;

use super::Command;
use super::Limits;
use crate::outcome::Reason;

/// With no limit at all the timer still has to be set to something.
const NEVER: Duration = Duration::from_secs(30 * 24 * 3600);

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Idle,
    HalfClose,
    Lifetime,
    Drain,
    Commanded(Reason),
}

impl Limit {
    /// Whether it is about nothing having moved.
    pub(super) const fn is_about_progress(self) -> bool {
        matches!(self, Self::Idle | Self::HalfClose | Self::Drain)
    }
}

pub(super) struct Deadlines {
    limits: Limits,
    /// In a box, as hardly any connection has one.
    command: Option<Box<Command>>,
    ended: bool,
    last_progress: Instant,
}

impl Deadlines {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            command: None,
            ended: false,
            last_progress: Instant::now(),
        }
    }

    /// Something moved.
    pub(super) fn progress(&mut self) {
        self.last_progress = Instant::now();
    }

    /// A direction has ended. `true` the first time: the deadline may be nearer now.
    pub(super) fn first_end(&mut self) -> bool {
        if self.ended {
            return false;
        }
        self.ended = true;
        self.progress();
        true
    }

    /// Takes note of the command in force. The deadline may be another one now.
    pub(super) fn set_command(&mut self, command: Option<Command>) {
        self.command = command.map(Box::new);
    }

    /// The moment that the command sets.
    fn commanded(&self) -> Option<(Instant, Limit)> {
        Some(match **self.command.as_ref()? {
            Command::Drain {
                idle_after,
                from,
                until,
            } => {
                let idle = self.last_progress.checked_add(idle_after);
                let idle = idle.map(|idle| (idle.max(from), Limit::Drain));
                let until = until.map(|until| (until, Limit::Commanded(Reason::Drain)));
                idle.into_iter().chain(until).min_by_key(|(at, _)| *at)?
            }
            Command::End { reason, at } => (at, Limit::Commanded(reason)),
        })
    }

    /// The moment to look at the limits again.
    pub(super) fn deadline(&self) -> Instant {
        self.limits()
            .map(|(at, _)| at)
            .min()
            .unwrap_or_else(|| Instant::now() + NEVER)
    }

    /// The limit that has been reached, if one has.
    pub(super) fn expired(&self) -> Option<Limit> {
        let now = Instant::now();
        self.limits()
            .filter(|(at, _)| *at <= now)
            .min_by_key(|(at, _)| *at)
            .map(|(_, limit)| limit)
    }

    fn limits(&self) -> impl Iterator<Item = (Instant, Limit)> {
        let since = |limit: Option<Duration>, name| {
            limit
                .and_then(|d| self.last_progress.checked_add(d))
                .map(|at| (at, name))
        };
        [
            since(self.limits.idle, Limit::Idle),
            since(
                self.limits.half_close.filter(|_| self.ended),
                Limit::HalfClose,
            ),
            self.commanded(),
            self.limits.lifetime.map(|at| (at, Limit::Lifetime)),
        ]
        .into_iter()
        .flatten()
    }
}
