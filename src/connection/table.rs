//! The table of established connections, each with its handle.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};

use crate::relay::{Command, ConnHandle};
use crate::sync::Mutex;

/// Shards keep workers from contending for one lock.
const SHARDS: usize = 16;

/// All established connections; `T` is the information kept on each.
#[derive(Debug)]
pub struct ConnTable<T> {
    shards: [Mutex<HashMap<u64, Arc<Conn<T>>>>; SHARDS],
    next: AtomicU64,
    /// The command that new connections get.
    default_command: Mutex<Option<Command>>,
}

/// One connection.
#[derive(Debug)]
pub struct Conn<T> {
    /// Its handle.
    pub handle: ConnHandle,
    /// The information kept on it.
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
    /// Enters a connection, which stays until the guard is dropped.
    pub fn enter(self: &Arc<Self>, info: T) -> ConnGuard<T> {
        let conn = Arc::new(Conn {
            handle: ConnHandle::new(),
            info,
        });
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        self.shard(key).insert(key, Arc::clone(&conn));
        // Read after the insertion, so that a command to all reaches it in one of the two ways.
        let default_command = *self.default_command.lock();
        if let Some(command) = default_command {
            conn.handle.send(command);
        }
        ConnGuard {
            table: Arc::clone(self),
            key,
            conn,
        }
    }

    /// Calls `visit` with every current connection. It must not block, as it runs under a lock.
    pub fn each(&self, mut visit: impl FnMut(&Arc<Conn<T>>)) {
        for shard in &self.shards {
            shard.lock().values().for_each(&mut visit);
        }
    }

    /// The current connections that `wanted` chooses, with their keys. It must not block, as it runs under a
    /// lock.
    pub fn entries(&self, wanted: impl Fn(&Conn<T>) -> bool) -> Vec<(u64, Arc<Conn<T>>)> {
        let mut entries = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            let chosen = shard.iter().filter(|(_, conn)| wanted(conn));
            entries.extend(chosen.map(|(key, conn)| (*key, Arc::clone(conn))));
        }
        entries
    }

    /// Calls `act` unless the connection with this key has left, which it cannot do meanwhile. `act` must not
    /// block, as it runs under a lock.
    pub fn while_entered(&self, key: u64, act: impl FnOnce()) {
        let shard = self.shard(key);
        if shard.contains_key(&key) {
            act();
        }
    }

    /// All current connections.
    pub fn all(&self) -> Vec<Arc<Conn<T>>> {
        let mut all = Vec::new();
        self.each(|conn| all.push(Arc::clone(conn)));
        all
    }

    /// Sets the command for every connection entered from now on. One that is being entered gets it or is in
    /// [`ConnTable::all`] afterwards.
    pub fn apply_to_new(&self, command: Command) {
        *self.default_command.lock() = Some(command);
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, HashMap<u64, Arc<Conn<T>>>> {
        let index = usize::try_from(key).unwrap_or_default() % SHARDS;
        // There is a shard for every remainder.
        self.shards.get(index).unwrap_or(&self.shards[0]).lock()
    }
}

/// A connection's entry in the table, removed on drop.
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

    /// Removes the entry and returns the connection. It is not shared any more, unless a reader of the table
    /// still holds it.
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
    fn a_command_to_all_reaches_later_connections_too() {
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
    fn a_connection_that_leaves_is_removed() {
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
    fn nothing_is_done_for_a_connection_that_has_left() {
        let table = Arc::new(ConnTable::default());
        let mut guards: Vec<_> = (0..40).map(|n| table.enter(n)).collect();
        let even = table.entries(|conn| conn.info % 2 == 0);
        assert_eq!(even.len(), 20);
        for guard in guards.drain(..10) {
            guard.leave();
        }
        let mut done = Vec::new();
        for (key, conn) in &even {
            table.while_entered(*key, || done.push(conn.info));
        }
        done.sort_unstable();
        assert_eq!(done, (10..40).step_by(2).collect::<Vec<_>>());
    }

    #[test]
    fn an_end_command_is_final() {
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
