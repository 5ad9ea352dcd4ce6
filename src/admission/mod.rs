//! Who may come in. A connection holds a permit of the process from accept to its end, and those of the
//! limits of its endpoint, route and source; a handshake holds one of a gate, which sources share fairly. All
//! permits are released on drop.

mod by_source;
mod gate;
mod limit_use;
mod limits;
mod networks;
mod pending;
mod rate;
mod scope;
mod scopes;
mod source;
mod source_shard;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

pub use self::by_source::{SourcePermit, SourceTable};
pub use self::gate::{ClientSource, Gate, GatePermit};
pub use self::limit_use::LimitUse;
pub(crate) use self::limit_use::Warnings;
pub use self::limits::{LimitKind, Limits, WhenFull};
pub use self::networks::{Networks, SourceDenial, SourceRules};
pub use self::pending::{PendingConnections, PendingGuard, PendingShard};
pub use self::rate::{Clock, Rate};
pub use self::scope::{LimitScope, ScopePermit, WaitingLimit};
pub use self::scopes::{EndpointLimits, LimitScopes};
pub use self::source::{SourceKey, SourceLimits, SourcePrefix};

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
    /// Its place at the endpoint, if it had to wait for that.
    pub endpoint: Option<ScopePermit>,
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

    /// A permit, if one is free, with a place at an endpoint that has such a limit.
    pub fn try_admit(&self, endpoint: Option<&WaitingLimit>) -> Option<Permit> {
        let endpoint = match endpoint {
            Some(WaitingLimit { scope, max }) => Some(scope.try_enter(*max)?),
            None => None,
        };
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some(Permit {
            _room: room,
            endpoint,
        })
    }

    /// Waits for a permit, and drops the oldest pending connection to free one; clients meanwhile wait in the
    /// kernel's accept queue. It drops one connection per interval, so that new clients have time to send
    /// their hello. The place at the endpoint comes first; `limit` is asked again and again, since a reload
    /// may change it.
    pub async fn admit(&self, limit: impl FnMut() -> Option<WaitingLimit>) -> Permit {
        let endpoint = place(limit).await;
        let room = match Arc::clone(&self.room).try_acquire_owned() {
            Ok(room) => room,
            Err(_) => self.wait_for_room().await,
        };
        Permit {
            _room: room,
            endpoint,
        }
    }

    async fn wait_for_room(&self) -> OwnedSemaphorePermit {
        self.limit.count();
        let room = acquire(&self.room);
        tokio::pin!(room);
        loop {
            self.pending.drop_oldest();
            tokio::select! {
                biased;
                permit = &mut room => return permit,
                () = sleep(DROP_INTERVAL) => {}
            }
        }
    }
}

/// Waits for a place at an endpoint, if that has such a limit.
async fn place(mut limit: impl FnMut() -> Option<WaitingLimit>) -> Option<ScopePermit> {
    let mut is_counted = false;
    loop {
        let WaitingLimit { scope, max } = limit()?;
        let mut freed = std::pin::pin!(scope.freed());
        freed.as_mut().enable();
        if let Some(permit) = scope.try_enter(max) {
            return Some(permit);
        }
        if !std::mem::replace(&mut is_counted, true) {
            scope.count_wait(max);
        }
        scope.pending.drop_oldest();
        let _ = timeout(DROP_INTERVAL, freed).await;
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
        let permit = admission.admit(|| None).await;
        assert!(admission.try_admit(None).is_none());
        let task = tokio::spawn(async move {
            let _permit = permit;
            panic!("a defect in one connection");
        });
        assert!(task.await.is_err());
        assert!(admission.try_admit(None).is_some());
    }

    #[tokio::test]
    async fn a_waiting_client_gets_the_permit_of_a_silent_connection() {
        let (admission, shard) = admission(1);
        let permit = admission.admit(|| None).await;
        let place = shard.enter(Instant::now());
        let silent = tokio::spawn(async move {
            place.evicted().await;
            drop(permit);
        });
        admission.admit(|| None).await;
        silent.await.unwrap();
    }
}
