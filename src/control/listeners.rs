//! The listeners of the process, over reloads.
//!
//! A listener is bound and registered with every worker before it opens. While its address stays in the
//! configuration it keeps its socket, so that a reload loses no client of the accept queue.

mod pending;

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::warn;

use self::pending::Listener;
pub(crate) use self::pending::PendingListeners;
use crate::listener::{self, BindError, BoundSocket, ProbePolicy};
use crate::snapshot::{Endpoint, Listen, ListenKey, Snapshot};
use crate::takeover::{Offered, Role, Taking};
use crate::upstream::{OwnListener, OwnListeners};
use crate::worker::{ListenerState, Workers};

/// How long the workers go on accepting from a listener that closes, for clients whose handshake with the
/// kernel has begun: closing the socket would reset them. Longer than a round trip.
const LAST_HANDSHAKES: Duration = Duration::from_millis(200);

/// The open listeners.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    open: HashMap<ListenKey, Listener>,
    /// The ports of listeners that were closed, each with the state that the workers follow until they have
    /// closed their sockets.
    closing: Vec<(u16, watch::Sender<ListenerState>)>,
    /// A list of the own listeners, which connections must not dial.
    own: Arc<OwnListeners>,
    /// Endpoints that were closed by a drain request, until a reload of the configuration.
    pub(crate) closed: HashSet<Arc<str>>,
}

impl Listeners {
    /// No listeners yet; `own` is kept equal to the open listeners.
    pub(crate) fn new(own: Arc<OwnListeners>) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

    /// Binds the listeners of the first snapshot, or takes them from the process that runs; all of them, or
    /// none.
    pub(crate) fn first(
        snapshot: &Snapshot,
        workers: usize,
        taking: Option<&mut Taking>,
    ) -> Result<PendingListeners, Vec<BindError>> {
        let ports = taking.as_ref().map(|taking| taking.ports().clone());
        let probe = ports
            .as_ref()
            .map_or(ProbePolicy::Nothing, ProbePolicy::Takeover);
        Self::default().bind_beside(&snapshot.endpoints, workers, probe, taking)
    }

    /// Binds the listeners of a later snapshot that are not open yet; all of them, or none.
    pub(crate) fn bind(
        &self,
        snapshot: &Snapshot,
        workers: usize,
    ) -> Result<PendingListeners, Vec<BindError>> {
        let ports = self.ports();
        self.bind_beside(
            &snapshot.endpoints,
            workers,
            ProbePolicy::Ports(&ports),
            None,
        )
    }

    /// Opens the listeners of an endpoint again that was closed on request. Returns their addresses, or why
    /// it cannot be done.
    pub(crate) async fn reopen_endpoint(
        &mut self,
        endpoint: &Arc<Endpoint>,
        snapshot: &Snapshot,
        workers: &Workers,
    ) -> Result<Vec<String>, String> {
        let places = endpoint.listen_keys();
        if places
            .iter()
            .any(|(_, listen)| matches!(listen, Listen::Systemd(_)))
        {
            return Err("systemd passes its sockets at the start alone: restart Reseal".to_owned());
        }
        let refused = |errors: Vec<BindError>| {
            let messages: Vec<_> = errors.into_iter().map(|error| error.message).collect();
            messages.join("; ")
        };
        let ports = self.ports();
        let probe = ProbePolicy::Ports(&ports);
        let only = std::slice::from_ref(endpoint);
        let new = self.bind_beside(only, workers.count(), probe, None);
        let new = new.map_err(refused)?;
        new.prepare(workers).await.map_err(refused)?;
        let opened = new
            .addresses()
            .into_iter()
            .map(|(_, address)| address)
            .collect();
        self.commit(new, snapshot);
        self.closed.remove(&endpoint.name);
        Ok(opened)
    }

    /// The ports that are listened on, or were a moment ago.
    fn ports(&self) -> HashSet<u16> {
        let open = self.open.keys().filter_map(ListenKey::port);
        let closing = self.closing.iter();
        let closing = closing.filter_map(|(port, state)| (!state.is_closed()).then_some(*port));
        open.chain(closing).collect()
    }

