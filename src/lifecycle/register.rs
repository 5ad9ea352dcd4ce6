//! The connections that are established, each with its leash.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::leash::{Leash, Order};

/// Workers come and go at different places of the register.
const SHARDS: usize = 16;

/// All established connections; what is known of each is a `T`.
#[derive(Debug)]
pub struct Register<T> {
    shards: [Mutex<HashMap<u64, Arc<Entry<T>>>>; SHARDS],
    next: AtomicU64,
    /// What connections are told that come in from now on.
    standing: Mutex<Option<Order>>,
}

/// One connection.
#[derive(Debug)]
pub struct Entry<T> {
    /// Its leash.
    pub leash: Leash,
    /// What is known of it.
    pub facts: T,
}

impl<T> Default for Register<T> {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            next: AtomicU64::new(0),
            standing: Mutex::default(),
        }
    }
}

impl<T> Register<T> {
    /// Enters a connection, until what is returned is dropped.
    pub fn enter(self: &Arc<Self>, facts: T) -> Registered<T> {
        let entry = Arc::new(Entry {
            leash: Leash::new(),
            facts,
        });
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        self.shard(key).insert(key, Arc::clone(&entry));
        // Looked at after it was entered: an order to all reaches it by one way or the other.
        let standing = *self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(order) = standing {
            entry.leash.tell(order);
        }
        Registered {
            register: Arc::clone(self),
            key,
            entry,
        }
    }

    /// Shows every connection of this moment to `look`, which must not wait for anything.
    pub fn each(&self, mut look: impl FnMut(&Arc<Entry<T>>)) {
        for shard in &self.shards {
            locked(shard).values().for_each(&mut look);
        }
    }

    /// The connections of this moment.
    pub fn all(&self) -> Vec<Arc<Entry<T>>> {
        let mut all = Vec::new();
        self.each(|entry| all.push(Arc::clone(entry)));
        all
    }

    /// Tells every connection that is entered from now on. One that is being entered hears it, or is
    /// among [`Register::all`] afterwards.
    pub fn from_now_on(&self, order: Order) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = Some(order);
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, HashMap<u64, Arc<Entry<T>>>> {
        let index = usize::try_from(key).unwrap_or_default() % SHARDS;
        // There is a shard for every remainder.
        locked(self.shards.get(index).unwrap_or(&self.shards[0]))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection's place in the register, given up on drop.
#[derive(Debug)]
pub struct Registered<T> {
    register: Arc<Register<T>>,
    key: u64,
    entry: Arc<Entry<T>>,
}

impl<T> Registered<T> {
    /// The connection.
    pub fn entry(&self) -> Arc<Entry<T>> {
        Arc::clone(&self.entry)
    }

    /// Gives the place up. The entry is nobody else's, unless somebody looks at it just now.
    pub fn leave(self) -> Arc<Entry<T>> {
        self.entry()
    }
}

impl<T> Drop for Registered<T> {
    fn drop(&mut self) {
        self.register.shard(self.key).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Reason;

    fn end() -> Order {
        Order::End {
            reason: Reason::Drain,
            at: tokio::time::Instant::now(),
        }
    }

    #[test]
    fn an_order_to_all_reaches_those_who_come_later_too() {
        let register = Arc::new(Register::default());
        let early = register.enter("early");
        let end = end();
        register.from_now_on(end);
        for entry in register.all() {
            entry.leash.tell(end);
        }
        let late = register.enter("late");
        assert_eq!(early.entry().leash.order(), Some(end));
        assert_eq!(late.entry().leash.order(), Some(end));
    }

    #[test]
    fn who_leaves_is_forgotten() {
        let register = Arc::new(Register::default());
        let one = register.enter(1);
        let other = register.enter(2);
        assert_eq!(register.all().len(), 2);
        let left = Arc::try_unwrap(one.leave()).unwrap();
        assert_eq!(left.facts, 1);
        drop(other);
        assert!(register.all().is_empty());
    }

    #[test]
    fn the_end_is_final() {
        let leash = Leash::new();
        let end = end();
        leash.tell(end);
        leash.tell(Order::Drain {
            idle_after: std::time::Duration::ZERO,
            from: tokio::time::Instant::now(),
            until: Some(tokio::time::Instant::now()),
        });
        assert_eq!(leash.order(), Some(end));
        let later = Order::End {
            reason: Reason::Killed,
            at: tokio::time::Instant::now() + std::time::Duration::from_secs(1),
        };
        leash.tell(later);
        assert_eq!(leash.order(), Some(end), "the earlier end counts");
    }
}
