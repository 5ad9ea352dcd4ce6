//! When records of connections that go on are written.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use crate::connection::ConnInfo;
use crate::connection::live_progress;
use crate::connection::table::ConnTable;
use crate::observe::access_log::AccessLog;

/// The share of an interval by which a record may come late, in exchange for fewer looks at all connections.
const LATENESS: u32 = 60;
const LATENESS_MAX: Duration = Duration::from_secs(10);

/// The writing of such records, on a blocking thread, once at a time.
#[derive(Debug)]
pub(crate) struct ProgressRecords {
    log: AccessLog,
    next: Instant,
    running: Option<JoinHandle<()>>,
}

impl ProgressRecords {
    pub(crate) fn of(log: AccessLog) -> Self {
        Self {
            log,
            next: Instant::now(),
            running: None,
        }
    }

    /// Writes those that are due, if it is time to look for them.
    pub(crate) fn proceed(&mut self, table: &Arc<ConnTable<ConnInfo>>) {
        let Some(every) = self.log.every() else {
            return;
        };
        let now = Instant::now();
        let is_running = self
            .running
            .as_ref()
            .is_some_and(|running| !running.is_finished());
        if now < self.next || is_running {
            return;
        }
        self.next = now + (every / LATENESS).min(LATENESS_MAX);
        let (table, log) = (Arc::clone(table), self.log.clone());
        self.running = Some(spawn_blocking(move || live_progress::write(&table, &log)));
    }
}
