//! Shutdown: the phases of a stop, and what each does to listeners and connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::connection::ConnInfo;
use crate::connection::table::ConnTable;
use crate::control::drain::DrainSchedule;
use crate::control::listeners::Listeners;
use crate::outcome::Reason;
use crate::phase::Phase;
use crate::relay::Command;
use crate::snapshot::DrainPolicy;
use crate::worker::FLUSH_AFTER_ABORT;
use crate::worker::active::ActiveCount;

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All connections finished, or the stop mode was immediate.
    Drained,
    /// Some connections were aborted.
    Aborted,
}

/// What the signals that stop the process do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// The first signal drains, a second one aborts.
    Drain,
    /// The first signal aborts: for commands that run at a terminal.
    Immediate,
}

/// The phase of the process, and the connections that a stop has to end.
#[derive(Debug)]
pub(crate) struct Shutdown {
    phase: watch::Sender<Phase>,
    table: Arc<ConnTable<ConnInfo>>,
    active: Arc<ActiveCount>,
    /// When the remaining connections are aborted, once the process stops.
    deadline: Option<Instant>,
}

impl Shutdown {
    /// A process that serves; workers and connections follow `phase`.
    pub(crate) const fn new(
        phase: watch::Sender<Phase>,
        table: Arc<ConnTable<ConnInfo>>,
        active: Arc<ActiveCount>,
    ) -> Self {
        Self {
            phase,
            table,
            active,
            deadline: None,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Whether the process stops.
    pub(crate) const fn has_begun(&self) -> bool {
        self.deadline.is_some()
    }

    /// The time until the remaining connections are aborted, once the process stops.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let deadline = self.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// Begins the stop: the process serves and is no longer ready, until the returned time.
    pub(crate) fn lame_duck(&mut self, policy: &DrainPolicy) -> Instant {
        let end = Instant::now() + policy.lame_duck;
        if !policy.lame_duck.is_zero() {
            let seconds = policy.lame_duck.as_secs_f64();
            info!(
                seconds,
                "no longer ready; draining begins after the lame duck"
            );
        }
        self.deadline = Some(end + policy.stop);
        self.phase.send_replace(Phase::LameDuck);
        end
    }

    /// Closes the listeners and lets the connections finish, until the returned time.
    pub(crate) fn drain(&mut self, policy: &DrainPolicy, listeners: &mut Listeners) -> Instant {
        let deadline = Instant::now() + policy.stop;
        self.deadline = Some(deadline);
        info!(connections = self.active.count(), "draining");
        self.phase.send_replace(Phase::Drain);
        // The accept loops close their sockets; dropping a unix socket's guard removes its file.
        listeners.close(policy.stop);
        self.table.apply_to_new(Command::Drain {
            idle_after: policy.idle_after,
            from: Instant::now(),
            until: None,
        });
        DrainSchedule::stop(policy).drain(&self.table.all());
        deadline
    }

    /// Waits until there are neither connections nor accept loops.
    pub(crate) fn drained(&self) -> impl Future<Output = ()> + use<> {
        let active = Arc::clone(&self.active);
        async move { active.idle().await }
    }

    /// Ends the drain: aborts what is left, unless all connections have finished.
    pub(crate) async fn end(&self, drained: bool, listeners: &mut Listeners) -> Ending {
        if drained {
            self.phase.send_replace(Phase::Abort);
            info!("drained");
            return Ending::Drained;
        }
        let left = self.active.count();
        self.abort(listeners).await;
        if left == 0 {
            return Ending::Drained;
        }
        warn!(connections = left, "aborted at the end of the drain");
        Ending::Aborted
    }

    /// Aborts every connection, and waits for the final flush of each.
    pub(crate) async fn abort(&self, listeners: &mut Listeners) {
        listeners.close(Duration::ZERO);
        self.phase.send_replace(Phase::Abort);
        let end = Command::End {
            reason: Reason::Drain,
            at: Instant::now(),
        };
        self.table.apply_to_new(end);
        for connection in self.table.all() {
            connection.handle.send(end);
        }
        let _ = timeout(FLUSH_AFTER_ABORT, self.active.idle()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fixtures::{self, Parts};

    fn policy() -> DrainPolicy {
        DrainPolicy {
            lame_duck: Duration::from_secs(5),
            stop: Duration::from_secs(30),
            removed: Duration::ZERO,
            idle_after: Duration::ZERO,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_is_lame_duck_then_drain_and_connections_are_told_to_end_when_idle() {
        let mut process = Parts::new();
        let early = fixtures::connection(&process.table, 1);
        assert!(!process.shutdown.has_begun());
        let lame_duck_end = process.shutdown.lame_duck(&policy());
        assert_eq!(lame_duck_end, Instant::now() + Duration::from_secs(5));
        assert_eq!(process.shutdown.phase(), Phase::LameDuck);
        let left = process.shutdown.time_left();
        assert_eq!(left, Some(Duration::from_secs(35)));
        assert_eq!(early.conn().handle.command(), None);
        process.shutdown.drain(&policy(), &mut process.listeners);
        assert_eq!(process.shutdown.phase(), Phase::Drain);
        let late = fixtures::connection(&process.table, 2);
        for connection in [early, late] {
            let command = connection.conn().handle.command();
            assert!(matches!(command, Some(Command::Drain { .. })));
        }
        process.shutdown.drained().await;
        let ending = process.shutdown.end(true, &mut process.listeners).await;
        assert_eq!(ending, Ending::Drained);
        assert_eq!(process.shutdown.phase(), Phase::Abort);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_at_the_end_of_the_drain_is_aborted_and_told() {
        let mut process = Parts::new();
        process.shutdown.active.enter();
        let connection = fixtures::connection(&process.table, 1);
        process.shutdown.drain(&policy(), &mut process.listeners);
        let ending = process.shutdown.end(false, &mut process.listeners).await;
        assert_eq!(ending, Ending::Aborted);
        assert!(matches!(
            connection.conn().handle.command(),
            Some(Command::End {
                reason: Reason::Drain,
                ..
            })
        ));
    }
}
