//! A worker: one thread with its own runtime, listening sockets and connections.

mod accept;
pub(crate) mod active;
mod busy;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant as Clock};

use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::error;

pub(crate) use self::accept::{Closing, ListenerState};
use self::accept::{Intake, accept_loop};
use crate::admission::{Admission, LimitScope, Permit, WaitingLimit};
use crate::connection::{self, Accepted, WorkerContext};
use crate::phase;
use crate::snapshot::{Endpoint, ListenKey, Live};
use crate::sys;
use crate::transport::Socket;
use crate::worker::active::ActiveCount;
use crate::worker::busy::Busy;

/// A worker hands a new connection to another one that has at least this many fewer. The kernel spreads
/// connections by hash, which is uneven for few long ones; a handover costs a wake-up.
const HANDOVER_MARGIN: usize = 8;

/// Bound on the final flush after an abort: one second for each connection, and some slack.
pub(crate) const FLUSH_AFTER_ABORT: Duration = Duration::from_millis(1500);

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
    socket: OwnedFd,
    client: Option<SocketAddr>,
    endpoint: Arc<Endpoint>,
    generation: u64,
    permit: Permit,
    scope: Option<Arc<LimitScope>>,
    at: Instant,
    guard: ActiveGuard,
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

    fn beat(&self, index: usize) {
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
    fn choose(&self, index: usize) -> usize {
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
struct ActiveGuard {
    workers: Arc<Workers>,
    active: Arc<ActiveCount>,
    index: usize,
}

impl ActiveGuard {
    fn take(workers: &Arc<Workers>, active: &Arc<ActiveCount>, index: usize) -> Self {
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

/// Counts an accept loop until it is dropped.
struct AcceptGuard(Arc<ActiveCount>);

impl AcceptGuard {
    fn new(active: &Arc<ActiveCount>) -> Self {
        active.enter_listener();
        Self(Arc::clone(active))
    }
}

impl Drop for AcceptGuard {
    fn drop(&mut self) {
        self.0.leave_listener();
    }
}

pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) workers: Arc<Workers>,
    pub(crate) inbox: mpsc::UnboundedReceiver<Message>,
    pub(crate) live: Arc<Live>,
    pub(crate) admission: Admission,
    pub(crate) context: Arc<WorkerContext>,
    pub(crate) active: Arc<ActiveCount>,
}

impl Worker {
    /// Runs until the process aborts its connections, and for their final flush.
    pub(crate) async fn work(mut self) {
        let heartbeat = tokio::spawn(heartbeat(self.index, Arc::clone(&self.workers)));
        let mut accepting = JoinSet::new();
        let mut phases = self.context.phases.clone();
        let aborted = phase::aborted(&mut phases);
        tokio::pin!(aborted);
        loop {
            tokio::select! {
                biased;
                () = &mut aborted => break,
                Some(message) = self.inbox.recv() => match message {
                    Message::Handover(handover) => spawn(handover, &self.context),
                    Message::Listener(listener) => self.open(listener, &mut accepting),
                },
                Some(ended) = accepting.join_next() => if ended.is_err() {
                    error!("an accept loop has panicked");
                },
            }
        }
        // A handover that is still in the inbox would otherwise end without a record.
        while let Ok(message) = self.inbox.try_recv() {
            if let Message::Handover(handover) = message {
                spawn(handover, &self.context);
            }
        }
        let _ = timeout(FLUSH_AFTER_ABORT, self.active.idle()).await;
        heartbeat.abort();
    }

    /// Registers a socket with this worker's runtime. Its accept loop starts once the listener opens.
    fn open(&self, new: RegisterListener, accepting: &mut JoinSet<()>) {
        let listener = match sys::watch(new.socket) {
            Ok(listener) => listener,
            Err(error) => {
                let _ = new.registered.send(Err(error));
                return;
            }
        };
        let mut dispatcher = self.dispatcher(new.key, new.endpoint);
        let admission = self.admission.clone();
        let accept_guard = AcceptGuard::new(&self.active);
        accepting.spawn(async move {
            let _guard = accept_guard;
            let accepting = accept_loop(
                &new.address,
                new.state,
                listener,
                admission,
                &mut dispatcher,
            );
            if let Err(error) = accepting.await {
                error!(address = %new.address, %error, "the accept loop has ended");
            }
        });
        let _ = new.registered.send(Ok(()));
    }

    fn dispatcher(&self, key: ListenKey, endpoint: Arc<Endpoint>) -> Dispatcher {
        Dispatcher {
            scope: self.context.limits.endpoint(&endpoint.name),
            last: (endpoint, 0),
            key,
            index: self.index,
            workers: Arc::clone(&self.workers),
            live: Arc::clone(&self.live),
            context: Arc::clone(&self.context),
            active: Arc::clone(&self.active),
        }
    }
}

/// Dispatches accepted sockets to this worker or a less loaded one.
struct Dispatcher {
    key: ListenKey,
    /// The endpoint that last listened here, with its generation. It still serves the clients that were in
    /// the accept queue when it left the configuration.
    last: (Arc<Endpoint>, u64),
    /// What is counted for that endpoint, if it has limits.
    scope: Option<Arc<LimitScope>>,
    index: usize,
    workers: Arc<Workers>,
    live: Arc<Live>,
    context: Arc<WorkerContext>,
    active: Arc<ActiveCount>,
}

impl Dispatcher {
    /// The current endpoint, and the generation of its snapshot.
    fn refresh(&mut self) -> &(Arc<Endpoint>, u64) {
        let snapshot = self.live.load();
        if snapshot.generation != self.last.1
            && let Some(endpoint) = snapshot.endpoint_at(&self.key)
        {
            self.last = (Arc::clone(endpoint), snapshot.generation);
            self.scope = self.context.limits.endpoint(&endpoint.name);
        }
        &self.last
    }
}

impl Intake for Dispatcher {
    fn waiting_limit(&mut self) -> Option<WaitingLimit> {
        self.refresh();
        WaitingLimit::of(self.scope.as_ref(), self.last.0.limits.as_deref())
    }

    fn take(&mut self, socket: OwnedFd, client: Option<SocketAddr>, permit: Permit) {
        // A connection keeps the snapshot that was current at accept.
        let (endpoint, generation) = self.refresh();
        let (endpoint, generation) = (Arc::clone(endpoint), *generation);
        let chosen = self.workers.choose(self.index);
        let handover = Handover {
            socket,
            client,
            endpoint,
            generation,
            permit,
            scope: self.scope.clone(),
            at: Instant::now(),
            guard: ActiveGuard::take(&self.workers, &self.active, chosen),
        };
        if chosen == self.index {
            spawn(handover, &self.context);
        } else {
            self.workers.send(chosen, Message::Handover(handover));
        }
    }
}

/// Wakes once a second, and notes that the worker runs. tokio wakes its driver by a write to an eventfd
/// whenever a timer is set that is due before all others. Because few other timers here are due within a
/// second, this one makes that rare.
async fn heartbeat(index: usize, workers: Arc<Workers>) {
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    loop {
        beat.tick().await;
        workers.beat(index);
    }
}

/// Registers a socket with this worker's runtime and starts its connection.
fn spawn(handover: Handover, context: &Arc<WorkerContext>) {
    let Handover {
        socket,
        client,
        endpoint,
        generation,
        permit,
        scope,
        at,
        guard,
    } = handover;
    match register(socket, client) {
        Ok(socket) => {
            let accepted = Accepted {
                socket,
                client,
                endpoint,
                generation,
                permit,
                scope,
                at,
            };
            tokio::spawn(connection::run(accepted, Arc::clone(context), guard));
        }
        Err(error) => connection::rejected_at_accept(client, &endpoint, at, &error, context),
    }
}

fn register(socket: OwnedFd, client: Option<SocketAddr>) -> std::io::Result<Socket> {
    match client {
        Some(_) => TcpStream::from_std(socket.into()).map(Socket::from),
        None => UnixStream::from_std(socket.into()).map(Socket::from),
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
