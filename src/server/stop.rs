//! The end of the process: drain, then cut.

use std::sync::Arc;

use tokio::time::{Instant, interval, sleep_until, timeout};
use tracing::{info, warn};

use super::control::{Asked, Control, ROUND};
use super::retire::Window;
use super::signals::Signal;
use super::{CUT, Ending, Patience};
use crate::outcome::Reason;
use crate::phase::Phase;
use crate::relay::Command;

impl Control {
    /// Lets the connections finish, as long as patience and policy last.
    pub(super) async fn stop(mut self, mut asked: Asked, patience: Patience) -> Ending {
        if patience == Patience::None {
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
        let cut_short = self.still(&mut asked, duck).await;
        let deadline = Instant::now() + policy.stop;
        self.stopping = Some(deadline);
        info!(connections = self.census.count(), "draining");
        self.phase.send_replace(Phase::Drain);
        // The accept loops close their sockets; a unix socket's file goes with them.
        self.doors.close();
        let table = &self.context.table;
        table.apply_to_new(Command::Drain {
            idle_after: policy.idle_after,
            from: Instant::now(),
            until: None,
        });
        Window::stop(&policy).drain(&table.all());
        let drained = !cut_short && self.drained(&mut asked, deadline).await;
        if drained {
            self.phase.send_replace(Phase::Cut);
            info!("drained");
            return Ending::Drained;
        }
        let left = self.census.count();
        self.cut().await;
        if left == 0 {
            return Ending::Drained;
        }
        warn!(connections = left, "cut at the end of the drain");
        Ending::Cut
    }

    /// Ends every connection now, and waits for their last words.
    pub(super) async fn cut(&mut self) {
        self.doors.close();
        self.phase.send_replace(Phase::Cut);
        let end = Command::End {
            reason: Reason::Drain,
            at: Instant::now(),
        };
        self.context.table.apply_to_new(end);
        for connection in self.context.table.all() {
            connection.handle.send(end);
        }
        let _ = timeout(CUT, self.census.emptied()).await;
    }

    /// Goes on as before until `end`. `true` when a second signal ends the patience.
    async fn still(&mut self, asked: &mut Asked, end: Instant) -> bool {
        let mut rounds = interval(ROUND);
        loop {
            tokio::select! {
                () = sleep_until(end) => return false,
                signal = asked.signals.next() => match signal {
                    Signal::Stop => return true,
                    Signal::Reload => info!("not reloaded: the process stops"),
                    Signal::Reopen => self.reopen(),
                },
                Some(call) = asked.calls.recv() => {
                    self.answer(call);
                }
                Some(event) = asked.news.recv() => self.origin_news(&event, &mut asked.news),
                _ = rounds.tick() => self.look_after(),
            }
        }
    }

    /// Whether all connections finished before the deadline and before a second signal.
    async fn drained(&mut self, asked: &mut Asked, deadline: Instant) -> bool {
        let census = Arc::clone(&self.census);
        tokio::select! {
            () = census.emptied() => true,
            _ = self.still(asked, deadline) => false,
        }
    }
}
