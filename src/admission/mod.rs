//! The caps of the process. A connection holds a permit from accept to its end; a handshake holds one of a
//! gate, which sources share fairly. All permits are released on drop.

mod gate;
mod limit_use;
mod networks;
mod pending;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

pub use self::gate::{ClientSource, Gate, GatePermit};
pub use self::limit_use::LimitUse;
pub use self::networks::{Networks, SourceDenial, SourceRules};
pub use self::pending::{PendingConnections, PendingGuard, PendingShard};

/// While a client waits to be accepted, how often a pending connection is dropped for it.
const DROP_INTERVAL: Duration = Duration::from_millis(100);

/// The cap on connections.
#[derive(Clone, Debug)]
pub struct Admission {
    room: Arc<Semaphore>,
    pending: PendingConnections,
    limit: LimitUse,
}

/// The permit of one connection.
#[derive(Debug)]
pub struct Permit {
    _room: OwnedSemaphorePermit,
}

impl Admission {
    /// Admits up to `connections` at once. When all are in use, connections of `pending` are dropped for
    /// others.
    pub fn new(connections: usize, pending: PendingConnections) -> Self {
        Self {
            room: Arc::new(Semaphore::new(connections)),
            pending,
            limit: LimitUse::new("process.limits.connections", connections),
        }
    }

    /// The limit, and how often it was reached.
    pub const fn limit(&self) -> &LimitUse {
        &self.limit
    }

    /// Permits in use.
    pub fn in_use(&self) -> usize {
        self.limit
            .max()
            .saturating_sub(self.room.available_permits())
    }

    /// A permit, if one is free.
    pub fn try_admit(&self) -> Option<Permit> {
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some(Permit { _room: room })
    }

    /// Waits for a permit, and drops the oldest pending connection to free one; clients meanwhile wait in the
    /// kernel's accept queue. It drops one connection per interval, so that new clients have time to send
    /// their hello.
    pub async fn admit(&self) -> Permit {
        self.limit.count();
        let room = acquire(&self.room);
        tokio::pin!(room);
        loop {
            self.pending.drop_oldest();
            tokio::select! {
                biased;
                permit = &mut room => return Permit { _room: permit },
                () = sleep(DROP_INTERVAL) => {}
            }
        }
    }
}

async fn acquire(room: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    match Arc::clone(room).acquire_owned().await {
        Ok(permit) => permit,
        // Only a closed semaphore refuses, and this one is never closed.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn admission(connections: usize) -> (Admission, PendingShard) {
        let pending = PendingConnections::new(1);
        let shard = pending.shard(0);
        (Admission::new(connections, pending), shard)
    }

    #[tokio::test]
    async fn a_permit_is_returned_however_its_connection_ends() {
        let (admission, _) = admission(1);
        let permit = admission.admit().await;
        assert!(admission.try_admit().is_none());
        let task = tokio::spawn(async move {
            let _permit = permit;
            panic!("a defect in one connection");
        });
        assert!(task.await.is_err());
        assert!(admission.try_admit().is_some());
    }

    #[tokio::test]
    async fn a_waiting_client_gets_the_permit_of_a_silent_connection() {
        let (admission, shard) = admission(1);
        let permit = admission.admit().await;
        let place = shard.enter(Instant::now());
        let silent = tokio::spawn(async move {
            place.evicted().await;
            drop(permit);
        });
        admission.admit().await;
        silent.await.unwrap();
    }
}
