//! Connection limits of a listener. A new connection displaces the oldest one that has not sent a
//! request yet, and some permits are reserved for probes, so that a supervisor always gets a reply.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::admission::{LimitUse, PendingConnections, PendingGuard};
use crate::sync::Mutex;

/// Concurrent connections of one listener. They are separate from those of endpoints, so that the admin
/// socket works when the process is full.
const ORDINARY_PERMITS: usize = 32;

/// Additional connections for `/healthz` and `/readyz` alone: several supervisors may probe at a time.
const PROBE_PERMITS: usize = 8;

/// All connections.
pub(super) const ALL_PERMITS: usize = ORDINARY_PERMITS + PROBE_PERMITS;

/// From accept to the first byte. `reseal ctl`, curl and Prometheus write at once.
const FIRST_BYTE: Duration = Duration::from_secs(1);

/// The permits of a listener. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ConnPermits {
    ordinary: PermitPool,
    probe: PermitPool,
    limit: LimitUse,
}

/// The permits of one kind.
#[derive(Clone, Debug)]
struct PermitPool {
    room: Arc<Semaphore>,
    pending: PendingConnections,
    only_probes: bool,
}

/// The permit of one connection, returned on drop.
pub(super) struct ConnPermit {
    pending: PendingGuard,
    /// Whether this connection may only request probes.
    pub(super) only_probes: bool,
    room: Mutex<Option<OwnedSemaphorePermit>>,
}

impl ConnPermits {
    /// The permits of the listener with this name.
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            ordinary: PermitPool::new(ORDINARY_PERMITS, false),
            probe: PermitPool::new(PROBE_PERMITS, true),
            limit: LimitUse::new(name, ORDINARY_PERMITS),
        }
    }

    /// The limit on connections that are no probes, and how often it was reached.
    pub const fn limit(&self) -> &LimitUse {
        &self.limit
    }

    /// Permits in use, those reserved for probes aside.
    pub fn in_use(&self) -> usize {
        let free = self.ordinary.room.available_permits();
        self.limit.max().saturating_sub(free)
    }

    /// A permit for an accepted connection. Displaces the oldest connection without a request if
    /// needed.
    pub(super) async fn take(&self) -> ConnPermit {
        let (ordinary, probe) = (&self.ordinary, &self.probe);
        if let Some(permit) = ordinary.try_take() {
            return permit;
        }
        self.limit.count();
        if ordinary.pending.drop_oldest() {
            return ordinary.take().await;
        }
        if let Some(permit) = probe.try_take() {
            return permit;
        }
        probe.pending.drop_oldest();
        tokio::select! {
            biased;
            permit = ordinary.take() => permit,
            permit = probe.take() => permit,
        }
    }
}

impl PermitPool {
    fn new(size: usize, only_probes: bool) -> Self {
        Self {
            room: Arc::new(Semaphore::new(size)),
            pending: PendingConnections::new(1),
            only_probes,
        }
    }

    fn try_take(&self) -> Option<ConnPermit> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some(self.permit(permit))
    }

    async fn take(&self) -> ConnPermit {
        match Arc::clone(&self.room).acquire_owned().await {
            Ok(permit) => self.permit(permit),
            // A semaphore refuses only after it was closed, and this one is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    fn permit(&self, permit: OwnedSemaphorePermit) -> ConnPermit {
        ConnPermit {
            pending: self.pending.shard(0).enter(Instant::now()),
            only_probes: self.only_probes,
            room: Mutex::new(Some(permit)),
        }
    }
}

impl ConnPermit {
    /// The first byte of the client, if it comes in time; `first_byte` waits for it.
    pub(super) async fn sends_first_byte(
        &self,
        first_byte: impl Future<Output = io::Result<Option<u8>>>,
    ) -> Option<Option<u8>> {
        let first_byte = timeout(FIRST_BYTE, self.unless_displaced(first_byte)).await;
        first_byte.ok()??.ok()
    }

    /// The request is complete: from now on its connection is not displaced.
    pub(super) fn protect(&self) {
        self.pending.leave();
    }

    /// Leaves the place to another connection: this one has a place elsewhere.
    pub(super) fn release(&self) {
        self.room.lock().take();
    }

    /// Runs `work` until another connection needs the permit.
    pub(super) async fn unless_displaced<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.pending.evicted() => None,
            done = work => Some(done),
        }
    }
}
