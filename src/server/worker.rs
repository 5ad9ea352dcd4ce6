//! A worker: one thread, one runtime, its own accept sockets and its own connections.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::error;

use super::census::Census;
use crate::admission::{Admission, Beginning, Permit};
use crate::connection::{self, Accepted, Surroundings};
use crate::endpoint::{Intake, accept_loop};
use crate::leg::Socket;
use crate::lifecycle;
use crate::snapshot::{Endpoint, Live, Protocol};

/// A connection is handed to another worker when this one has so many more than that one: the
/// kernel spreads by hash, which is uneven for few long connections, and a hand-over costs a wake-up.
const UNEVEN: usize = 8;

/// A connection that was accepted but belongs to no runtime yet.
pub(super) struct Arrival {
    socket: OwnedFd,
    client: Option<SocketAddr>,
    endpoint: Arc<Endpoint>,
    permit: Permit,
    at: Instant,
    place: Place,
}

/// The workers, as they see each other: how much each has, and how to reach it. The channels hold no
/// more than the process's cap on connections lets in.
pub(super) struct Workers {
    loads: Vec<AtomicUsize>,
    inboxes: Vec<mpsc::UnboundedSender<Arrival>>,
}

impl Workers {
    pub(super) fn new(count: usize) -> (Arc<Self>, Vec<mpsc::UnboundedReceiver<Arrival>>) {
        let (inboxes, receivers) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        let loads = (0..count).map(|_| AtomicUsize::new(0)).collect();
        (Arc::new(Self { loads, inboxes }), receivers)
    }

    fn load(&self, index: usize) -> usize {
        self.loads
            .get(index)
            .map_or(0, |load| load.load(Ordering::Relaxed))
    }

    /// The worker that a connection accepted by `index` should live on.
    fn choose(&self, index: usize) -> usize {
        let own = self.load(index);
        (0..self.loads.len())
            .min_by_key(|other| self.load(*other))
            .filter(|least| self.load(*least) + UNEVEN < own)
            .unwrap_or(index)
    }
}

/// A connection's place on a worker and in the census, given up on drop.
struct Place {
    crew: Arc<Workers>,
    census: Arc<Census>,
    index: usize,
}

impl Place {
    fn take(crew: &Arc<Workers>, census: &Arc<Census>, index: usize) -> Self {
        if let Some(load) = crew.loads.get(index) {
            load.fetch_add(1, Ordering::Relaxed);
        }
        census.enter();
        Self {
            crew: Arc::clone(crew),
            census: Arc::clone(census),
            index,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(load) = self.crew.loads.get(self.index) {
            load.fetch_sub(1, Ordering::Relaxed);
        }
        self.census.leave();
    }
}

/// An accept loop's place in the census, given up on drop.
struct DoorKeeper(Arc<Census>);

impl DoorKeeper {
    fn new(census: &Arc<Census>) -> Self {
        census.open_door();
        Self(Arc::clone(census))
    }
}

impl Drop for DoorKeeper {
    fn drop(&mut self) {
        self.0.close_door();
    }
}

/// An accept socket that is registered with a worker's runtime, and its endpoint's name.
pub(super) type Listener = (Arc<str>, AsyncFd<OwnedFd>);

pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) crew: Arc<Workers>,
    pub(super) inbox: mpsc::UnboundedReceiver<Arrival>,
    pub(super) listeners: Vec<Listener>,
    pub(super) live: Arc<Live>,
    pub(super) admission: Admission,
    pub(super) around: Arc<Surroundings>,
    pub(super) census: Arc<Census>,
}

