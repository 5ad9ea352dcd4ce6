//! A worker: one thread, one runtime, its own accept sockets and its own connections.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::error;

use super::busy::Busy;
use super::census::Census;
use crate::admission::{Admission, Permit};
use crate::connection::{self, Accepted, WorkerContext};
use crate::endpoint::{DoorState, Intake, accept_loop};
use crate::phase;
use crate::snapshot::{Endpoint, Live, Place};
use crate::sys;
use crate::transport::Socket;

/// A connection is handed to another worker when this one has so many more than that one: the
/// kernel spreads by hash, which is uneven for few long connections, and a hand-over costs a wake-up.
const UNEVEN: usize = 8;

/// What a worker is sent.
pub(super) enum Message {
    /// A connection that another worker has accepted.
    Arrival(Arrival),
    /// A socket to accept from.
    Door(NewDoor),
}

/// A bound socket, to be registered with a worker's runtime.
pub(super) struct NewDoor {
    /// Where it listens, for people.
    pub(super) address: String,
    /// Where it listens.
    pub(super) place: Place,
    /// The endpoint that it is opened for.
    pub(super) endpoint: Arc<Endpoint>,
    /// The socket.
    pub(super) socket: OwnedFd,
    /// When it opens and closes.
    pub(super) state: watch::Receiver<DoorState>,
    /// To be told whether it could be registered.
    pub(super) registered: oneshot::Sender<io::Result<()>>,
}

/// A connection that was accepted but belongs to no runtime yet.
pub(super) struct Arrival {
    socket: OwnedFd,
    client: Option<SocketAddr>,
    endpoint: Arc<Endpoint>,
    generation: u64,
    permit: Permit,
    at: Instant,
    seat: Seat,
}

/// The workers, as they see each other: how much each has, and how to reach it. The channels hold no
/// more than the process's cap on connections lets in.
pub(super) struct Workers {
    loads: Vec<AtomicUsize>,
    busy: Busy,
    inboxes: Vec<mpsc::UnboundedSender<Message>>,
}

impl Workers {
    /// One worker for each of these runtimes.
    pub(super) fn new(runtimes: &[Runtime]) -> (Arc<Self>, Vec<mpsc::UnboundedReceiver<Message>>) {
        let (inboxes, receivers) = runtimes.iter().map(|_| mpsc::unbounded_channel()).unzip();
        let crew = Self {
            loads: runtimes.iter().map(|_| AtomicUsize::new(0)).collect(),
            busy: Busy::new(runtimes.iter().map(|r| r.metrics()).collect()),
            inboxes,
        };
        (Arc::new(crew), receivers)
    }

    /// Sends something to a worker; it can fail only while the process ends.
    pub(super) fn send(&self, index: usize, message: Message) -> bool {
        self.inboxes
            .get(index)
            .is_some_and(|inbox| inbox.send(message).is_ok())
    }

    /// How many there are.
    pub(super) const fn count(&self) -> usize {
        self.inboxes.len()
    }

    fn load(&self, index: usize) -> usize {
        self.loads
            .get(index)
            .map_or(0, |load| load.load(Ordering::Relaxed))
    }

    /// The worker that a connection accepted by `index` should live on.
    fn choose(&self, index: usize) -> usize {
        self.busy.refresh();
        let all = (0..self.loads.len()).map(|worker| (self.busy.is(worker), self.load(worker)));
        choose(all, index)
    }
}

/// The worker for a connection that worker `index` has accepted, of those that are so busy and have so
/// many: from a busy one to one that is not, and among equals where the numbers are uneven.
fn choose(workers: impl Iterator<Item = (bool, usize)> + Clone, index: usize) -> usize {
    let Some((busy, own)) = workers.clone().nth(index) else {
        return index;
    };
    let least = workers.enumerate().min_by_key(|(_, standing)| *standing);
    least
        .filter(|(_, (other, load))| (busy && !other) || (*other == busy && load + UNEVEN < own))
        .map_or(index, |(least, _)| least)
}

/// A connection's seat on a worker and in the census, given up on drop.
struct Seat {
    crew: Arc<Workers>,
    census: Arc<Census>,
    index: usize,
}

impl Seat {
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

impl Drop for Seat {
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

pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) crew: Arc<Workers>,
    pub(super) inbox: mpsc::UnboundedReceiver<Message>,
    pub(super) live: Arc<Live>,
    pub(super) admission: Admission,
    pub(super) context: Arc<WorkerContext>,
    pub(super) census: Arc<Census>,
}

