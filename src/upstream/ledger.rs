//! What is alive of one upstream, whatever its configuration is at the moment: the states of its
//! origins by their addresses, the queue, and where news of them go.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::mpsc;

use super::Address;
use super::queue::Queue;
use super::state::OriginState;

/// Something that happened to an origin, for those who log it or have to end connections.
#[derive(Clone, Debug)]
pub struct OriginEvent {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The origin's name.
    pub origin: Arc<str>,
    /// Where it is; of one that cannot be resolved, what it is called.
    pub address: Address,
    /// What happened.
    pub change: Change,
}

/// What happened to an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Checks have found it well again.
    Up,
    /// Checks have found it down.
    Down {
        /// What the last one found.
        why: Arc<str>,
    },
    /// Too many connections to it failed: no new ones for this long.
    Ejected(Duration),
    /// Its address came into the answers of the resolver.
    Joined,
    /// Its address left the answers of the resolver.
    Gone,
    /// It left the configuration.
    Removed,
    /// Its name cannot be resolved, and why; what was known before stays.
    Unresolved(Arc<str>),
}

/// What is alive of one upstream.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) upstream: Arc<str>,
    pub(super) queue: Arc<Queue>,
    /// A state lives as long as an origin of the configuration, or a connection, has it.
    states: Mutex<HashMap<Address, Weak<OriginState>>>,
    /// Those that an operator has said something about: it holds also while their address is away.
    ordered: Mutex<Vec<Arc<OriginState>>>,
    /// Whether there were origins before: those that come now join others.
    at_work: AtomicBool,
    events: mpsc::UnboundedSender<OriginEvent>,
}

impl Ledger {
    pub(super) fn new(upstream: Arc<str>, events: mpsc::UnboundedSender<OriginEvent>) -> Self {
        Self {
            upstream,
            queue: Arc::default(),
            states: Mutex::default(),
            ordered: Mutex::default(),
            at_work: AtomicBool::new(false),
            events,
        }
    }

    /// The state of the origin at `address`, and whether it is a new one that joins others.
    pub(super) fn state(&self, address: &Address) -> (Arc<OriginState>, bool) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = states.get(address).and_then(Weak::upgrade) {
            return (state, false);
        }
        let state = Arc::new(OriginState::new(address.clone(), Arc::clone(&self.queue)));
        states.retain(|_, state| state.strong_count() > 0);
        states.insert(address.clone(), Arc::downgrade(&state));
        (state, self.at_work.load(Ordering::Acquire))
    }

    /// An operator has said something about this one, or taken it back.
    pub(super) fn ordered(&self, state: &Arc<OriginState>) {
        let mut ordered = self.ordered.lock().unwrap_or_else(PoisonError::into_inner);
        ordered.retain(|kept| kept.is_ordered() && kept.id() != state.id());
        if state.is_ordered() {
            ordered.push(Arc::clone(state));
        }
    }

    /// The states that an origin of the configuration, or a connection, has.
    pub(super) fn states(&self) -> Vec<Arc<OriginState>> {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.values().filter_map(Weak::upgrade).collect()
    }

    /// Those who are known now were there from the beginning.
    pub(super) fn begin_work(&self) {
        self.at_work.store(true, Ordering::Release);
    }

    pub(super) fn tell(&self, origin: &Arc<str>, address: &Address, change: Change) {
        // Nobody listens any more when the process ends.
        let _ = self.events.send(OriginEvent {
            upstream: Arc::clone(&self.upstream),
            origin: Arc::clone(origin),
            address: address.clone(),
            change,
        });
    }
}
