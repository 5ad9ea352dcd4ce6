//! The places of a listener. Those who have not asked yet make room for others, and some places are kept
//! for probes: whoever supervises the process must hear from it, whatever else is asked.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::admission::{PendingConnections, PendingGuard};

/// Connections of one listener at a time. They are apart from those of the endpoints, so that the
/// process can be asked what is going on when it is full.
const ORDINARY: usize = 32;

/// Beside these, for `/healthz` and `/readyz` alone: several supervisors may ask at a time.
const FOR_PROBES: usize = 8;

/// All of them.
pub(super) const ALL: usize = ORDINARY + FOR_PROBES;

/// From accept to the first byte. Every client of ours writes at once.
const FIRST_BYTE: Duration = Duration::from_secs(1);

/// All places of a listener.
pub(super) struct Places {
    ordinary: Group,
    for_probes: Group,
}

/// Places of one kind.
struct Group {
    room: Arc<Semaphore>,
    pending: PendingConnections,
    only_probes: bool,
}

/// The place of one connection, given up on drop.
pub(super) struct Place {
    pending: PendingGuard,
    /// Whether only probes are answered here.
    pub(super) only_probes: bool,
    _permit: OwnedSemaphorePermit,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            ordinary: Group::new(ORDINARY, false),
            for_probes: Group::new(FOR_PROBES, true),
        }
    }
}

impl Places {
    /// A place for a connection that was accepted. The oldest that has not asked yet is dropped for it.
    pub(super) async fn take(&self) -> Place {
        let (ordinary, for_probes) = (&self.ordinary, &self.for_probes);
        if let Some(place) = ordinary.try_take() {
            return place;
        }
        if ordinary.pending.drop_oldest() {
            return ordinary.take().await;
        }
        if let Some(place) = for_probes.try_take() {
            return place;
        }
        for_probes.pending.drop_oldest();
        tokio::select! {
            biased;
            place = ordinary.take() => place,
            place = for_probes.take() => place,
        }
    }
}

impl Group {
    fn new(size: usize, only_probes: bool) -> Self {
        Self {
            room: Arc::new(Semaphore::new(size)),
            pending: PendingConnections::new(1),
            only_probes,
        }
    }

    fn try_take(&self) -> Option<Place> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some(self.place(permit))
    }

    async fn take(&self) -> Place {
        match Arc::clone(&self.room).acquire_owned().await {
            Ok(permit) => self.place(permit),
            // Only a closed semaphore refuses, and this one is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    fn place(&self, permit: OwnedSemaphorePermit) -> Place {
        Place {
            pending: self.pending.shard(0).enter(Instant::now()),
            only_probes: self.only_probes,
            _permit: permit,
        }
    }
}

impl Place {
    /// Whether the client says something in time, which `first_byte` waits for.
    pub(super) async fn has_spoken(
        &self,
        first_byte: impl Future<Output = io::Result<()>>,
    ) -> bool {
        let spoken = timeout(FIRST_BYTE, self.unless_needed(first_byte)).await;
        matches!(spoken, Ok(Some(Ok(()))))
    }

    /// The request is whole: its answer is not given up for others.
    pub(super) fn has_asked(&self) {
        self.pending.leave();
    }

    /// Goes on with `work` until the place is needed for somebody else.
    pub(super) async fn unless_needed<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.pending.evicted() => None,
            done = work => Some(done),
        }
    }
}
