//! A fair limit shared by sources: a source may hold at most as many permits as are free, so never more than
//! half; waiting sources are served round robin.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};

use tokio::sync::oneshot;

use super::limit_use::LimitUse;
use crate::sync::Mutex;

/// What counts as one source: an IPv4 address, an IPv6 /64 network (one host has that many addresses), or all
/// peers of unix sockets together, which have no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientSource {
    /// An IPv4 address.
    V4(u32),
    /// The first 64 bits of an IPv6 address.
    V6(u64),
    /// A peer of a unix socket.
    Unix,
}

impl From<Option<SocketAddr>> for ClientSource {
    fn from(address: Option<SocketAddr>) -> Self {
        match address.map(|address| address.ip().to_canonical()) {
            None => Self::Unix,
            Some(IpAddr::V4(ip)) => Self::V4(ip.to_bits()),
            // The upper half of 128 bits is 64 of them.
            Some(IpAddr::V6(ip)) => Self::V6(u64::try_from(ip.to_bits() >> 64).unwrap_or_default()),
        }
    }
}

/// The load of a gate, readable at any time.
#[derive(Clone, Debug, Default)]
pub struct GateLoad {
    /// Permits in use.
    pub in_use: Arc<AtomicUsize>,
    /// Waiters for a permit.
    pub waiting: Arc<AtomicUsize>,
}

/// The gate. It forgets a source with the source's last permit and waiter.
#[derive(Clone, Debug)]
pub struct Gate {
    shared: Arc<GateShared>,
}

#[derive(Debug)]
struct GateShared {
    state: Mutex<GateState>,
    load: GateLoad,
    limit: LimitUse,
}

#[derive(Debug)]
struct GateState {
    permits: usize,
    in_use: usize,
    /// Orders waiters and turns.
    clock: u64,
    sources: HashMap<ClientSource, Share>,
    /// The waiting sources, in the order of their turns.
    turns: BTreeSet<(u64, ClientSource)>,
}

#[derive(Debug, Default)]
struct Share {
    in_use: usize,
    turn: u64,
    /// The waiters, in order of arrival.
    waiting: BTreeMap<u64, oneshot::Sender<GatePermit>>,
}

/// One permit of a gate.
#[derive(Debug)]
pub struct GatePermit {
    gate: Arc<GateShared>,
    source: ClientSource,
}

impl Gate {
    /// A gate with `permits` permits, at least one, and a name of that limit for the log.
    pub fn new(name: impl Into<Cow<'static, str>>, permits: usize) -> Self {
        let state = GateState {
            permits,
            in_use: 0,
            clock: 0,
            sources: HashMap::new(),
            turns: BTreeSet::new(),
        };
        Self {
            shared: Arc::new(GateShared {
                state: Mutex::new(state),
                load: GateLoad::default(),
                limit: LimitUse::new(name, permits),
            }),
        }
    }

    /// Its limit, and how often a client had to wait.
    pub fn limit(&self) -> &LimitUse {
        &self.shared.limit
    }

    /// Its load.
    pub fn load(&self) -> GateLoad {
        self.shared.load.clone()
    }

    /// Whether somebody waits for a permit.
    pub fn has_waiters(&self) -> bool {
        self.shared.load.waiting.load(Ordering::Relaxed) > 0
    }

    /// Changes the number of permits. Those in use stay, even if they are more.
    pub fn resize(&self, permits: usize) {
        self.shared.limit.set_max(permits);
        let mut state = self.shared.state.lock();
        state.permits = permits;
        self.shared.serve(state);
    }

    /// A permit, if this source can have one now.
    pub fn enter_now(&self, source: ClientSource) -> Option<GatePermit> {
        self.try_enter(source).ok()
    }

    /// Waits for a permit. Cancelled, it leaves the queue.
    pub async fn enter(&self, source: ClientSource) -> GatePermit {
        let mut wait = match self.try_enter(source) {
            Ok(permit) => return permit,
            Err(wait) => wait,
        };
        self.shared.limit.count();
        match (&mut wait.receiver).await {
            Ok(permit) => permit,
            // A waiter stays in the queue until it is sent a permit, so its sender is never dropped.
            Err(_) => std::future::pending().await,
        }
    }

