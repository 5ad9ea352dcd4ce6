//! The thread of a collector: takes records from the queue, sends them, and tries again what failed.

use std::fmt;
use std::time::Duration;

use tracing::{info, warn};

use super::record::Exported;
use crate::observe::queue::{BATCH, LogQueue};

/// The pause before what failed is sent again: the first one, doubled each time, and the longest.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// A place that records are sent to.
pub(super) trait Collector: fmt::Debug {
    /// Where it is, for people.
    fn place(&self) -> String;

    /// Sends records, in order, and removes those that were sent or are given up. Blocks within bounds.
    fn send(&mut self, records: &mut Vec<Exported>) -> Result<Refused, Unsent>;
}

/// What a collector did not take, for good.
#[derive(Debug, Default)]
pub(super) struct Refused {
    pub(super) records: u64,
    /// The reason, if there are any.
    pub(super) why: Option<String>,
}

/// The records that remain have to be sent again.
#[derive(Debug)]
pub(super) struct Unsent {
    pub(super) why: String,
    /// When the collector wants them again.
    pub(super) after: Option<Duration>,
}

impl From<std::io::Error> for Unsent {
    fn from(error: std::io::Error) -> Self {
        Self {
            why: error.to_string(),
            after: None,
        }
    }
}

/// Sends what is queued until the queue is closed.
pub(super) fn deliver(
    name: &'static str,
    queue: &LogQueue<Exported>,
    collector: &mut dyn Collector,
) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut health = Health { name, lost: None };
    loop {
        let orders = queue.take(&mut batch, Duration::MAX);
        let may_wait = orders.flushes.is_empty() && !orders.is_closed;
        send_all(queue, collector, &mut batch, may_wait, &mut health);
        if orders.is_last {
            for flushed in orders.flushes {
                let _ = flushed.send(());
            }
            if orders.is_closed {
                return;
            }
            queue.pause();
        }
    }
}

/// Sends a batch. What cannot be sent is tried again, unless there is no time for that.
fn send_all(
    queue: &LogQueue<Exported>,
    collector: &mut dyn Collector,
    batch: &mut Vec<Exported>,
    may_wait: bool,
    health: &mut Health,
) {
    let mut backoff = RETRY_FIRST;
    while !batch.is_empty() {
        match collector.send(batch) {
            Ok(refused) => {
                if refused.records > 0 {
                    queue.lose(refused.records);
                }
                health.sent(queue, collector, refused);
                backoff = RETRY_FIRST;
            }
            Err(unsent) => {
                health.failed(collector, &unsent.why);
                let pause = unsent.after.unwrap_or(backoff).min(RETRY_MAX);
                backoff = (backoff * 2).min(RETRY_MAX);
                if !may_wait || !queue.may_wait(pause) {
                    queue.lose(batch.len() as u64);
                    batch.clear();
                }
            }
        }
    }
}

/// Whether the collector takes records, which is told when it changes.
struct Health {
    name: &'static str,
    /// How many records had been lost when it began to fail; absent while it works.
    lost: Option<u64>,
}

impl Health {
    fn failed(&mut self, collector: &dyn Collector, why: &str) {
        if self.lost.is_none() {
            self.lost = Some(0);
            warn!(
                log = self.name,
                to = collector.place(),
                error = why,
                "records of the access log cannot be sent; they are tried again"
            );
        }
    }

    fn sent(&mut self, queue: &LogQueue<Exported>, collector: &dyn Collector, refused: Refused) {
        let lost = queue.lost.swap(0, std::sync::atomic::Ordering::Relaxed);
        if let Some(why) = refused.why {
            self.lost = None;
            warn!(
                log = self.name,
                to = collector.place(),
                error = why,
                lost,
                "records of the access log were refused"
            );
        } else if self.lost.take().is_some() || lost > 0 {
            info!(
                log = self.name,
                to = collector.place(),
                lost,
                "records of the access log are sent again"
            );
        }
    }
}
