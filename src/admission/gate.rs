//! A fair limit shared by sources: a source may hold at most as many permits as are free, so never more than
//! half; waiting sources are served round robin.

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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    const A: ClientSource = ClientSource::V4(1);
    const B: ClientSource = ClientSource::V4(2);
    const C: ClientSource = ClientSource::V6(1);

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn at_once(gate: &Gate, source: ClientSource) -> Option<GatePermit> {
        match poll(pin!(gate.enter(source))) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    fn all_at_once(gate: &Gate, source: ClientSource) -> Vec<GatePermit> {
        std::iter::from_fn(|| at_once(gate, source)).collect()
    }

    #[test]
    fn one_source_takes_half_and_the_next_ones_half_of_the_rest() {
        let gate = Gate::new("handshakes", 1024);
        let permits = [A, B, C].map(|source| all_at_once(&gate, source));
        assert_eq!(permits.each_ref().map(Vec::len), [512, 256, 128]);
        drop(permits);
        assert!(gate.shared.state.lock().sources.is_empty());
        assert_eq!(gate.load().in_use.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_gate_with_one_permit_lets_one_in() {
        let gate = Gate::new("handshakes", 1);
        let permits = at_once(&gate, A);
        assert!(permits.is_some() && at_once(&gate, B).is_none());
        drop(permits);
        assert!(at_once(&gate, B).is_some());
    }

    #[test]
    fn waiting_sources_are_served_round_robin() {
        let gate = Gate::new("handshakes", 1);
        let permits = at_once(&gate, C);
        let mut first = pin!(gate.enter(A));
        let mut second = pin!(gate.enter(A));
        let mut other = pin!(gate.enter(B));
        for wait in [&mut first, &mut second, &mut other] {
            assert!(poll(wait.as_mut()).is_pending());
        }
        assert_eq!(gate.load().waiting.load(Ordering::Relaxed), 3);
        assert_eq!(gate.limit().reached(), 3);
        drop(permits);
        let permit = poll(first.as_mut());
        assert!(permit.is_ready() && poll(other.as_mut()).is_pending());
        drop(permit);
        assert!(poll(second.as_mut()).is_pending());
        let permit = poll(other.as_mut());
        assert!(permit.is_ready());
        drop(permit);
        assert!(poll(second.as_mut()).is_ready());
        assert!(gate.shared.state.lock().turns.is_empty());
    }

    #[test]
    fn a_waiting_source_does_not_block_others_from_free_permits() {
        let gate = Gate::new("handshakes", 4);
        let _permits = all_at_once(&gate, A);
        let mut more = pin!(gate.enter(A));
        assert!(poll(more.as_mut()).is_pending());
        assert!(at_once(&gate, B).is_some());
    }

    #[test]
    fn a_cancelled_wait_leaves_nothing_behind_and_loses_no_permit() {
        let gate = Gate::new("handshakes", 1);
        let permits = at_once(&gate, A);
        {
            let mut waits = pin!(gate.enter(B));
            assert!(poll(waits.as_mut()).is_pending());
        }
        {
            // It is sent a permit and cancelled before it takes it.
            let mut waits = pin!(gate.enter(B));
            assert!(poll(waits.as_mut()).is_pending());
            drop(permits);
        }
        let state = gate.shared.state.lock();
        assert_eq!(
            (state.free(), state.sources.len(), state.turns.len()),
            (1, 0, 0)
        );
        drop(state);
        let load = gate.load();
        let counts = [&load.in_use, &load.waiting].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts, [0, 0]);
    }

    #[test]
    fn a_gate_with_more_permits_serves_who_waits_and_one_with_fewer_takes_none_away() {
        let gate = Gate::new("handshakes", 1);
        let held = at_once(&gate, A);
        let mut waits = pin!(gate.enter(B));
        assert!(poll(waits.as_mut()).is_pending());
        gate.resize(3);
        let more = poll(waits.as_mut());
        assert!(more.is_ready());
        gate.resize(1);
        assert!(gate.enter_now(C).is_none());
        drop(more);
        assert!(gate.enter_now(C).is_none());
        drop(held);
        assert!(gate.enter_now(C).is_some());
        let state = gate.shared.state.lock();
        assert_eq!((state.in_use, state.sources.len()), (0, 0));
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        let source = |address: &str| ClientSource::from(Some(address.parse().unwrap()));
        assert_eq!(source("192.0.2.1:1"), source("192.0.2.1:2"));
        assert_eq!(source("192.0.2.1:1"), source("[::ffff:192.0.2.1]:1"));
        assert_ne!(source("192.0.2.1:1"), source("192.0.2.2:1"));
        assert_eq!(source("[2001:db8::1]:1"), source("[2001:db8::ffff:1]:1"));
        assert_ne!(source("[2001:db8::1]:1"), source("[2001:db8:0:1::1]:1"));
        assert_eq!(ClientSource::from(None), ClientSource::Unix);
    }
}