    fn try_enter(&self, source: ClientSource) -> Result<GatePermit, Wait> {
        let mut state = self.shared.state.lock();
        let state = &mut *state;
        let free = state.free();
        let share = state.sources.entry(source).or_default();
        if share.waiting.is_empty() && share.in_use < free {
            share.in_use += 1;
            state.in_use += 1;
            self.shared.load.in_use.fetch_add(1, Ordering::Relaxed);
            return Ok(self.shared.permit(source));
        }
        let (sender, receiver) = oneshot::channel();
        state.clock += 1;
        if share.waiting.is_empty() {
            share.turn = state.clock;
            state.turns.insert((share.turn, source));
        }
        share.waiting.insert(state.clock, sender);
        self.shared.load.waiting.fetch_add(1, Ordering::Relaxed);
        Err(Wait {
            gate: Arc::clone(&self.shared),
            source,
            ticket: state.clock,
            receiver,
        })
    }
}

impl GateShared {
    fn permit(self: &Arc<Self>, source: ClientSource) -> GatePermit {
        GatePermit {
            gate: Arc::clone(self),
            source,
        }
    }

    /// Takes permits for the next waiters and sends them after the lock is released: a permit whose receiver
    /// is gone is dropped at once, which locks again.
    fn serve(self: &Arc<Self>, mut state: MutexGuard<'_, GateState>) {
        let mut served = Vec::new();
        while let Some(next) = state.serve_next() {
            self.load.in_use.fetch_add(1, Ordering::Relaxed);
            self.load.waiting.fetch_sub(1, Ordering::Relaxed);
            served.push(next);
        }
        drop(state);
        for (source, sender) in served {
            let _ = sender.send(self.permit(source));
        }
    }
}

impl GateState {
    const fn free(&self) -> usize {
        self.permits.saturating_sub(self.in_use)
    }

    /// Takes a permit for the next waiter: the first one of the first source in turn that holds fewer permits
    /// than are free.
    fn serve_next(&mut self) -> Option<(ClientSource, oneshot::Sender<GatePermit>)> {
        let free = self.free();
        if free == 0 {
            // There may be thousands of waiting sources to pass over.
            return None;
        }
        let may_enter = |(_, source): &&(u64, ClientSource)| {
            let share = self.sources.get(source);
            share.is_some_and(|share| share.in_use < free)
        };
        let key = *self.turns.iter().find(may_enter)?;
        let share = self.sources.get_mut(&key.1)?;
        let (_, sender) = share.waiting.pop_first()?;
        share.in_use += 1;
        self.in_use += 1;
        self.turns.remove(&key);
        if !share.waiting.is_empty() {
            self.clock += 1;
            share.turn = self.clock;
            self.turns.insert((share.turn, key.1));
        }
        Some((key.1, sender))
    }

    fn forget_idle(&mut self, source: ClientSource) {
        let share = self.sources.get(&source);
        if share.is_some_and(|share| share.in_use == 0 && share.waiting.is_empty()) {
            self.sources.remove(&source);
        }
    }
}

impl Drop for GatePermit {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock();
        state.in_use -= 1;
        if let Some(share) = state.sources.get_mut(&self.source) {
            share.in_use -= 1;
        }
        state.forget_idle(self.source);
        self.gate.load.in_use.fetch_sub(1, Ordering::Relaxed);
        self.gate.serve(state);
    }
}

/// A waiter in the queue, removed on drop.
struct Wait {
    gate: Arc<GateShared>,
    source: ClientSource,
    ticket: u64,
    receiver: oneshot::Receiver<GatePermit>,
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock();
        let Some(share) = state.sources.get_mut(&self.source) else {
            return;
        };
        if share.waiting.remove(&self.ticket).is_none() {
            return;
        }
        self.gate.load.waiting.fetch_sub(1, Ordering::Relaxed);
        if share.waiting.is_empty() {
            let turn = (share.turn, self.source);
            state.turns.remove(&turn);
        }
        state.forget_idle(self.source);
    }
}
