//! Tells the service manager that the process is alive, as long as it is: `WatchdogSec=` of systemd.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::error;

use crate::control::sd_notify::Notifier;
use crate::worker::Workers;

/// A worker that has not run for this long does not answer. Its heart beats once a second.
const SILENCE: Duration = Duration::from_secs(2);

/// The messages of the watchdog; none if the service manager does not expect any.
pub(crate) struct Watchdog {
    workers: Arc<Workers>,
    /// Half of the time after which the service manager acts.
    ticks: Option<Interval>,
    /// Whether a worker's silence was logged.
    is_reported: bool,
}

impl Watchdog {
    /// The watchdog that `WATCHDOG_USEC` asks for, unless `WATCHDOG_PID` names another process. On the
    /// control loop's runtime.
    pub(crate) fn from_environment(workers: Arc<Workers>) -> Self {
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let pid = std::env::var_os("WATCHDOG_PID");
        let is_ours = pid.is_none() || number("WATCHDOG_PID") == Some(std::process::id().into());
        let limit = number("WATCHDOG_USEC").filter(|limit| is_ours && *limit > 1);
        Self::new(workers, limit.map(Duration::from_micros))
    }

    fn new(workers: Arc<Workers>, limit: Option<Duration>) -> Self {
        let ticks = limit.map(|limit| {
            let mut ticks = interval(limit / 2);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Self {
            workers,
            ticks,
            is_reported: false,
        }
    }

    /// Waits until the next message is due; forever, if none is expected. May be dropped at any await.
    pub(crate) async fn due(&mut self) {
        match &mut self.ticks {
            Some(ticks) => {
                ticks.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Sends the message, unless a worker does not answer.
    pub(crate) fn notify(&mut self, notifier: &Notifier) {
        match self.workers.silent_for(SILENCE) {
            None => {
                self.is_reported = false;
                notifier.alive();
            }
            Some(worker) if !self.is_reported => {
                self.is_reported = true;
                error!(
                    worker,
                    "a worker does not answer, so the service manager's watchdog is not served"
                );
            }
            Some(_) => {}
        }
    }
}
