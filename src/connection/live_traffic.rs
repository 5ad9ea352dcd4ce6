//! Counts the bytes of connections while they move.
//!
//! A relay only stores how much it has moved in all, in its own handle. Each scrape of the metrics, and the
//! end of the connection, add what is new since the last time to the counts of the route, so that a turn of a
//! relay costs nothing more.

use std::collections::HashMap;
use std::sync::Arc;

use super::info::ConnInfo;
use super::table::ConnTable;
use crate::observe::access_log::Traffic;
use crate::observe::metrics::Shard;

/// Adds to `shard` what established connections have moved since the last call.
pub fn count(table: &ConnTable<ConnInfo>, shard: &Shard) {
    let mut moved: HashMap<_, Traffic> = HashMap::new();
    table.each(|conn| {
        let new = conn.info.uncounted(&conn.handle);
        if new == Traffic::default() {
            return;
        }
        let record = &conn.info.record;
        let part = (Arc::clone(&record.endpoint), record.route.clone());
        let sum = moved.entry(part).or_default();
        sum.up += new.up;
        sum.down += new.down;
    });
    for ((endpoint, route), sum) in moved {
        shard.endpoint(&endpoint).moved(route.as_deref(), sum);
    }
}
