//! The established connections, as an operator lists and ends them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::info;

use crate::admin::{Refusal, RefusalKind, RequestResult};
use crate::connection::ConnInfo;
use crate::connection::table::{Conn, ConnTable};
use crate::observe::escape;
use crate::outcome::Reason;
use crate::relay::Command;

/// Lists the connections, on a thread of its own: there may be very many.
pub(crate) fn list(table: &Arc<ConnTable<ConnInfo>>, reply: oneshot::Sender<RequestResult>) {
    let table = Arc::clone(table);
    tokio::task::spawn_blocking(move || {
        let connections = table.all();
        let json: Vec<_> = connections.iter().map(|c| describe(c)).collect();
        let _ = reply.send(Ok(json!({ "connections": json })));
    });
}

/// Ends one connection.
pub(crate) fn kill(table: &ConnTable<ConnInfo>, id: u64) -> RequestResult {
    let mut killed = false;
    table.each(|connection| {
        if connection.info.record.id == id {
            killed = true;
            connection.handle.send(Command::End {
                reason: Reason::Killed,
                at: Instant::now(),
            });
        }
    });
    if killed {
        info!(
            id = format_args!("{id:016x}"),
            "a connection was ended on request"
        );
        return Ok(json!({ "killed": format!("{id:016x}") }));
    }
    Err(Refusal::new(
        RefusalKind::NotFound,
        format!("there is no established connection {id:016x}"),
    ))
}

/// The number of connections that drain or are about to be closed.
pub(crate) fn leaving(table: &ConnTable<ConnInfo>) -> usize {
    let mut leaving = 0;
    table.each(|connection| {
        leaving += usize::from(connection.handle.command().is_some());
    });
    leaving
}

/// One connection as JSON. Bytes from the wire are escaped.
fn describe(connection: &Conn<ConnInfo>) -> Value {
    let record = &connection.info.record;
    let (up, down) = connection.handle.traffic();
    let age = record.time.elapsed().unwrap_or(Duration::ZERO);
    let mut json = json!({
        "id": format!("{:016x}", record.id),
        "endpoint": &*record.endpoint,
        "client": record.client.to_string(),
        "seconds": age.as_secs(),
        // Idle time is kept in whole seconds of another clock.
        "idle_seconds": connection.handle.idle().min(age).as_secs(),
        "bytes_up": up,
        "bytes_down": down,
        "generation": connection.info.generation,
    });
    let mut add = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            json[key] = json!(value);
        }
    };
    add("sni", record.sni.as_deref().map(escape::text));
    add("route", record.route.as_deref().map(str::to_owned));
    add("mode", record.mode.map(str::to_owned));
    add("upstream", record.upstream.as_deref().map(str::to_owned));
    add("origin", record.origin.as_deref().map(str::to_owned));
    let subject = record
        .client_cert
        .as_ref()
        .map(|cert| escape::text(&cert.subject));
    add("client_cert", subject);
    let order = connection.handle.command().map(|order| match order {
        Command::Drain { .. } => "drain".to_owned(),
        Command::End { reason, .. } => reason.to_string(),
    });
    add("leaving", order);
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fixtures;

    #[tokio::test]
    async fn a_killed_connection_is_listed_as_leaving_and_an_unknown_one_is_refused() {
        let table = Arc::default();
        let _killed = fixtures::connection(&table, 1);
        let _other = fixtures::connection(&table, 2);
        assert!(kill(&table, 1).is_ok());
        assert_eq!(kill(&table, 3).unwrap_err().kind, RefusalKind::NotFound);
        assert_eq!(leaving(&table), 1);
        let (reply, listed) = oneshot::channel();
        list(&table, reply);
        let listed = listed.await.unwrap().unwrap();
        let mut leaving: Vec<_> = listed["connections"]
            .as_array()
            .unwrap()
            .iter()
            .map(|shown| (shown["id"].as_str().unwrap(), shown["leaving"].as_str()))
            .collect();
        leaving.sort_unstable();
        let ids = ["0000000000000001", "0000000000000002"];
        assert_eq!(leaving, [(ids[0], Some("killed")), (ids[1], None)]);
    }
}
