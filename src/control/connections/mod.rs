//! The live connections, those before their relay included, as an operator lists and ends them.
//!
//! There may be very many, so they are listed on threads of their own, never on a worker or the control loop.

mod find;
mod rates;
mod row;
mod totals;

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tracing::info;

use self::find::{Found, matches, sort};
pub(super) use self::find::{is_route, is_sni};
use self::rates::{Moved, Rates};
use crate::admin::{ConnFilter, ConnQuery, Refusal, RefusalKind, RequestResult};
use crate::connection::ConnInfo;
use crate::connection::opening::OpeningTable;
use crate::connection::table::ConnTable;
use crate::control::looks::{Looks, MEASURED};
use crate::outcome::Reason;
use crate::relay::Command;

/// How many identifiers the answer to a kill names.
const NAMED_MAX: usize = 1000;

/// The live connections. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections {
    pub(crate) table: Arc<ConnTable<ConnInfo>>,
    pub(crate) openings: Arc<OpeningTable>,
    moved: Arc<Looks<Moved>>,
}

impl Connections {
    /// Of these tables.
    pub(crate) fn new(table: Arc<ConnTable<ConnInfo>>, openings: Arc<OpeningTable>) -> Self {
        Self {
            table,
            openings,
            moved: Arc::default(),
        }
    }

    /// Answers a query.
    pub(crate) fn list(&self, query: ConnQuery, reply: oneshot::Sender<RequestResult>) {
        let connections = self.clone();
        tokio::spawn(async move {
            if query.rates && connections.moved.base(Instant::now()).is_none() {
                let first = connections.clone();
                let _ = spawn_blocking(move || first.look(Instant::now())).await;
                sleep(MEASURED).await;
            }
            let listed = spawn_blocking(move || connections.answer(&query)).await;
            let failed =
                |_| Refusal::new(RefusalKind::Unavailable, "the connections cannot be listed");
            let _ = reply.send(listed.map_err(failed));
        });
    }

    /// Frees what was kept for rates that nobody asks for any more.
    pub(crate) fn tick(&self) {
        self.moved.expire(Instant::now());
    }

    fn look(&self, now: Instant) {
        self.moved.keep(rates::look(&self.table), now);
    }

    fn answer(&self, query: &ConnQuery) -> Value {
        let now = Instant::now();
        let rates = self.moved.base(now).map(|base| Rates::since(base, now));
        if query.rates {
            self.look(now);
        }
        let mut found = self.find(&query.filter);
        let mut answer = json!({ "matched": found.len() });
        if let Some(rates) = &rates {
            answer["rate_seconds"] = json!(rates.seconds());
        }
        match query.totals {
            Some(key) => {
                let (groups, rows) = totals::of(&found, key, rates.as_ref(), query.limit);
                answer["groups"] = json!(groups);
                answer["totals"] = rows;
            }
            None => {
                sort(&mut found, query, rates.as_ref());
                let rows = found.iter().take(query.limit);
                let rows = rows.map(|found| row::describe(found, rates.as_ref()));
                answer["connections"] = rows.collect();
            }
        }
        answer
    }

    /// The connections that match.
    fn find(&self, filter: &ConnFilter) -> Vec<Found> {
        let opening = self.openings.all().into_iter().map(Found::opening);
        // One that is established meanwhile is in either table, or in both.
        let opening: Vec<_> = opening.collect();
        let mut found: Vec<_> = self
            .table
            .all()
            .into_iter()
            .map(Found::established)
            .collect();
        let known: HashSet<_> = match opening.is_empty() {
            true => HashSet::new(),
            false => found.iter().map(|found| found.id).collect(),
        };
        found.extend(
            opening
                .into_iter()
                .filter(|opening| !known.contains(&opening.id)),
        );
        found.retain(|found| matches(found, filter));
        found
    }

