//! The places that the process listens at, over reloads.
//!
//! A door is bound and known to every worker before it opens. As long as its place stays in the
//! configuration it is the same socket, so that no client in its queue is lost.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tracing::warn;

use super::worker::{Message, NewDoor, Workers};
use crate::endpoint::{self, Beside, BindError, Bound, DoorState};
use crate::snapshot::{Endpoint, Listen, Place, Snapshot};
use crate::upstream::{Listener, Listeners};

/// The doors that are open.
#[derive(Debug, Default)]
pub(super) struct Doors {
    open: HashMap<Place, Door>,
    /// Told to the connections, which are not to dial them.
    listeners: Arc<Listeners>,
    /// Endpoints that were closed by hand, until a reload of the configuration.
    pub(super) closed: HashSet<Arc<str>>,
}

/// The sockets of one place.
#[derive(Debug)]
struct Door {
    endpoint: Arc<Endpoint>,
    bound: Vec<Bound>,
    state: watch::Sender<DoorState>,
}

/// Doors that are bound and not open; given up, they never open.
#[derive(Debug)]
pub(super) struct NewDoors(Vec<(Place, Door)>);

impl Doors {
    /// None yet; `listeners` is told of all that are opened and closed by a configuration.
    pub(super) fn telling(listeners: Arc<Listeners>) -> Self {
        Self {
            listeners,
            ..Self::default()
        }
    }

    /// Binds the places of the first snapshot; all of them, or none.
    pub(super) fn first(snapshot: &Snapshot, workers: usize) -> Result<NewDoors, Vec<BindError>> {
        Self::default().bind_beside(snapshot, workers, Beside::Nothing)
    }

    /// Binds the places of a later snapshot that are not open yet; all of them, or none.
    pub(super) fn bind(
        &self,
        snapshot: &Snapshot,
        workers: usize,
    ) -> Result<NewDoors, Vec<BindError>> {
        let ports: HashSet<_> = self.open.keys().filter_map(Place::port).collect();
        self.bind_beside(snapshot, workers, Beside::Ports(&ports))
    }

    fn bind_beside(
        &self,
        snapshot: &Snapshot,
        workers: usize,
        beside: Beside<'_>,
    ) -> Result<NewDoors, Vec<BindError>> {
        let mut doors = Vec::new();
        let mut errors = Vec::new();
        for endpoint in &snapshot.endpoints {
            for (place, listen) in endpoint.places() {
                // systemd hands its sockets over once, at the start.
                let too_late = matches!((listen, beside), (Listen::Systemd(_), Beside::Ports(_)));
                if too_late || self.open.contains_key(&place) {
                    continue;
                }
                match endpoint::bind(endpoint, listen, workers, beside) {
                    Ok(bound) => doors.push((place, Door::new(endpoint, bound))),
                    Err(error) => errors.push(error),
                }
            }
        }
        if errors.is_empty() {
            Ok(NewDoors(doors))
        } else {
            Err(errors)
        }
    }

    /// Whether a snapshot listens where only a restart gets us: on a socket of systemd that is not open.
    pub(super) fn needs_restart(&self, snapshot: &Snapshot) -> bool {
        let places = snapshot.endpoints.iter().flat_map(|e| e.places());
        let mut closed = places.filter(|(place, _)| !self.open.contains_key(place));
        closed.any(|(_, listen)| matches!(listen, Listen::Systemd(_)))
    }

    /// Opens new doors, closes those whose place has left the configuration, and gives the others the
    /// options of today. Nothing of it can fail. The addresses that were closed are returned.
    pub(super) fn commit(&mut self, new: NewDoors, snapshot: &Snapshot) -> Vec<(Arc<str>, String)> {
        let mut closed = Vec::new();
        self.open.retain(|place, door| {
            let stays = snapshot.endpoint_at(place).is_some();
            if !stays {
                closed.extend(door.addresses());
                door.state.send_replace(DoorState::Closing);
            }
            stays
        });
        self.retune(snapshot);
        for (place, door) in new.0 {
            door.state.send_replace(DoorState::Open);
            self.open.insert(place, door);
        }
        self.listeners.set(self.listeners());
        closed
    }

    fn listeners(&self) -> Vec<Listener> {
        let bound = self.open.values().flat_map(|door| &door.bound);
        let listeners = bound.filter_map(|bound| match (bound.tcp(), bound.unix()) {
            (Some(address), _) => Some(Listener::Tcp(address)),
            (None, Some((path, file))) => Some(Listener::Unix {
                path: path.to_owned(),
                file,
            }),
            (None, None) => None,
        });
        listeners.collect()
    }