impl Worker {
    /// Runs until connections are to be cut, and for their last words.
    pub(super) async fn work(mut self) {
        let heartbeat = tokio::spawn(heartbeat());
        let mut accepting = JoinSet::new();
        let mut phases = self.context.phases.clone();
        let cut = phase::aborted(&mut phases);
        tokio::pin!(cut);
        loop {
            tokio::select! {
                biased;
                () = &mut cut => break,
                Some(message) = self.inbox.recv() => match message {
                    Message::Arrival(arrival) => spawn(arrival, &self.context),
                    Message::Door(door) => self.open(door, &mut accepting),
                },
                Some(ended) = accepting.join_next() => if ended.is_err() {
                    error!("an accept loop has panicked");
                },
            }
        }
        // What was handed over but not begun would otherwise end without a record.
        while let Ok(message) = self.inbox.try_recv() {
            if let Message::Arrival(arrival) = message {
                spawn(arrival, &self.context);
            }
        }
        let _ = timeout(super::CUT, self.census.emptied()).await;
        heartbeat.abort();
    }

    /// Registers a socket with this worker's runtime; its accept loop begins when the door opens.
    fn open(&self, new: NewDoor, accepting: &mut JoinSet<()>) {
        let listener = match sys::watch(new.socket) {
            Ok(listener) => listener,
            Err(error) => {
                let _ = new.registered.send(Err(error));
                return;
            }
        };
        let mut reception = self.reception(new.place, new.endpoint);
        let admission = self.admission.clone();
        let door_keeper = DoorKeeper::new(&self.census);
        accepting.spawn(async move {
            let _door_keeper = door_keeper;
            let accepting =
                accept_loop(&new.address, listener, admission, new.state, &mut reception);
            if let Err(error) = accepting.await {
                error!(address = %new.address, %error, "the accept loop has ended");
            }
        });
        let _ = new.registered.send(Ok(()));
    }

    fn reception(&self, place: Place, endpoint: Arc<Endpoint>) -> Reception {
        Reception {
            last: (endpoint, 0),
            place,
            index: self.index,
            crew: Arc::clone(&self.crew),
            live: Arc::clone(&self.live),
            context: Arc::clone(&self.context),
            census: Arc::clone(&self.census),
        }
    }
}

/// Where a worker's accepted sockets go in: onto this worker, or a less loaded one.
struct Reception {
    place: Place,
    /// The endpoint that last listened here: clients that were queued when it left the configuration
    /// are still its own.
    last: (Arc<Endpoint>, u64),
    index: usize,
    crew: Arc<Workers>,
    live: Arc<Live>,
    context: Arc<WorkerContext>,
    census: Arc<Census>,
}

impl Reception {
    /// The endpoint of today, and the generation of its snapshot.
    fn refresh(&mut self) -> &(Arc<Endpoint>, u64) {
        let snapshot = self.live.load();
        if snapshot.generation != self.last.1
            && let Some(endpoint) = snapshot.endpoint_at(&self.place)
        {
            self.last = (Arc::clone(endpoint), snapshot.generation);
        }
        &self.last
    }
}

impl Intake for Reception {
    fn take(&mut self, socket: OwnedFd, client: Option<SocketAddr>, permit: Permit) {
        // A connection keeps the snapshot it is born with.
        let (endpoint, generation) = self.refresh();
        let (endpoint, generation) = (Arc::clone(endpoint), *generation);
        let chosen = self.crew.choose(self.index);
        let arrival = Arrival {
            socket,
            client,
            endpoint,
            generation,
            permit,
            at: Instant::now(),
            seat: Seat::take(&self.crew, &self.census, chosen),
        };
        if chosen == self.index {
            spawn(arrival, &self.context);
        } else {
            self.crew.send(chosen, Message::Arrival(arrival));
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
fn spawn(arrival: Arrival, context: &Arc<WorkerContext>) {
    let Arrival {
        socket,
        client,
        endpoint,
        generation,
        permit,
        at,
        seat,
    } = arrival;
    match register(socket, client) {
        Ok(socket) => {
            let accepted = Accepted {
                socket,
                client,
                endpoint,
                generation,
                permit,
                at,
            };
            tokio::spawn(connection::run(accepted, Arc::clone(context), seat));
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
    fn connections_stay_where_they_come_in_while_the_workers_are_even() {
        assert_eq!(chosen(&[(false, 8), (false, 0)], 0), 0);
        assert_eq!(chosen(&[(true, 8), (true, 0)], 0), 0);
        assert_eq!(chosen(&[(false, 9), (false, 0)], 0), 1);
        assert_eq!(chosen(&[(true, 9), (true, 0)], 0), 1);
    }

    #[test]
    fn a_busy_worker_gets_no_connection_that_an_idle_one_can_have() {
        assert_eq!(chosen(&[(true, 1), (false, 5_000)], 0), 1);
        assert_eq!(chosen(&[(true, 1), (false, 5_000)], 1), 1);
        assert_eq!(chosen(&[(true, 1), (false, 50), (false, 5_000)], 2), 1);
    }
}
