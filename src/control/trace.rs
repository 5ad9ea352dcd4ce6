//! What traces tell of established connections.

use crate::connection::ConnInfo;
use crate::connection::table::ConnTable;
use crate::observe::access_log::Traffic;
use crate::observe::trace::Traces;

/// Tells what each connection has moved since the last call, and ends traces whose time is over.
pub(crate) fn proceed(traces: &Traces, table: &ConnTable<ConnInfo>) {
    if !traces.is_active() {
        return;
    }
    for connection in table.all() {
        let (up, down) = connection.handle.traffic();
        traces.moved(&connection.info.record, Traffic { up, down });
    }
    traces.expire();
}
