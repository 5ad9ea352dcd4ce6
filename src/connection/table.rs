//! The connections that are established, each with its handle.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::relay::{Command, ConnHandle};

/// Workers come and go at different places of the table.
const SHARDS: usize = 16;

/// All established connections; what is known of each is a `T`.
#[derive(Debug)]
pub struct ConnTable<T> {
    shards: [Mutex<HashMap<u64, Arc<Conn<T>>>>; SHARDS],
    next: AtomicU64,
    /// What connections are told that come in from now on.
    default_command: Mutex<Option<Command>>,
}

/// One connection.
#[derive(Debug)]
pub struct Conn<T> {
    /// Its handle.
    pub handle: ConnHandle,
    /// What is known of it.
    pub info: T,
}

impl<T> Default for ConnTable<T> {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            next: AtomicU64::new(0),
            default_command: Mutex::default(),
        }
    }
}

impl<T> ConnTable<T> {
    /// Enters a connection, until what is returned is dropped.
    pub fn enter(self: &Arc<Self>, info: T) -> ConnGuard<T> {
        let conn = Arc::new(Conn {
            handle: ConnHandle::new(),
            info,
        });
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        self.shard(key).insert(key, Arc::clone(&conn));
        // Looked at after it was entered: an order to all reaches it by one way or the other.
        let default_command = *self
            .default_command
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(order) = default_command {
            conn.handle.send(order);
        }
        ConnGuard {
            table: Arc::clone(self),
            key,
            conn,
        }
    }

    /// Shows every connection of this moment to `look`, which must not wait for anything.
    pub fn each(&self, mut look: impl FnMut(&Arc<Conn<T>>)) {
        for shard in &self.shards {
            locked(shard).values().for_each(&mut look);
        }
    }

    /// The connections of this moment.
    pub fn all(&self) -> Vec<Arc<Conn<T>>> {
        let mut all = Vec::new();
        self.each(|conn| all.push(Arc::clone(conn)));
        all
    }

    /// Tells every connection that is entered from now on. One that is being entered hears it, or is
    /// among [`ConnTable::all`] afterwards.
    pub fn apply_to_new(&self, order: Command) {
        *self
            .default_command
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(order);
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, HashMap<u64, Arc<Conn<T>>>> {
        let index = usize::try_from(key).unwrap_or_default() % SHARDS;
        // There is a shard for every remainder.
        locked(self.shards.get(index).unwrap_or(&self.shards[0]))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection's place in the table, given up on drop.
#[derive(Debug)]
pub struct ConnGuard<T> {
    table: Arc<ConnTable<T>>,
    key: u64,
    conn: Arc<Conn<T>>,
}

impl<T> ConnGuard<T> {
    /// The connection.
    pub fn conn(&self) -> Arc<Conn<T>> {
        Arc::clone(&self.conn)
    }

    /// Gives the place up. The conn is nobody else's, unless somebody looks at it just now.
    pub fn leave(self) -> Arc<Conn<T>> {
        self.conn()
    }
}

impl<T> Drop for ConnGuard<T> {
    fn drop(&mut self) {
        self.table.shard(self.key).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Reason;

    fn end() -> Command {
        Command::End {
            reason: Reason::Drain,
            at: tokio::time::Instant::now(),
        }
    }

    #[test]
    fn an_order_to_all_reaches_those_who_come_later_too() {
        let table = Arc::new(ConnTable::default());
        let early = table.enter("early");
        let end = end();
        table.apply_to_new(end);
        for conn in table.all() {
            conn.handle.send(end);
        }
        let late = table.enter("late");
        assert_eq!(early.conn().handle.command(), Some(end));
        assert_eq!(late.conn().handle.command(), Some(end));
    }

    #[test]
    fn who_leaves_is_forgotten() {
        let table = Arc::new(ConnTable::default());
        let one = table.enter(1);
        let other = table.enter(2);
        assert_eq!(table.all().len(), 2);
        let left = Arc::try_unwrap(one.leave()).unwrap();
        assert_eq!(left.info, 1);
        drop(other);
        assert!(table.all().is_empty());
    }

    #[test]
    fn the_end_is_final() {
        let handle = ConnHandle::new();
        let end = end();
        handle.send(end);
        handle.send(Command::Drain {
            idle_after: std::time::Duration::ZERO,
            from: tokio::time::Instant::now(),
            until: Some(tokio::time::Instant::now()),
        });
        assert_eq!(handle.command(), Some(end));
        let later = Command::End {
            reason: Reason::Killed,
            at: tokio::time::Instant::now() + std::time::Duration::from_secs(1),
        };
        handle.send(later);
        assert_eq!(handle.command(), Some(end), "the earlier end counts");
    }
}
