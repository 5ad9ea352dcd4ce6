//! The listeners of the process, over reloads.
//!
//! A listener is bound and registered with every worker before it opens. While its address stays in the
//! configuration it keeps its socket, so that a reload loses no client of the accept queue.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tracing::warn;

use crate::listener::{self, BindError, BoundSocket, ProbePolicy};
use crate::snapshot::{Endpoint, Listen, ListenKey, Snapshot};
use crate::upstream::{OwnListener, OwnListeners};
use crate::worker::ListenerState;
use crate::worker::{Message, RegisterListener, Workers};

/// The open listeners.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    open: HashMap<ListenKey, Listener>,
    /// A list of the own listeners, which connections must not dial.
    own: Arc<OwnListeners>,
    /// Endpoints that were closed by a drain request, until a reload of the configuration.
    pub(crate) closed: HashSet<Arc<str>>,
}

/// The sockets of one listening address.
#[derive(Debug)]
struct Listener {
    endpoint: Arc<Endpoint>,
    bound: Vec<BoundSocket>,
    state: watch::Sender<ListenerState>,
}

/// Listeners that are bound and not open yet; dropped, they never open.
#[derive(Debug)]
pub(crate) struct PendingListeners(Vec<(ListenKey, Listener)>);

impl Listeners {
    /// No listeners yet; `own` is kept equal to the open listeners.
    pub(crate) fn new(own: Arc<OwnListeners>) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

    /// Binds the listeners of the first snapshot; all of them, or none.
    pub(crate) fn first(
        snapshot: &Snapshot,
        workers: usize,
    ) -> Result<PendingListeners, Vec<BindError>> {
        Self::default().bind_beside(snapshot, workers, ProbePolicy::Nothing)
    }

    /// Binds the listeners of a later snapshot that are not open yet; all of them, or none.
    pub(crate) fn bind(
        &self,
        snapshot: &Snapshot,
        workers: usize,
    ) -> Result<PendingListeners, Vec<BindError>> {
        let ports: HashSet<_> = self.open.keys().filter_map(ListenKey::port).collect();
        self.bind_beside(snapshot, workers, ProbePolicy::Ports(&ports))
    }

    fn bind_beside(
        &self,
        snapshot: &Snapshot,
        workers: usize,
        probe: ProbePolicy<'_>,
    ) -> Result<PendingListeners, Vec<BindError>> {
        let mut listeners = Vec::new();
        let mut errors = Vec::new();
        for endpoint in &snapshot.endpoints {
            for (place, listen) in endpoint.listen_keys() {
                // systemd passes its sockets once, at the start.
                let too_late =
                    matches!((listen, probe), (Listen::Systemd(_), ProbePolicy::Ports(_)));
                if too_late || self.open.contains_key(&place) {
                    continue;
                }
                match listener::bind(endpoint, listen, workers, probe) {
                    Ok(bound) => listeners.push((place, Listener::new(endpoint, bound))),
                    Err(error) => errors.push(error),
                }
            }
        }
        if errors.is_empty() {
            Ok(PendingListeners(listeners))
        } else {
            Err(errors)
        }
    }

    /// Whether a snapshot needs a restart to listen: on a systemd socket that is not open.
    pub(crate) fn needs_restart(&self, snapshot: &Snapshot) -> bool {
        let places = snapshot.endpoints.iter().flat_map(|e| e.listen_keys());
        let mut closed = places.filter(|(place, _)| !self.open.contains_key(place));
        closed.any(|(_, listen)| matches!(listen, Listen::Systemd(_)))
    }

    /// Opens new listeners, closes those that have left the configuration, and applies the new options
    /// to the others. Cannot fail. Returns the closed addresses.
    pub(crate) fn commit(
        &mut self,
        new: PendingListeners,
        snapshot: &Snapshot,
    ) -> Vec<(Arc<str>, String)> {
        let mut closed = Vec::new();
        self.open.retain(|place, listener| {
            let is_kept = snapshot.endpoint_at(place).is_some();
            if !is_kept {
                closed.extend(listener.addresses());
                listener.state.send_replace(ListenerState::Closing);
            }
            is_kept
        });
        self.reapply_options(snapshot);
        for (place, listener) in new.0 {
            listener.state.send_replace(ListenerState::Open);
            self.open.insert(place, listener);
        }
        self.own.set(self.own_listeners());
        closed
    }

