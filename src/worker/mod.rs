//! A worker: one thread with its own runtime, listening sockets and connections.

mod accept;
pub(crate) mod active;
mod busy;
mod workers;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::error;

pub(crate) use self::accept::{Closing, ListenerState};
use self::accept::{Intake, accept_loop};
use self::workers::{ActiveGuard, Handover};
pub(crate) use self::workers::{Message, RegisterListener, Workers};
use crate::admission::{Admission, LimitScope, Permit, WaitingLimit};
use crate::connection::{self, Accepted, WorkerContext};
use crate::phase;
use crate::snapshot::{Endpoint, ListenKey, Live};
use crate::sys;
use crate::transport::Socket;
use crate::worker::active::ActiveCount;

/// Bound on the final flush after an abort: one second for each connection, and some slack.
pub(crate) const FLUSH_AFTER_ABORT: Duration = Duration::from_millis(1500);

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
