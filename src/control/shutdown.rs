//! Shutdown: drain, then abort.

use std::sync::Arc;

use tokio::time::{Instant, interval, sleep_until, timeout};
use tracing::{info, warn};

use crate::control::recheck::DrainSchedule;
use crate::control::signals::Signal;
use crate::control::{Control, Inputs, TICK_INTERVAL};
use crate::outcome::Reason;
use crate::phase::Phase;
use crate::relay::Command;
use crate::worker::FLUSH_AFTER_ABORT;

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

impl Control {
    /// Lets the connections finish, as long as mode and policy allow.
    pub(crate) async fn stop(mut self, mut inputs: Inputs, mode: StopMode) -> Ending {
        if mode == StopMode::Immediate {
            self.abort_all().await;
            return Ending::Drained;
        }
        self.refuse_pending_reloads();
        let policy = self.live.load().process.drain;
        let lame_duck_end = Instant::now() + policy.lame_duck;
        if !policy.lame_duck.is_zero() {
            let seconds = policy.lame_duck.as_secs_f64();
            info!(
                seconds,
                "no longer ready; draining begins after the lame duck"
            );
        }
        self.stopping = Some(lame_duck_end + policy.stop);
        self.phase.send_replace(Phase::LameDuck);
        let stopped_early = self.serve_until(&mut inputs, lame_duck_end).await;
        let deadline = Instant::now() + policy.stop;
        self.stopping = Some(deadline);
        info!(connections = self.active.count(), "draining");
        self.phase.send_replace(Phase::Drain);
        // The accept loops close their sockets; dropping a unix socket's guard removes its file.
        self.listeners.close();
        let table = &self.context.table;
        table.apply_to_new(Command::Drain {
            idle_after: policy.idle_after,
            from: Instant::now(),
            until: None,
        });
        DrainSchedule::stop(&policy).drain(&table.all());
        let drained = !stopped_early && self.drained(&mut inputs, deadline).await;
        if drained {
            self.phase.send_replace(Phase::Abort);
            info!("drained");
            return Ending::Drained;
        }
        let left = self.active.count();
        self.abort_all().await;
        if left == 0 {
            return Ending::Drained;
        }
        warn!(connections = left, "aborted at the end of the drain");
        Ending::Aborted
    }

    /// Aborts every connection, and waits for the final flush of each.
    pub(crate) async fn abort_all(&mut self) {
        self.listeners.close();
        self.phase.send_replace(Phase::Abort);
        let end = Command::End {
            reason: Reason::Drain,
            at: Instant::now(),
        };
        self.context.table.apply_to_new(end);
        for connection in self.context.table.all() {
            connection.handle.send(end);
        }
        let _ = timeout(FLUSH_AFTER_ABORT, self.active.idle()).await;
    }

    /// Serves as before until `end`. Returns `true` if a second signal ends the lame duck.
    async fn serve_until(&mut self, inputs: &mut Inputs, end: Instant) -> bool {
        let mut ticks = interval(TICK_INTERVAL);
        loop {
            tokio::select! {
                () = sleep_until(end) => return false,
                signal = inputs.signals.next() => match signal {
                    Signal::Stop => return true,
                    Signal::Reload => info!("not reloaded: the process stops"),
                    Signal::Reopen => self.reopen(),
                },
                Some(request) = inputs.requests.recv() => {
                    self.handle(request);
                }
                Some(event) = inputs.origin_events.recv() => self.on_origin_event(&event, &mut inputs.origin_events),
                _ = ticks.tick() => self.tick(),
            }
        }
    }

    /// Whether all connections finished before the deadline and before a second signal.
    async fn drained(&mut self, inputs: &mut Inputs, deadline: Instant) -> bool {
        let active = Arc::clone(&self.active);
        tokio::select! {
            () = active.idle() => true,
            _ = self.serve_until(inputs, deadline) => false,
        }
    }
}