    fn bind_beside(
        &self,
        endpoints: &[Arc<Endpoint>],
        workers: usize,
        probe: ProbePolicy<'_>,
        mut taking: Option<&mut Taking>,
    ) -> Result<PendingListeners, Vec<BindError>> {
        let mut listeners = Vec::new();
        let mut errors = Vec::new();
        for endpoint in endpoints {
            for (place, listen) in endpoint.listen_keys() {
                // systemd passes its sockets once, at the start.
                let too_late =
                    matches!((listen, probe), (Listen::Systemd(_), ProbePolicy::Ports(_)));
                if too_late || self.open.contains_key(&place) {
                    continue;
                }
                let taken = match taking.as_deref_mut() {
                    Some(taking) => listener::take(taking, endpoint, &place, listen),
                    None => Ok(Vec::new()),
                };
                let bound = match taken {
                    Ok(none) if none.is_empty() => listener::bind(endpoint, listen, workers, probe),
                    taken => taken,
                };
                match bound {
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
        let permits_within = snapshot.process.drain.removed;
        let closed = self.close_where(permits_within, |place, _| {
            snapshot.endpoint_at(place).is_none()
        });
        self.reapply_options(snapshot);
        for (place, mut listener) in new.0 {
            listener.bound.iter_mut().for_each(BoundSocket::take_file);
            listener.state.send_replace(ListenerState::Open);
            self.open.insert(place, listener);
        }
        self.own.set(self.own_listeners());
        closed
    }

    fn own_listeners(&self) -> Vec<OwnListener> {
        let bound = self.open.values().flat_map(|listener| &listener.bound);
        let listeners = bound.filter_map(|bound| match (bound.tcp(), bound.unix()) {
            (Some(address), _) => Some(OwnListener::Tcp {
                address,
                only_v6: bound.is_only_v6(),
            }),
            (None, Some((path, file))) => Some(OwnListener::Unix {
                path: path.to_owned(),
                file,
            }),
            (None, None) => None,
        });
        listeners.collect()
    }

    /// Applies the options of the endpoints to all sockets.
    pub(crate) fn reapply_options(&mut self, snapshot: &Snapshot) {
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
                        warn!(address = bound.address, %error, "cannot apply socket options; \
                            the old ones stay");
                    }
                }
            }
        }
    }

    /// Closes the listeners of one endpoint and returns their addresses. A reload opens them again. Queued
    /// clients wait for permits until `permits_within` has passed.
    pub(crate) fn close_endpoint(&mut self, name: &str, permits_within: Duration) -> Vec<String> {
        self.closed.insert(name.into());
        let closed = self.close_where(permits_within, |_, endpoint| *endpoint.name == *name);
        closed.into_iter().map(|(_, address)| address).collect()
    }

    /// The endpoints that a drain request has closed, sorted.
    pub(crate) fn drained(&self) -> Vec<Arc<str>> {
        let mut drained: Vec<_> = self.closed.iter().cloned().collect();
        drained.sort();
        drained
    }

    /// Closes all listeners at once, so that a successor of this process can have their addresses, and
    /// removes the files of unix sockets. A listener stays open if queued clients find no permit, until they
    /// have one or `permits_within` has passed.
    pub(crate) fn close(&mut self, permits_within: Duration) {
        for (_, listener) in self.open.drain() {
            listener.close(Duration::ZERO, permits_within);
        }
    }

    /// The sockets for a process that takes over, and the key of each.
    pub(crate) fn offer(&self) -> io::Result<(Vec<ListenKey>, Vec<Offered>)> {
        let mut offer = (Vec::new(), Vec::new());
        for (key, listener) in &self.open {
            for bound in &listener.bound {
                let sockets = bound.sockets.iter().map(OwnedFd::try_clone);
                offer.0.push(key.clone());
                offer.1.push(Offered {
                    role: Role::Endpoint,
                    key: key.to_string(),
                    address: bound.address.clone(),
                    file: bound.unix().map(|(_, file)| file),
                    sockets: sockets.collect::<io::Result<_>>()?,
                });
            }
        }
        Ok(offer)
    }

    /// Stops accepting: leaves the listeners of these keys to the process that has taken them, and closes the
    /// others. Queued clients of those wait for permits until `permits_within` has passed.
    pub(crate) fn release(&mut self, taken: &HashSet<ListenKey>, permits_within: Duration) {
        for (key, listener) in self.open.drain() {
            if taken.contains(&key) {
                listener.release();
            } else {
                listener.close(LAST_HANDSHAKES, permits_within);
            }
        }
    }

    fn close_where(
        &mut self,
        permits_within: Duration,
        closes: impl Fn(&ListenKey, &Endpoint) -> bool,
    ) -> Vec<(Arc<str>, String)> {
        self.closing.retain(|(_, state)| !state.is_closed());
        let mut closed = Vec::new();
        for (key, listener) in self.open.extract_if(|key, l| closes(key, &l.endpoint)) {
            closed.extend(listener.addresses());
            let state = listener.close(LAST_HANDSHAKES, permits_within);
            self.closing.extend(key.port().map(|port| (port, state)));
        }
        closed
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
