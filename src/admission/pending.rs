//! Pending connections: those whose client has yet to complete its PROXY header, ClientHello or handshake.
//! When all permits are in use they are dropped for new clients, the oldest first.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::sync::Mutex;

/// A connection in its handshake may be dropped only once it is older than this, which allows for several
/// round trips and a lost packet.
const HANDSHAKE_MIN: Duration = Duration::from_secs(1);

/// How far a pending connection is. Earlier steps are dropped first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// The client has not sent a whole ClientHello.
    Silent,
    /// The ClientHello is complete, the handshake is not.
    Handshake,
}

/// All pending connections of the process, in one list per worker, so that workers do not contend for a lock.
#[derive(Clone, Debug)]
pub struct PendingConnections {
    shards: Arc<[Mutex<PendingList>]>,
}

#[derive(Debug, Default)]
struct PendingList {
    next: u64,
    /// By step, then in order of accept. A dropped connection is removed.
    entries: BTreeMap<(Step, u64), Entry>,
}

#[derive(Debug)]
struct Entry {
    accepted: Instant,
    waker: Option<Waker>,
}

/// The list of one worker.
#[derive(Clone, Debug)]
pub struct PendingShard {
    all: PendingConnections,
    index: usize,
}

/// The entry of one pending connection, removed by [`PendingGuard::leave`] or on drop.
#[derive(Debug)]
pub struct PendingGuard {
    shard: PendingShard,
    id: u64,
    has_left: AtomicBool,
}

impl PendingConnections {
    /// Lists for this many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            shards: (0..workers).map(|_| Mutex::default()).collect(),
        }
    }

    /// The list of a worker.
    pub fn shard(&self, index: usize) -> PendingShard {
        PendingShard {
            all: self.clone(),
            index: index.min(self.shards.len().saturating_sub(1)),
        }
    }

    /// Evicts the oldest silent connection, or else the oldest in a handshake. Returns whether there was one.
    pub fn drop_oldest(&self) -> bool {
        [Step::Silent, Step::Handshake]
            .into_iter()
            .any(|step| self.drop_oldest_in(step))
    }

    fn drop_oldest_in(&self, step: Step) -> bool {
        let now = Instant::now();
        let shards = self.shards.iter();
        let oldest = shards
            .filter_map(|shard| Some((shard.lock().oldest(step)?.1, shard)))
            .min_by_key(|(accepted, _)| *accepted);
        let Some((accepted, shard)) = oldest else {
            return false;
        };
        if step == Step::Handshake && now.saturating_duration_since(accepted) < HANDSHAKE_MIN {
            return false;
        }
        let mut shard = shard.lock();
        // It may have left meanwhile; then the next one of its worker is evicted.
        let Some((key, _)) = shard.oldest(step) else {
            return false;
        };
        let entry = shard.entries.remove(&key);
        drop(shard);
        if let Some(waker) = entry.and_then(|entry| entry.waker) {
            waker.wake();
        }
        true
    }
}

impl PendingList {
    fn oldest(&self, step: Step) -> Option<((Step, u64), Instant)> {
        let mut entries = self.entries.range((step, 0)..=(step, u64::MAX));
        entries.next().map(|(key, entry)| (*key, entry.accepted))
    }
}

impl PendingShard {
    /// The list of the same worker among others.
    pub fn beside(&self, others: &PendingConnections) -> Self {
        others.shard(self.index)
    }

    /// Enters a silent connection that was accepted at this time.
    pub fn enter(&self, accepted: Instant) -> PendingGuard {
        let id = self.with(|shard| {
            let id = shard.next;
            shard.next += 1;
            let entry = Entry {
                accepted,
                waker: None,
            };
            shard.entries.insert((Step::Silent, id), entry);
            id
        });
        PendingGuard {
            shard: self.clone(),
            id: id.unwrap_or_default(),
            has_left: AtomicBool::new(false),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut PendingList) -> T) -> Option<T> {
        let shard = self.all.shards.get(self.index)?;
        Some(act(&mut shard.lock()))
    }
}

impl PendingGuard {
    /// The ClientHello is complete: moves the connection to the handshake step.
    pub fn hello_done(&self) {
        self.shard.with(|shard| {
            if let Some(entry) = shard.entries.remove(&(Step::Silent, self.id)) {
                shard.entries.insert((Step::Handshake, self.id), entry);
            }
        });
    }

    /// The connection is no longer pending and cannot be evicted.
    pub fn leave(&self) {
        self.has_left.store(true, Ordering::Relaxed);
        self.shard.with(|shard| {
            let silent = shard.entries.remove(&(Step::Silent, self.id));
            silent.or_else(|| shard.entries.remove(&(Step::Handshake, self.id)))
        });
    }

    /// Waits until the connection is evicted; forever, if it has left.
    pub async fn evicted(&self) {
        poll_fn(|cx| self.poll_evicted(cx)).await;
    }

    fn poll_evicted(&self, cx: &Context<'_>) -> Poll<()> {
        let found = self.shard.with(|shard| {
            let steps = [Step::Silent, Step::Handshake].into_iter();
            for step in steps {
                if let Some(entry) = shard.entries.get_mut(&(step, self.id)) {
                    match &mut entry.waker {
                        Some(waker) => waker.clone_from(cx.waker()),
                        none => *none = Some(cx.waker().clone()),
                    }
                    return true;
                }
            }
            false
        });
        match found {
            Some(false) if !self.has_left.load(Ordering::Relaxed) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

impl Drop for PendingGuard {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;

    use super::*;

    fn is_evicted(pending: &PendingGuard) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        pin!(pending.evicted()).poll(&mut cx).is_ready()
    }

    #[test]
    fn the_oldest_silent_connection_of_all_workers_is_evicted_first() {
        let pending = PendingConnections::new(2);
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let young = pending.shard(0).enter(at(2));
        let oldest = pending.shard(1).enter(at(1));
        let handshaking = pending.shard(1).enter(start);
        handshaking.hello_done();
        assert!(pending.drop_oldest());
        assert_eq!(
            [&young, &oldest, &handshaking].map(is_evicted),
            [false, true, false]
        );
        drop(oldest);
        assert!(pending.drop_oldest());
        assert_eq!([&young, &handshaking].map(is_evicted), [true, false]);
    }

    #[test]
    fn a_handshake_is_evicted_once_it_is_old_and_no_connection_is_silent() {
        let pending = PendingConnections::new(1);
        let shard = pending.shard(0);
        let now = Instant::now();
        let fresh = shard.enter(now);
        fresh.hello_done();
        assert!(!pending.drop_oldest());
        assert!(!is_evicted(&fresh));
        let Some(long_ago) = now.checked_sub(HANDSHAKE_MIN) else {
            return;
        };
        let slow = pending.shard(0).enter(long_ago);
        slow.hello_done();
        drop(fresh);
        assert!(pending.drop_oldest());
        assert!(is_evicted(&slow));
    }

    #[test]
    fn a_connection_that_has_left_is_not_evicted() {
        let pending = PendingConnections::new(1);
        let place = pending.shard(0).enter(Instant::now());
        place.leave();
        assert!(!pending.drop_oldest());
        assert!(!is_evicted(&place));
    }

    #[test]
    fn connections_that_are_no_longer_pending_leave_no_entry() {
        let pending = PendingConnections::new(1);
        let shard = pending.shard(0);
        let (silent, handshaking) = (shard.enter(Instant::now()), shard.enter(Instant::now()));
        handshaking.hello_done();
        drop((silent, handshaking));
        assert!(!pending.drop_oldest());
        assert_eq!(shard.with(|shard| shard.entries.len()), Some(0));
    }
}
