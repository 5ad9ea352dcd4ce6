//! Connections that wait for a slot, in the order of arrival. The pool's lock guards them.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;

use super::request::{PickError, PickRequest};

/// How many waiters are looked at for one free slot. Those at the front may wait for an origin that
/// they have not tried yet; without a bound, each release would look through the whole queue.
const LOOK_AHEAD: usize = 64;

/// A waiter's ticket.
pub(super) type Ticket = u64;

/// The queue of one pool, and what was granted to waiters that have not picked it up yet.
#[derive(Debug)]
pub(super) struct Waiters<T> {
    queue: VecDeque<Waiter>,
    granted: HashMap<Ticket, Result<T, PickError>>,
    next: Ticket,
}

#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    request: PickRequest,
    waker: Option<Waker>,
}

impl<T> Default for Waiters<T> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            granted: HashMap::new(),
            next: 0,
        }
    }
}

impl<T> Waiters<T> {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether nobody waits, nor has been granted something that was not picked up.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.granted.is_empty()
    }

    /// Joins the queue.
    pub(super) fn join(&mut self, request: PickRequest) -> Ticket {
        let ticket = self.next;
        self.next += 1;
        self.queue.push_back(Waiter {
            ticket,
            request,
            waker: None,
        });
        ticket
    }

    /// What was granted to `ticket`; else `waker` is woken once something is.
    pub(super) fn poll(&mut self, ticket: Ticket, waker: &Waker) -> Option<Result<T, PickError>> {
        if let Some(granted) = self.granted.remove(&ticket) {
            return Some(granted);
        }
        if let Some(waiter) = self.queue.iter_mut().find(|w| w.ticket == ticket) {
            waiter.waker = Some(waker.clone());
        }
        None
    }

    /// Leaves the queue. What was granted and not picked up is returned, to be given back.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<T> {
        if let Some(granted) = self.granted.remove(&ticket) {
            return granted.ok();
        }
        self.queue.retain(|waiter| waiter.ticket != ticket);
        None
    }

    /// Grants to waiters what `choose` finds for them, first come first served; a waiter that nothing
    /// fits does not hold up those behind it. The wakers are to be woken without the lock.
    pub(super) fn serve(
        &mut self,
        mut choose: impl FnMut(&PickRequest) -> Result<T, PickError>,
        wakers: &mut Vec<Waker>,
    ) {
        let mut at = 0;
        while at < LOOK_AHEAD
            && let Some(waiter) = self.queue.get(at)
        {
            match choose(&waiter.request) {
                Err(PickError::Full) => at += 1,
                granted => {
                    if let Some(waiter) = self.queue.remove(at) {
                        self.granted.insert(waiter.ticket, granted);
                        wakers.extend(waiter.waker);
                    }
                }
            }
        }
    }
}
