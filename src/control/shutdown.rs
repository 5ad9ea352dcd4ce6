//! The end of the process: drain, then cut.

use std::sync::Arc;

use tokio::time::{Instant, interval, sleep_until, timeout};
use tracing::{info, warn};

use crate::control::recheck::DrainSchedule;
use crate::control::signals::Signal;
use crate::control::{Control, Inputs, ROUND};
use crate::outcome::Reason;
use crate::phase::Phase;
use crate::relay::Command;
use crate::worker::FLUSH_AFTER_ABORT;

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All connections finished, or the stop mode was immediate.
    Drained,
    /// Some were aborted.
    Cut,
}

/// What the signals that stop the process do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// The first signal drains, a second one cuts.
    Drain,
    /// The first signal cuts: for commands that run at a terminal.
    None,
}

impl Control {
    /// Lets the connections finish, as long as mode and policy last.
    pub(crate) async fn stop(mut self, mut inputs: Inputs, mode: StopMode) -> Ending {
        if mode == StopMode::None {
            self.cut().await;
            return Ending::Drained;
        }
        self.give_reloads_up();
        let policy = self.live.load().process.drain;
        let duck = Instant::now() + policy.lame_duck;
        if !policy.lame_duck.is_zero() {
            let seconds = policy.lame_duck.as_secs_f64();
            info!(
                seconds,
                "no longer ready; draining begins after the lame duck"
            );
        }
        self.stopping = Some(duck + policy.stop);
        self.phase.send_replace(Phase::LameDuck);
        let cut_short = self.still(&mut inputs, duck).await;
        let deadline = Instant::now() + policy.stop;
        self.stopping = Some(deadline);
        info!(connections = self.active.count(), "draining");
        self.phase.send_replace(Phase::Drain);
        // The accept loops close their sockets; a unix socket's file goes with them.
        self.listeners.close();
        let table = &self.context.table;
        table.apply_to_new(Command::Drain {
            idle_after: policy.idle_after,
            from: Instant::now(),
            until: None,
        });
        DrainSchedule::stop(&policy).drain(&table.all());
        let drained = !cut_short && self.drained(&mut inputs, deadline).await;
        if drained {
            self.phase.send_replace(Phase::Cut);
            info!("drained");
            return Ending::Drained;
        }
        let left = self.active.count();
        self.cut().await;
        if left == 0 {
            return Ending::Drained;
        }
        warn!(connections = left, "cut at the end of the drain");
        Ending::Cut
    }

    /// Ends every connection now, and waits for their last words.
    pub(crate) async fn cut(&mut self) {
        self.listeners.close();
        self.phase.send_replace(Phase::Cut);
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

    /// Goes on as before until `end`. `true` when a second signal ends the mode.
    async fn still(&mut self, inputs: &mut Inputs, end: Instant) -> bool {
        let mut rounds = interval(ROUND);
        loop {
            tokio::select! {
                () = sleep_until(end) => return false,
                signal = inputs.signals.next() => match signal {
                    Signal::Stop => return true,
                    Signal::Reload => info!("not reloaded: the process stops"),
                    Signal::Reopen => self.reopen(),
                },
                Some(call) = inputs.calls.recv() => {
                    self.answer(call);
                }
                Some(event) = inputs.origin_events.recv() => self.on_origin_event(&event, &mut inputs.origin_events),
                _ = rounds.tick() => self.tick(),
            }
        }
    }

    /// Whether all connections finished before the deadline and before a second signal.
    async fn drained(&mut self, inputs: &mut Inputs, deadline: Instant) -> bool {
        let active = Arc::clone(&self.active);
        tokio::select! {
            () = active.idle() => true,
            _ = self.still(inputs, deadline) => false,
        }
    }
}
