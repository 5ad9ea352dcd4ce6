//! How fast connections move bytes.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::connection::ConnInfo;
use crate::connection::table::ConnTable;
use crate::control::looks::Look;
use crate::observe::access_log::Traffic;

/// The bytes that each connection had moved.
pub(super) type Moved = HashMap<u64, Traffic>;

/// Rates since a look.
#[derive(Debug)]
pub(super) struct Rates {
    base: Look<Moved>,
    now: Instant,
}

/// What the connections have moved by now.
pub(super) fn look(table: &ConnTable<ConnInfo>) -> Arc<Moved> {
    let mut moved = HashMap::new();
    table.each(|connection| {
        let (up, down) = connection.handle.traffic();
        moved.insert(connection.info.record.id, Traffic { up, down });
    });
    moved.into()
}

impl Rates {
    pub(super) const fn since(base: Look<Moved>, now: Instant) -> Self {
        Self { base, now }
    }

    /// The time that they are measured over, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        self.base.seconds(self.now)
    }

    /// The bytes per second of a connection that has moved `total` in all. What began after the look has
    /// moved all of it since.
    pub(super) fn of(&self, id: u64, total: Traffic) -> Traffic {
        let before = self.base.seen.get(&id).copied().unwrap_or_default();
        let time = self.base.age(self.now).as_millis().max(1);
        let per_second = |before: u64, total: u64| {
            let moved = u128::from(total.saturating_sub(before)) * 1000;
            u64::try_from(moved / time).unwrap_or(u64::MAX)
        };
        Traffic {
            up: per_second(before.up, total.up),
            down: per_second(before.down, total.down),
        }
    }
}