    fn own_listeners(&self) -> Vec<OwnListener> {
        let bound = self.open.values().flat_map(|listener| &listener.bound);
        let listeners = bound.filter_map(|bound| match (bound.tcp(), bound.unix()) {
            (Some(address), _) => Some(OwnListener::Tcp(address)),
            (None, Some((path, file))) => Some(OwnListener::Unix {
                path: path.to_owned(),
                file,
            }),
            (None, None) => None,
        });
        listeners.collect()
    }

    fn reapply_options(&mut self, snapshot: &Snapshot) {
        for endpoint in &snapshot.endpoints {
            for (place, listen) in endpoint.listen_keys() {
                let Some(listener) = self.open.get_mut(&place) else {
                    continue;
                };
                listener.endpoint = Arc::clone(endpoint);
                for bound in &mut listener.bound {
                    let reapplied = bound.reapply_options(endpoint, listen);
                    if let Err(error) =
                        reapplied.and_then(|()| bound.listen(endpoint).map_err(other))
                    {
                        warn!(address = bound.address, %error, "cannot apply socket options; the old ones stay");
                    }
                }
            }
        }
    }

    /// Closes the listeners of one endpoint and returns their addresses. A reload opens them again.
    pub(crate) fn close_endpoint(&mut self, name: &str) -> Vec<String> {
        let mut closed = Vec::new();
        self.closed.insert(name.into());
        self.open.retain(|_, listener| {
            let is_kept = *listener.endpoint.name != *name;
            if !is_kept {
                closed.extend(listener.addresses().map(|(_, address)| address));
                listener.state.send_replace(ListenerState::Closing);
            }
            is_kept
        });
        closed
    }

    /// Closes all listeners and removes the files of unix sockets.
    pub(crate) fn close(&mut self) {
        for (_, listener) in self.open.drain() {
            listener.state.send_replace(ListenerState::Closing);
        }
    }

    /// The listening addresses, each with the name of its endpoint, sorted.
    pub(crate) fn addresses(&self) -> Vec<(Arc<str>, String)> {
        let mut addresses: Vec<_> = self.open.values().flat_map(Listener::addresses).collect();
        addresses.sort();
        addresses
    }
}

fn other(error: BindError) -> io::Error {
    io::Error::other(error.message)
}

impl PendingListeners {
    /// No listeners.
    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }

    /// The number of sockets.
    pub(crate) fn sockets(&self) -> usize {
        let bound = self.0.iter().flat_map(|(_, listener)| &listener.bound);
        bound.map(|bound| bound.sockets.len()).sum()
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
        let all = self.0.iter().map(|(_, listener)| listener);
        let errors: Vec<_> = all
            .flat_map(|listener| {
                listener
                    .bound
                    .iter()
                    .map(|bound| bound.listen(&listener.endpoint))
            })
            .filter_map(Result::err)
            .collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        for (place, listener) in &self.0 {
            for bound in &listener.bound {
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
        }
        Ok(())
    }
}

impl Listener {
    fn new(endpoint: &Arc<Endpoint>, bound: Vec<BoundSocket>) -> Self {
        Self {
            endpoint: Arc::clone(endpoint),
            bound,
            state: watch::Sender::new(ListenerState::Shut),
        }
    }

    fn addresses(&self) -> impl Iterator<Item = (Arc<str>, String)> {
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
        for (index, socket) in bound.sockets.iter().enumerate() {
            let (registered, result) = oneshot::channel();
            let listener = RegisterListener {
                address: bound.address.clone(),
                key: place.clone(),
                endpoint: Arc::clone(&self.endpoint),
                socket: socket.try_clone()?,
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
