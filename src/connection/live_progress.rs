//! Records of connections that go on: what they have moved so far, at intervals since their accept.
//!
//! The control plane looks for connections whose record is due; a connection has no timer for it.

use std::thread::sleep;
use std::time::Duration;

use tokio::time::Instant;

use super::info::ConnInfo;
use super::table::ConnTable;
use super::traffic::traffic;
use crate::observe::access_log::AccessLog;

/// How many records are queued at once, and how long the log then gets to write them. Its queue holds many
/// times as much, so that none of them is lost to a burst.
const BURST: usize = 1024;
const PAUSE: Duration = Duration::from_millis(10);

/// Writes the records that are due. Blocks for longer than a worker or the control loop may, if they are
/// many.
pub fn write(table: &ConnTable<ConnInfo>, log: &AccessLog) {
    let Some(every) = log.every() else {
        return;
    };
    let now = Instant::now();
    let due = table.entries(|conn| conn.info.progress.is_due(every, now));
    for (n, (key, conn)) in due.into_iter().enumerate() {
        if n > 0 && n % BURST == 0 {
            sleep(PAUSE);
        }
        let info = &conn.info;
        info.progress.advance(every, now);
        let moved = traffic(&conn.handle);
        let line = log.progress(&info.record, moved, info.progress.age());
        // The record of the end is the last one: it is written once the connection has left the table.
        table.while_entered(key, || log.write_rendered(line));
    }
}
