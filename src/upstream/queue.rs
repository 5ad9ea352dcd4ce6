//! Connections that wait for a place at an origin, in the order of their arrival.
//!
//! A place that is given up is handed to the first in the queue whom it suits, not fought over: who has
//! waited is not overtaken.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::group::{Ask, Group, Picked, Unpicked};

/// How many of those who wait are looked at when there is a place, of each generation: those of an older
/// one may wait for what is not there any more, and must not keep the others from what is.
const LOOK_AT: usize = 64;

/// And how many of all generations together.
const LOOK_AT_ALL: usize = 4096;

type Reply = Result<Picked, Unpicked>;

/// The queue of one upstream; it outlives a reload.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiters: Mutex<VecDeque<Waiter>>,
    /// As many as there are waiters; some of them may have given up.
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Waiter {
    /// The origins of the configuration that the connection was born with.
    group: Arc<Group>,
    ask: Ask,
    tell: oneshot::Sender<Reply>,
}

impl Queue {
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0
    }

    /// Joins the queue unless `limit` connections wait already. The place at an origin comes through
    /// what is returned; who drops that has left the queue.
    pub(super) fn join(
        &self,
        group: &Arc<Group>,
        ask: Ask,
        limit: Option<usize>,
    ) -> Option<oneshot::Receiver<Reply>> {
        let (tell, told) = oneshot::channel();
        let mut waiters = self.waiters();
        if limit.is_some_and(|limit| waiters.len() >= limit) {
            waiters.retain(|waiter| !waiter.tell.is_closed());
        }
        if limit.is_some_and(|limit| waiters.len() >= limit) {
            return None;
        }
        waiters.push_back(Waiter {
            group: Arc::clone(group),
            ask,
            tell,
        });
        self.waiting.store(waiters.len(), Ordering::SeqCst);
        drop(waiters);
        // A place may have been given up between the look at the origins and now.
        self.serve();
        Some(told)
    }

    /// Gives out what places there are. To be called whenever there may be one more, or none ever.
    pub(super) fn serve(&self) {
        while !self.is_empty() {
            let Some((tell, reply)) = self.next() else {
                return;
            };
            // Whoever has left meanwhile gives the place back, and the next one is served.
            let _ = tell.send(reply);
        }
    }

    fn next(&self) -> Option<(oneshot::Sender<Reply>, Reply)> {
        let mut waiters = self.waiters();
        // Who has left is in nobody's way.
        let mut at = 0;
        while at < LOOK_AT
            && let Some(waiter) = waiters.get(at)
        {
            if waiter.tell.is_closed() {
                waiters.remove(at);
            } else {
                at += 1;
            }
        }
        // The first for whom there is a place: who waits for another origin holds nobody up.
        let mut looks: Vec<(*const Group, usize)> = Vec::new();
        let mut is_in_sight = |waiter: &Waiter| {
            let group = Arc::as_ptr(&waiter.group);
            let look = looks.iter_mut().find(|(of, _)| *of == group);
            match look {
                Some((_, count)) => {
                    *count += 1;
                    *count <= LOOK_AT
                }
                None => {
                    looks.push((group, 1));
                    true
                }
            }
        };
        let ready = waiters
            .iter()
            .take(LOOK_AT_ALL)
            .enumerate()
            .filter(|(_, waiter)| is_in_sight(waiter))
            .find_map(|(n, waiter)| match waiter.group.choose(&waiter.ask) {
                Err(Unpicked::Full) => None,
                reply => Some((n, reply)),
            });
        let served = ready.and_then(|(n, reply)| Some((waiters.remove(n)?.tell, reply)));
        self.waiting.store(waiters.len(), Ordering::SeqCst);
        served
    }

    fn waiters(&self) -> MutexGuard<'_, VecDeque<Waiter>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
