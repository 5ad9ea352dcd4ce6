//! The sockets of one listening address, from their bind to their close.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::listener::{BindError, BoundSocket, Listens};
use crate::snapshot::{Endpoint, ListenKey};
use crate::worker::{Closing, ListenerState, Message, RegisterListener, Workers};

/// The sockets of one listening address.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) bound: Vec<BoundSocket>,
    pub(super) state: watch::Sender<ListenerState>,
}

/// Listeners that are bound and not open yet; dropped, they never open.
#[derive(Debug)]
pub(crate) struct PendingListeners(pub(super) Vec<(ListenKey, Listener)>);

impl PendingListeners {
    /// No listeners.
    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }

    /// The descriptors of their sockets, with those of this many workers.
    pub(crate) fn descriptors(&self, workers: usize) -> usize {
        let bound = self.0.iter().flat_map(|(_, listener)| &listener.bound);
        bound.map(|bound| bound.descriptors(workers)).sum()
    }

    /// The bound addresses, each with the name of its endpoint, in file order.
    pub(crate) fn addresses(&self) -> Vec<(Arc<str>, String)> {
        self.0
            .iter()
            .flat_map(|(_, listener)| listener.addresses())
            .collect()
    }

    /// Listens, and registers the listeners with the workers; after this nothing can fail. Clients that
    /// connect before the listeners open wait in the kernel's accept queue. A socket must listen before
    /// it is registered: epoll reports a hangup for one that does not, and the runtime keeps that state.
    pub(crate) async fn prepare(&self, workers: &Workers) -> Result<(), Vec<BindError>> {
        self.listen_where(workers, |listens| listens != Listens::AfterTakeover)
            .await
    }

    /// The same for the sockets of ports whose clients another process served until now: before, a failure
    /// would have reset the clients that had connected here.
    pub(crate) async fn prepare_after_takeover(
        &self,
        workers: &Workers,
    ) -> Result<(), Vec<BindError>> {
        self.listen_where(workers, |listens| listens == Listens::AfterTakeover)
            .await
    }

    async fn listen_where(
        &self,
        workers: &Workers,
        is_chosen: impl Fn(Listens) -> bool,
    ) -> Result<(), Vec<BindError>> {
        let all = self.0.iter().flat_map(|(place, listener)| {
            let bound = listener.bound.iter();
            bound.map(move |bound| (place, listener, bound))
        });
        let chosen: Vec<_> = all
            .filter(|(.., bound)| is_chosen(bound.listens()))
            .collect();
        let errors: Vec<_> = chosen
            .iter()
            .filter(|(.., bound)| bound.listens() != Listens::Already)
            .filter_map(|(_, listener, bound)| bound.listen(&listener.endpoint).err())
            .collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        for (place, listener, bound) in chosen {
            listener
                .register(place, bound, workers)
                .await
                .map_err(|error| {
                    vec![BindError {
                        endpoint: listener.endpoint.name.to_string(),
                        message: format!("cannot accept on {}: {error}", bound.address),
                    }]
                })?;
        }
        Ok(())
    }
}

impl Listener {
    pub(super) fn new(endpoint: &Arc<Endpoint>, bound: Vec<BoundSocket>) -> Self {
        Self {
            endpoint: Arc::clone(endpoint),
            bound,
            state: watch::Sender::new(ListenerState::Shut),
        }
    }

    /// Closes the sockets. The kernel gives them no new client. It completes the handshakes that have begun
    /// within `handshakes` before the workers close them. The control loop's descriptors go first: the
    /// workers' are then the last, and they close them right after they have accepted what is queued.
    pub(super) fn close(
        self,
        handshakes: Duration,
        permits_within: Duration,
    ) -> watch::Sender<ListenerState> {
        let now = Instant::now();
        let mut handshakes_until = now;
        for bound in self.bound {
            if bound.stop_receiving_connections() {
                handshakes_until = now + handshakes;
            }
        }
        self.state.send_replace(ListenerState::Closing(Closing {
            handshakes_until,
            permits_until: now + permits_within,
        }));
        self.state
    }

    /// Stops accepting. The process that has taken the sockets serves the clients that are queued.
    pub(super) fn release(self) {
        self.state.send_replace(ListenerState::Released);
        self.bound.into_iter().for_each(BoundSocket::release);
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = (Arc<str>, String)> {
        let name = &self.endpoint.name;
        self.bound
            .iter()
            .map(|bound| (Arc::clone(name), bound.address.clone()))
    }

    /// Registers each socket with its worker.
    async fn register(
        &self,
        place: &ListenKey,
        bound: &BoundSocket,
        workers: &Workers,
    ) -> io::Result<()> {
        for (index, socket) in bound.for_workers(workers.count()) {
            let (registered, result) = oneshot::channel();
            let listener = RegisterListener {
                address: bound.address.clone(),
                key: place.clone(),
                endpoint: Arc::clone(&self.endpoint),
                socket: socket.try_clone_to_owned()?,
                state: self.state.subscribe(),
                registered,
            };
            workers.send(index, Message::Listener(listener));
            result
                .await
                .map_err(|_| io::Error::other("a worker has ended"))??;
        }
        Ok(())
    }
}