    /// Ends the connections that match, which the filter must not leave open.
    pub(crate) fn kill(&self, filter: &ConnFilter) -> RequestResult {
        if filter.is_empty() {
            let message = "every connection would match";
            return Err(Refusal::new(RefusalKind::Invalid, message));
        }
        let found = self.find(filter);
        let only_id = ConnFilter {
            id: filter.id,
            ..ConnFilter::default()
        };
        let by_id = filter.id.filter(|_| *filter == only_id);
        if found.is_empty() {
            let message = match by_id {
                Some(id) => format!("there is no live connection {id:016x}"),
                None => "no live connection matches".to_owned(),
            };
            return Err(Refusal::new(RefusalKind::NotFound, message));
        }
        for found in &found {
            found.end(Command::End {
                reason: Reason::Killed,
                at: Instant::now(),
            });
        }
        let mut ids: Vec<_> = found.iter().map(|found| found.id).collect();
        ids.sort_unstable();
        let written = |id: &u64| format!("{id:016x}");
        if let Some(id) = by_id {
            info!(id = written(&id), "a connection was ended on request");
            return Ok(json!({ "killed": written(&id), "count": 1 }));
        }
        info!(count = ids.len(), "connections were ended on request");
        let named: Vec<_> = ids.iter().take(NAMED_MAX).map(written).collect();
        Ok(json!({ "count": ids.len(), "ids": named }))
    }
}

/// The number of connections that drain or are about to be closed.
pub(crate) fn leaving(table: &ConnTable<ConnInfo>) -> usize {
    let mut leaving = 0;
    table.each(|connection| {
        leaving += usize::from(connection.handle.command().is_some());
    });
    leaving
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::admin::ConnKey;
    use crate::control::fixtures;

    fn one(id: u64) -> ConnFilter {
        ConnFilter {
            id: Some(id),
            ..ConnFilter::default()
        }
    }

    #[tokio::test]
    async fn a_killed_connection_is_listed_as_leaving_and_an_unknown_one_is_refused() {
        let connections = Connections::default();
        let _killed = fixtures::connection(&connections.table, 1);
        let _other = fixtures::connection(&connections.table, 2);
        assert!(connections.kill(&one(1)).is_ok());
        let unknown = connections.kill(&one(3)).unwrap_err();
        assert_eq!(unknown.kind, RefusalKind::NotFound);
        let all = connections.kill(&ConnFilter::default()).unwrap_err();
        assert_eq!(all.kind, RefusalKind::Invalid);
        assert_eq!(leaving(&connections.table), 1);
        let (reply, listed) = oneshot::channel();
        connections.list(ConnQuery::all(), reply);
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

    #[tokio::test(start_paused = true)]
    async fn rates_are_measured_for_a_second_and_then_known() {
        let connections = Connections::default();
        let connection = fixtures::connection(&connections.table, 1);
        let asked = |rates| {
            let (reply, listed) = oneshot::channel();
            let query = ConnQuery {
                rates,
                ..ConnQuery::all()
            };
            connections.list(query, reply);
            async { listed.await.unwrap().unwrap() }
        };
        let without = asked(false).await;
        assert!(without["connections"][0].get("rate_up").is_none());
        let (listed, ()) = tokio::join!(asked(true), async {
            sleep(Duration::from_millis(500)).await;
            connection
                .conn()
                .handle
                .progress(1000, 3000, Instant::now());
        });
        assert_eq!(listed["rate_seconds"], 1.0);
        let row = &listed["connections"][0];
        assert_eq!(
            (&row["rate_up"], &row["rate_down"]),
            (&json!(1000), &json!(3000))
        );
        // The next one need not wait, and sees that nothing has moved since.
        sleep(Duration::from_secs(2)).await;
        let listed = asked(true).await;
        assert_eq!(listed["rate_seconds"], 2.0);
        assert_eq!(listed["connections"][0]["rate_down"], 0);
        connections.tick();
        sleep(Duration::from_secs(60)).await;
        connections.tick();
        assert!(asked(false).await.get("rate_seconds").is_none());
    }

    #[tokio::test]
    async fn connections_are_grouped_and_a_limit_leaves_the_rest_out() {
        let connections = Connections::default();
        let _guards: Vec<_> = (0..5)
            .map(|id| fixtures::connection(&connections.table, id))
            .collect();
        let query = ConnQuery {
            totals: Some(ConnKey::Origin),
            ..ConnQuery::all()
        };
        let answer = connections.answer(&query);
        assert_eq!(answer["matched"], 5);
        let total = &answer["totals"][0];
        assert_eq!(
            (&total["value"], &total["connections"]),
            (&json!("one"), &json!(5))
        );
        let query = ConnQuery {
            limit: 2,
            reverse: true,
            sort: ConnKey::Id,
            ..ConnQuery::all()
        };
        let answer = connections.answer(&query);
        assert_eq!(answer["matched"], 5);
        let rows = answer["connections"].as_array().unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0]["id"], "0000000000000004");
    }
}