    fn retune(&mut self, snapshot: &Snapshot) {
        for endpoint in &snapshot.endpoints {
            for (place, listen) in endpoint.places() {
                let Some(door) = self.open.get_mut(&place) else {
                    continue;
                };
                door.endpoint = Arc::clone(endpoint);
                for bound in &mut door.bound {
                    let retuned = bound.retune(endpoint, listen);
                    if let Err(error) = retuned.and_then(|()| bound.listen(endpoint).map_err(other))
                    {
                        warn!(address = bound.address, %error, "a socket keeps its old options");
                    }
                }
            }
        }
    }

    /// Closes those of one endpoint and says which they were. A reload opens them again.
    pub(super) fn close_endpoint(&mut self, name: &str) -> Vec<String> {
        let mut closed = Vec::new();
        self.closed.insert(name.into());
        self.open.retain(|_, door| {
            let stays = *door.endpoint.name != *name;
            if !stays {
                closed.extend(door.addresses().map(|(_, address)| address));
                door.state.send_replace(DoorState::Closing);
            }
            stays
        });
        closed
    }

    /// Closes all of them. The file of a unix socket goes with it.
    pub(super) fn close(&mut self) {
        for (_, door) in self.open.drain() {
            door.state.send_replace(DoorState::Closing);
        }
    }

    /// The addresses listened on, each with the name of its endpoint, in order.
    pub(super) fn addresses(&self) -> Vec<(Arc<str>, String)> {
        let mut addresses: Vec<_> = self.open.values().flat_map(Door::addresses).collect();
        addresses.sort();
        addresses
    }
}

fn other(error: BindError) -> io::Error {
    io::Error::other(error.message)
}

impl NewDoors {
    /// None.
    pub(super) const fn none() -> Self {
        Self(Vec::new())
    }

    /// How many sockets there are.
    pub(super) fn sockets(&self) -> usize {
        let bound = self.0.iter().flat_map(|(_, door)| &door.bound);
        bound.map(|bound| bound.sockets.len()).sum()
    }

    /// The addresses that are bound, each with the name of its endpoint, in file order.
    pub(super) fn addresses(&self) -> Vec<(Arc<str>, String)> {
        self.0
            .iter()
            .flat_map(|(_, door)| door.addresses())
            .collect()
    }

    /// Listens, and makes the doors known to the workers: after this nothing can fail. Who comes before
    /// they open waits in the kernel's queue. A socket that does not listen yet must not be registered:
    /// it hangs up, and for the runtime that is for ever.
    pub(super) async fn prepare(&self, crew: &Workers) -> Result<(), Vec<BindError>> {
        let all = self.0.iter().map(|(_, door)| door);
        let errors: Vec<_> = all
            .flat_map(|door| door.bound.iter().map(|bound| bound.listen(&door.endpoint)))
            .filter_map(Result::err)
            .collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        for (place, door) in &self.0 {
            for bound in &door.bound {
                door.register(place, bound, crew).await.map_err(|error| {
                    vec![BindError {
                        endpoint: door.endpoint.name.to_string(),
                        message: format!("cannot accept on {}: {error}", bound.address),
                    }]
                })?;
            }
        }
        Ok(())
    }
}

impl Door {
    fn new(endpoint: &Arc<Endpoint>, bound: Vec<Bound>) -> Self {
        Self {
            endpoint: Arc::clone(endpoint),
            bound,
            state: watch::Sender::new(DoorState::Shut),
        }
    }

    fn addresses(&self) -> impl Iterator<Item = (Arc<str>, String)> {
        let name = &self.endpoint.name;
        self.bound
            .iter()
            .map(|bound| (Arc::clone(name), bound.address.clone()))
    }

    /// Gives each worker its socket.
    async fn register(&self, place: &Place, bound: &Bound, crew: &Workers) -> io::Result<()> {
        for (index, socket) in bound.sockets.iter().enumerate() {
            let (registered, answer) = oneshot::channel();
            let door = NewDoor {
                address: bound.address.clone(),
                place: place.clone(),
                endpoint: Arc::clone(&self.endpoint),
                socket: socket.try_clone()?,
                state: self.state.subscribe(),
                registered,
            };
            crew.send(index, Message::Door(door));
            answer
                .await
                .map_err(|_| io::Error::other("a worker has ended"))??;
        }
        Ok(())
    }
}
