//! The workers as they see each other, what they send to each other, and which of them gets a connection.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant as Clock};

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::accept::ListenerState;
use super::active::ActiveCount;
use super::busy::Busy;
use crate::admission::{LimitScope, Permit};
use crate::snapshot::{Endpoint, ListenKey};

/// A worker hands a new connection to another one that has at least this many fewer. The kernel spreads
/// connections by hash, which is uneven for few long ones; a handover costs a wake-up.
const HANDOVER_MARGIN: usize = 8;

/// A message to a worker.
pub(crate) enum Message {
    /// A connection accepted by another worker.
    Handover(Handover),
    /// A listening socket to accept from.
    Listener(RegisterListener),
}

/// A bound socket to register with a worker's runtime.
pub(crate) struct RegisterListener {
    /// Its address for the log.
    pub(crate) address: String,
    /// Where it listens, in the terms of the configuration.
    pub(crate) key: ListenKey,
    /// The endpoint it is opened for.
    pub(crate) endpoint: Arc<Endpoint>,
    /// The socket.
    pub(crate) socket: OwnedFd,
    /// When it opens and closes.
    pub(crate) state: watch::Receiver<ListenerState>,
    /// Receives the result of the registration.
    pub(crate) registered: oneshot::Sender<io::Result<()>>,
}

/// A connection that is accepted but not yet registered with a runtime.
pub(crate) struct Handover {
    pub(super) socket: OwnedFd,
    pub(super) client: Option<SocketAddr>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) generation: u64,
    pub(super) permit: Permit,
    pub(super) scope: Option<Arc<LimitScope>>,
    pub(super) at: Instant,
    pub(super) guard: ActiveGuard,
}

/// The workers as they see each other: the load and the inbox of each. The cap on connections bounds the
/// messages in the inboxes.
pub(crate) struct Workers {
    loads: Vec<AtomicUsize>,
    busy: Busy,
    /// When each worker last ran, in milliseconds since `started`.
    beats: Vec<AtomicU64>,
    started: Clock,
    inboxes: Vec<mpsc::UnboundedSender<Message>>,
}

impl Workers {
    /// One worker per runtime.
    pub(crate) fn new(runtimes: &[Runtime]) -> (Arc<Self>, Vec<mpsc::UnboundedReceiver<Message>>) {
        let (inboxes, receivers) = runtimes.iter().map(|_| mpsc::unbounded_channel()).unzip();
        let workers = Self {
            loads: runtimes.iter().map(|_| AtomicUsize::new(0)).collect(),
            busy: Busy::new(runtimes.iter().map(|r| r.metrics()).collect()),
            beats: runtimes.iter().map(|_| AtomicU64::new(0)).collect(),
            started: Clock::now(),
            inboxes,
        };
        (Arc::new(workers), receivers)
    }

    /// Sends a message to a worker. Returns `false` only while the process ends.
    pub(crate) fn send(&self, index: usize, message: Message) -> bool {
        self.inboxes
            .get(index)
            .is_some_and(|inbox| inbox.send(message).is_ok())
    }

    /// The number of workers.
    pub(crate) const fn count(&self) -> usize {
        self.inboxes.len()
    }

    /// For each worker its connections, and how long it has been busy since its start.
    pub(crate) fn usage(&self) -> Vec<(usize, Duration)> {
        let loads = self.loads.iter().map(|load| load.load(Ordering::Relaxed));
        loads.zip(self.busy.totals()).collect()
    }

    /// A worker that has not run for `limit`, longer than a heartbeat, if there is one.
    pub(crate) fn silent_for(&self, limit: Duration) -> Option<usize> {
        let since = self.started.elapsed().saturating_sub(limit);
        let is_silent =
            |beat: &AtomicU64| u128::from(beat.load(Ordering::Relaxed)) < since.as_millis();
        self.beats.iter().position(is_silent)
    }

    /// Notes that a worker runs.
    pub(super) fn beat(&self, index: usize) {
        if let Some(beat) = self.beats.get(index) {
            let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            beat.store(now, Ordering::Relaxed);
        }
    }

    fn load(&self, index: usize) -> usize {
        self.loads
            .get(index)
            .map_or(0, |load| load.load(Ordering::Relaxed))
    }

    /// The worker to serve a connection that worker `index` has accepted.
    pub(super) fn choose(&self, index: usize) -> usize {
        self.busy.refresh();
        let all = (0..self.loads.len()).map(|worker| (self.busy.is(worker), self.load(worker)));
        choose(all, index)
    }
}

/// The worker to serve a connection that worker `index` has accepted, given whether each worker is busy and
/// its number of connections: a busy worker hands over to one that is not, and among equals the numbers
/// decide.
fn choose(workers: impl Iterator<Item = (bool, usize)> + Clone, index: usize) -> usize {
    let Some((busy, own)) = workers.clone().nth(index) else {
        return index;
    };
    let least = workers.enumerate().min_by_key(|(_, load)| *load);
    least
        .filter(|(_, (other, load))| {
            (busy && !other) || (*other == busy && load + HANDOVER_MARGIN < own)
        })
        .map_or(index, |(least, _)| least)
}

/// Counts a connection on its worker and in the process until it is dropped.
pub(super) struct ActiveGuard {
    workers: Arc<Workers>,
    active: Arc<ActiveCount>,
    index: usize,
}

impl ActiveGuard {
    pub(super) fn take(workers: &Arc<Workers>, active: &Arc<ActiveCount>, index: usize) -> Self {
        if let Some(load) = workers.loads.get(index) {
            load.fetch_add(1, Ordering::Relaxed);
        }
        active.enter();
        Self {
            workers: Arc::clone(workers),
            active: Arc::clone(active),
            index,
        }
    }
}

impl Drop for ActiveGuard {
    fn drop(&mut self) {
        if let Some(load) = self.workers.loads.get(self.index) {
            load.fetch_sub(1, Ordering::Relaxed);
        }
        self.active.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(workers: &[(bool, usize)], index: usize) -> usize {
        choose(workers.iter().copied(), index)
    }

    #[test]
    fn connections_stay_on_the_accepting_worker_while_loads_are_even() {
        assert_eq!(chosen(&[(false, 8), (false, 0)], 0), 0);
        assert_eq!(chosen(&[(true, 8), (true, 0)], 0), 0);
        assert_eq!(chosen(&[(false, 9), (false, 0)], 0), 1);
        assert_eq!(chosen(&[(true, 9), (true, 0)], 0), 1);
    }

    #[test]
    fn a_busy_worker_gets_no_connection_while_another_is_idle() {
        assert_eq!(chosen(&[(true, 1), (false, 5_000)], 0), 1);
        assert_eq!(chosen(&[(true, 1), (false, 5_000)], 1), 1);
        assert_eq!(chosen(&[(true, 1), (false, 50), (false, 5_000)], 2), 1);
    }
}
