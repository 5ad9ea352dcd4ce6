//! The live side of one upstream: its origins, and the connections that wait for a slot at one. There
//! is one pool for each name, over all reloads, behind one lock.

mod choose;
mod event;
mod index;
mod request;
mod resolution;
mod state;
mod status;
mod view;
mod waiters;

#[cfg(test)]
mod model;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustls::pki_types::ServerName;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tracing::warn;

use crate::sync::Mutex;

use self::choose::Taken;
pub use self::event::{Change, OriginEvent};
pub use self::request::{PickError, PickRequest, Waiting};
use self::state::PoolState;
pub use self::status::OriginStatus;
use self::waiters::Ticket;
use super::definition::{Address, OriginDefinition, UpstreamDefinition};
use super::discovery::{Resolver, Source};
use super::origin::{AdminState, Threshold, Verdict};

/// An origin that was chosen, and a slot at it.
#[derive(Debug)]
pub struct Pick {
    /// The definition of the upstream at that moment.
    pub upstream: Arc<UpstreamDefinition>,
    /// The definition of the origin.
    pub origin: Arc<OriginDefinition>,
    /// Where it is.
    pub address: Address,
    /// The slot, to be kept for as long as the connection lasts.
    pub slot: Slot,
    /// Whether the same connection has tried it before.
    pub again: bool,
}

/// One connection's right to an origin, given back on drop.
#[derive(Debug)]
pub struct Slot {
    pool: Arc<Pool>,
    origin: u64,
}

impl Slot {
    /// Tells the origin from every other of the process.
    pub const fn origin_id(&self) -> u64 {
        self.origin
    }

    /// A connection to the origin was established; `asked` is the name that its client asked for, where
    /// the origin was asked for that.
    pub fn succeeded(&self, asked: Option<&ServerName<'_>>) {
        self.pool
            .change(|state, now| state.succeeded(self.origin, asked, now));
    }

    /// Whether the origin has served a client that asked for this name.
    pub fn serves(&self, name: &ServerName<'_>) -> bool {
        self.pool.state.lock().serves(self.origin, name)
    }

    /// A connection to the origin failed, by the origin's fault.
    pub fn failed(&self) {
        self.pool
            .change(|state, now| state.failed(self.origin, now));
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pool
            .change(|state, now| state.release(self.origin, now));
    }
}

/// The live side of one upstream.
#[derive(Debug)]
pub struct Pool {
    name: Arc<str>,
    state: Mutex<PoolState>,
    changed: watch::Sender<()>,
    /// The tasks that follow the names of the sources.
    followers: Mutex<Vec<AbortHandle>>,
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop_following();
    }
}