impl Worker {
    /// Runs until connections are to be cut, and for their last words.
    pub(super) async fn work(mut self) {
        let heartbeat = tokio::spawn(heartbeat());
        let mut accepting = JoinSet::new();
        for (name, listener) in std::mem::take(&mut self.listeners) {
            let mut door = self.door(&name);
            let admission = self.admission.clone();
            let phases = self.around.phases.clone();
            let door_keeper = DoorKeeper::new(&self.census);
            accepting.spawn(async move {
                let _door_keeper = door_keeper;
                let accepting = accept_loop(&name, listener, admission, phases, &mut door);
                if let Err(error) = accepting.await {
                    error!(endpoint = %name, %error, "the accept loop has ended");
                }
            });
        }
        let mut phases = self.around.phases.clone();
        let cut = lifecycle::cut(&mut phases);
        tokio::pin!(cut);
        loop {
            tokio::select! {
                biased;
                () = &mut cut => break,
                Some(arrival) = self.inbox.recv() => spawn(arrival, &self.around),
                Some(ended) = accepting.join_next() => if ended.is_err() {
                    error!("an accept loop has panicked");
                },
            }
        }
        // What was handed over but not begun would otherwise end without a record.
        while let Ok(arrival) = self.inbox.try_recv() {
            spawn(arrival, &self.around);
        }
        let _ = timeout(super::CUT, self.census.emptied()).await;
        heartbeat.abort();
    }

    fn door(&self, name: &Arc<str>) -> Door {
        Door {
            endpoint: Arc::clone(name),
            index: self.index,
            crew: Arc::clone(&self.crew),
            live: Arc::clone(&self.live),
            around: Arc::clone(&self.around),
            census: Arc::clone(&self.census),
        }
    }
}

/// Where a worker's accepted sockets go in: onto this worker, or a less loaded one.
struct Door {
    endpoint: Arc<str>,
    index: usize,
    crew: Arc<Workers>,
    live: Arc<Live>,
    around: Arc<Surroundings>,
    census: Arc<Census>,
}

impl Intake for Door {
    fn beginning(&self) -> Beginning {
        match self.live.load().endpoint(&self.endpoint) {
            Some(endpoint) if endpoint.protocol == Protocol::Tcp => Beginning::Relay,
            _ => Beginning::Handshake,
        }
    }

    fn take(&mut self, socket: OwnedFd, client: Option<SocketAddr>, permit: Permit) {
        // A connection keeps the snapshot it is born with.
        let Some(endpoint) = self.live.load().endpoint(&self.endpoint).map(Arc::clone) else {
            return;
        };
        let chosen = self.crew.choose(self.index);
        let arrival = Arrival {
            socket,
            client,
            endpoint,
            permit,
            at: Instant::now(),
            place: Place::take(&self.crew, &self.census, chosen),
        };
        if chosen == self.index {
            spawn(arrival, &self.around);
        } else if let Some(inbox) = self.crew.inboxes.get(chosen) {
            // It can fail only while the process ends.
            let _ = inbox.send(arrival);
        }
    }
}

/// Wakes once a second and does nothing. tokio tells its driver by a write to an eventfd, and a wake-up
/// that follows, whenever a timer is set that is due before all others; as nothing else here is due
/// within a second, this one always is.
async fn heartbeat() {
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    loop {
        beat.tick().await;
    }
}

/// Registers a socket with this worker's runtime and starts its connection.
fn spawn(arrival: Arrival, around: &Arc<Surroundings>) {
    let Arrival {
        socket,
        client,
        endpoint,
        permit,
        at,
        place,
    } = arrival;
    match register(socket, client) {
        Ok(socket) => {
            let accepted = Accepted {
                socket,
                client,
                endpoint,
                permit,
                at,
            };
            tokio::spawn(connection::run(accepted, Arc::clone(around), place));
        }
        Err(error) => connection::lost(client, &endpoint, at, &error, around),
    }
}

fn register(socket: OwnedFd, client: Option<SocketAddr>) -> std::io::Result<Socket> {
    match client {
        Some(_) => TcpStream::from_std(socket.into()).map(Socket::from),
        None => UnixStream::from_std(socket.into()).map(Socket::from),
    }
}