impl Pool {
    pub(super) fn new(
        definition: Arc<UpstreamDefinition>,
        events: mpsc::UnboundedSender<OriginEvent>,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: Arc::clone(&definition.name),
            state: Mutex::new(PoolState::new(definition, seed(), events)),
            changed: watch::Sender::new(()),
            followers: Mutex::default(),
        })
    }

    /// The upstream's name.
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Takes over the definition of today. With an equal one, balancing, health and names go on as
    /// they were.
    pub(super) fn apply(
        self: &Arc<Self>,
        definition: &Arc<UpstreamDefinition>,
        resolver: &Resolver,
        control: &Handle,
        is_new: bool,
    ) {
        let is_changed = self.change(|state, _| state.redefine(definition));
        if !is_changed && !is_new {
            return;
        }
        let is_proxied = definition.connect.proxy.is_some();
        let source = |origin: &Arc<OriginDefinition>| resolver.source(origin, is_proxied);
        let sources: Vec<_> = definition.origins.iter().map(source).collect();
        let followers = sources
            .iter()
            .filter_map(|source| self.follow(source, control));
        let followers = followers.collect();
        self.stop_following();
        *self.followers.lock() = followers;
        self.change(|state, now| {
            state.sources = sources;
            state.refresh(&Change::Removed, now);
        });
        self.changed.send_replace(());
    }

    /// The upstream left the configuration: no connection gets an origin any more.
    pub(super) fn close(&self) {
        self.stop_following();
        self.change(|state, now| {
            state.sources = Vec::new();
            state.refresh(&Change::Removed, now);
        });
        self.changed.send_replace(());
    }

    /// Follows the answers for the name of a source, if it has one, on the control runtime.
    fn follow(self: &Arc<Self>, source: &Source, control: &Handle) -> Option<AbortHandle> {
        let mut answers = source.answers()?;
        let pool: Weak<Self> = Arc::downgrade(self);
        // An answer that has come before the task runs must not be missed.
        answers.mark_changed();
        let following = async move {
            while answers.changed().await.is_ok() {
                let Some(pool) = pool.upgrade() else { return };
                pool.change(|state, now| state.refresh(&Change::Gone, now));
                pool.changed.send_replace(());
            }
        };
        Some(control.spawn(following).abort_handle())
    }

    fn stop_following(&self) {
        for follower in self.followers.lock().drain(..) {
            follower.abort();
        }
    }

    /// Takes a slot at once.
    pub fn pick(self: &Arc<Self>, request: &PickRequest) -> Result<Pick, PickError> {
        let taken = self.change(|state, now| state.pick(request, now));
        taken.map(|taken| self.picked(taken))
    }

    /// Takes a slot, and waits for the resolver's first answer and in the queue where it must; the
    /// caller bounds the time. `waits` is called before each wait.
    pub async fn acquire(
        self: &Arc<Self>,
        request: &PickRequest,
        mut waits: impl FnMut(Waiting),
    ) -> Result<Pick, PickError> {
        let mut picked = self.pick(request);
        if matches!(picked, Err(PickError::Unresolved)) {
            waits(Waiting::Resolver);
            picked = self.resolved(request).await;
        }
        if matches!(picked, Err(PickError::Full)) {
            waits(Waiting::Slot);
            picked = self.queue(request.clone()).await;
        }
        picked
    }

    async fn resolved(self: &Arc<Self>, request: &PickRequest) -> Result<Pick, PickError> {
        let mut changes = self.changes();
        loop {
            match self.pick(request) {
                Err(PickError::Unresolved) => {}
                picked => return picked,
            }
            // It cannot end while the pool is there.
            let _ = changes.changed().await;
        }
    }

    /// How many connections wait in the queue.
    pub fn waiting(&self) -> usize {
        self.change(|state, _| state.waiting())
    }

    /// Waits in the queue for a slot, no longer than the upstream's `queue_timeout`.
    pub async fn queue(self: &Arc<Self>, request: PickRequest) -> Result<Pick, PickError> {
        let (ticket, limit, is_to_warn) = self.change(|state, now| {
            let ticket = state.join(request, now);
            (ticket, state.queue_timeout(), state.is_to_warn(now))
        });
        if is_to_warn {
            let upstream = self.name();
            match &ticket {
                Ok(_) => {
                    warn!(%upstream, "connections wait: all usable origins are at their limit of \
                    connections")
                }
                Err(_) => {
                    warn!(%upstream, "connections are refused: all usable origins are at their limit of \
                    connections, and the queue is full")
                }
            }
        }
        let waiter = QueuedWaiter {
            pool: Arc::clone(self),
            ticket: ticket?,
        };
        timeout(limit, waiter)
            .await
            .unwrap_or(Err(PickError::QueueTimeout))
    }

    /// A slot at another address of the same origin, to be dialled beside `pick` (RFC 8305).
    pub fn alternate_address(self: &Arc<Self>, request: &PickRequest, pick: &Pick) -> Option<Pick> {
        // Most origins have one address, and then there is nothing to look for.
        pick.origin.address.is_name().then_some(())?;
        let mut request = request.clone();
        request.tried(pick.slot.origin_id());
        let taken = self.change(|state, now| state.pick_alternate(&request, &pick.origin, now))?;
        Some(self.picked(taken))
    }

    fn picked(self: &Arc<Self>, taken: Taken) -> Pick {
        Pick {
            slot: Slot {
                pool: Arc::clone(self),
                origin: taken.id,
            },
            upstream: taken.upstream,
            origin: taken.definition,
            address: taken.address,
            again: taken.again,
        }
    }

    /// A check of the origin with this id has ended.
    pub fn checked(&self, origin: u64, verdict: Verdict, threshold: Threshold) {
        self.change(|state, now| state.checked(origin, verdict, threshold, now));
    }

    /// The checks that an origin has passed and failed since the pool exists.
    pub fn checks(&self, origin: &str) -> [u64; 2] {
        let state = self.state.lock();
        state.checks.get(origin).copied().unwrap_or_default()
    }

    /// Nothing checks the origins any more: all count as up.
    pub fn unchecked(&self) {
        self.change(|state, now| state.unchecked(now));
    }

    /// Sets the administrative state of every origin of this name or address; returns how many.
    pub fn set_admin_state(&self, which: &str, admin: AdminState) -> usize {
        self.change(|state, now| {
            state.administer(which, |origin| origin.set_admin(admin, now), now)
        })
    }

    /// Sets the weight, 1 to 256, of every origin of this name or address, or takes it back; returns
    /// how many.
    pub fn set_weight(&self, which: &str, weight: Option<u32>) -> usize {
        self.change(|state, now| state.administer(which, |origin| origin.set_weight(weight), now))
    }

    /// Is notified when the origins have changed, or the resolver has answered.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Waits until the resolver has answered, or has failed, for the name of each origin.
    pub async fn answered(&self) {
        let mut changes = self.changes();
        let is_waiting = || {
            let state = self.state.lock();
            state
                .sources
                .iter()
                .any(|source| source.resolved().is_none())
        };
        while is_waiting() {
            // It cannot end while the pool is there.
            let _ = changes.changed().await;
        }
    }

    /// One critical section. Those that it served are woken when it is over.
    fn change<T>(&self, change: impl FnOnce(&mut PoolState, Instant) -> T) -> T {
        let mut state = self.state.lock();
        let result = change(&mut state, Instant::now());
        let wakers = state.take_wakers();
        drop(state);
        wakers.into_iter().for_each(|waker| waker.wake());
        result
    }
}

/// A connection in the queue; it leaves on drop.
struct QueuedWaiter {
    pool: Arc<Pool>,
    ticket: Ticket,
}

impl Future for QueuedWaiter {
    type Output = Result<Pick, PickError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let granted = self.pool.state.lock().poll_waiter(self.ticket, cx.waker());
        match granted {
            Some(granted) => Poll::Ready(granted.map(|taken| self.pool.picked(taken))),
            None => Poll::Pending,
        }
    }
}

impl Drop for QueuedWaiter {
    fn drop(&mut self) {
        self.pool.change(|state, now| state.leave(self.ticket, now));
    }
}

/// Where the random numbers of a pool begin: several proxies must not draw the same.
fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanoseconds = now.map_or(0, |now| u64::from(now.subsec_nanos()));
    nanoseconds << 32 | u64::from(std::process::id())
}
