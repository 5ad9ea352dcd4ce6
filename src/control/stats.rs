//! Counters and rates, for `/stats`.
//!
//! A rate is the difference between two looks at the counters. The looks are taken when somebody asks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::admin::{Refusal, RefusalKind, RequestResult};
use crate::connection::ConnInfo;
use crate::connection::table::ConnTable;
use crate::control::looks::{Look, Looks, MEASURED};
use crate::observe::format::timestamp;
use crate::observe::metrics::{EndpointStats, Metrics, Stats};
use crate::outcome::Reason;

/// The counters, and the last two looks at them. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct StatsView {
    metrics: Arc<Metrics>,
    table: Arc<ConnTable<ConnInfo>>,
    looks: Arc<Looks<Stats>>,
}

/// The live connections of routes and origins, which the metrics do not count.
#[derive(Default)]
struct Live {
    routes: HashMap<(Arc<str>, Arc<str>), u64>,
    origins: HashMap<(Arc<str>, Arc<str>), u64>,
}

/// Rates since a look.
struct Since(Option<Look<Stats>>, Instant);

impl StatsView {
    pub(crate) fn new(metrics: Arc<Metrics>, table: Arc<ConnTable<ConnInfo>>) -> Self {
        Self {
            metrics,
            table,
            looks: Arc::default(),
        }
    }

    /// Answers with the counters. There are rates if somebody has asked within the last 30 s, or with `wait`
    /// after a second.
    pub(crate) fn answer(&self, wait: bool, reply: oneshot::Sender<RequestResult>) {
        let view = self.clone();
        tokio::spawn(async move {
            if wait && view.looks.base(Instant::now()).is_none() {
                let first = view.clone();
                let _ = spawn_blocking(move || first.look(Instant::now())).await;
                sleep(MEASURED).await;
            }
            let stats = spawn_blocking(move || view.json(Instant::now())).await;
            let failed = |_| Refusal::new(RefusalKind::Unavailable, "the counters cannot be read");
            let _ = reply.send(stats.map_err(failed));
        });
    }

    fn look(&self, now: Instant) -> Arc<Stats> {
        let stats = Arc::new(self.metrics.stats());
        self.looks.keep(Arc::clone(&stats), now);
        stats
    }

    fn json(&self, now: Instant) -> Value {
        let since = Since(self.looks.base(now), now);
        let stats = self.look(now);
        let live = Live::of(&self.table);
        let uptime = self.metrics.start().elapsed().unwrap_or_default();
        let mut answer = json!({
            "time": timestamp(SystemTime::now()),
            "uptime_seconds": uptime.as_secs(),
            "totals": totals(&stats, &since),
            "endpoints": endpoints(&stats, &since),
            "routes": routes(&stats, &since, &live),
            "origins": origins(&stats, &since, &live),
            "reasons": reasons(&stats, &since),
        });
        if let Some(base) = &since.0 {
            answer["rate_seconds"] = json!(base.seconds(now));
        }
        answer
    }
}

impl Live {
    fn of(table: &ConnTable<ConnInfo>) -> Self {
        let mut live = Self::default();
        table.each(|connection| {
            let record = &connection.info.record;
            if let Some(route) = &record.route {
                let key = (Arc::clone(&record.endpoint), Arc::clone(route));
                *live.routes.entry(key).or_default() += 1;
            }
            if let (Some(upstream), Some(origin)) = (&record.upstream, &record.origin) {
                let key = (Arc::clone(upstream), Arc::clone(origin));
                *live.origins.entry(key).or_default() += 1;
            }
        });
        live
    }
}

impl Since {
    /// Adds a counter to `row`, and its rate per second if there is one.
    fn put(&self, row: &mut Value, key: &str, now: u64, before: impl FnOnce(&Stats) -> u64) {
        row[key] = json!(now);
        if let Some(base) = &self.0 {
            let time = base.age(self.1).as_secs_f64();
            // Counters of what has just joined the configuration begin at zero.
            let new = now.saturating_sub(before(&base.seen)) as f64 / time.max(0.001);
            row[format!("{key}_per_second")] = json!((new * 10.0).round() / 10.0);
        }
    }
}

/// A counter of an endpoint.
type Counter = fn(&EndpointStats) -> u64;

fn totals(stats: &Stats, since: &Since) -> Value {
    let mut row = json!({});
    let all = stats.endpoints.values();
    row["live"] = json!(all.map(|of| of.live).sum::<u64>());
    let sum = |stats: &Stats, of: Counter| stats.endpoints.values().map(of).sum::<u64>();
    let counters: [(&str, Counter); 5] = [
        ("connections", |of| of.connections),
        ("handshakes", |of| of.handshakes),
        ("failures", |of| of.failures),
        ("bytes_up", |of| of.up),
        ("bytes_down", |of| of.down),
    ];
    for (key, of) in counters {
        since.put(&mut row, key, sum(stats, of), |before| sum(before, of));
    }
    row
}

fn endpoints(stats: &Stats, since: &Since) -> Value {
    let rows = stats.endpoints.iter().map(|(name, now)| {
        let mut row = json!({ "endpoint": &**name, "live": now.live });
        let of = |stats: &Stats| stats.endpoints.get(name).copied().unwrap_or_default();
        since.put(&mut row, "connections", now.connections, |b| {
            of(b).connections
        });
        since.put(&mut row, "handshakes", now.handshakes, |b| of(b).handshakes);
        since.put(&mut row, "failures", now.failures, |b| of(b).failures);
        since.put(&mut row, "bytes_up", now.up, |b| of(b).up);
        since.put(&mut row, "bytes_down", now.down, |b| of(b).down);
        row
    });
    rows.collect()
}

fn routes(stats: &Stats, since: &Since, live: &Live) -> Value {
    let rows = stats.routes.iter().map(|(key, now)| {
        let (endpoint, route) = key;
        let mut row = json!({
            "endpoint": &**endpoint,
            // Of connections that reached no route.
            "route": Some(&**route).filter(|name| !name.is_empty()),
            "live": live.routes.get(key).copied().unwrap_or(0),
        });
        let of = |stats: &Stats| stats.routes.get(key).copied().unwrap_or_default();
        since.put(&mut row, "ended", now.ended, |b| of(b).ended);
        since.put(&mut row, "failures", now.failures, |b| of(b).failures);
        since.put(&mut row, "bytes_up", now.up, |b| of(b).up);
        since.put(&mut row, "bytes_down", now.down, |b| of(b).down);
        row
    });
    rows.collect()
}

fn origins(stats: &Stats, since: &Since, live: &Live) -> Value {
    let rows = stats.origins.iter().map(|(key, now)| {
        let (upstream, origin) = key;
        let mut row = json!({
            "upstream": &**upstream,
            "origin": &**origin,
            "live": live.origins.get(key).copied().unwrap_or(0),
        });
        let of = |stats: &Stats| stats.origins.get(key).copied().unwrap_or_default();
        since.put(&mut row, "established", now.established, |b| {
            of(b).established
        });
        since.put(&mut row, "retries", now.retries, |b| of(b).retries);
        since.put(&mut row, "failures", now.failures, |b| of(b).failures);
        row
    });
    rows.collect()
}

/// The most frequent first.
fn reasons(stats: &Stats, since: &Since) -> Value {
    let mut all: Vec<_> = stats.reasons.iter().collect();
    all.sort_by_key(|(reason, now)| (std::cmp::Reverse(now.count), **reason));
    let rows = all.into_iter().filter_map(|(index, now)| {
        let reason = Reason::ALL.get(*index)?;
        let mut row = json!({
            "reason": reason.code(),
            "fault": reason.fault().map(|fault| fault.word()),
            "meaning": reason.meaning(),
            "faults": now.faults,
        });
        let of = |stats: &Stats| stats.reasons.get(index).map_or(0, |of| of.count);
        since.put(&mut row, "count", now.count, of);
        Some(row)
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::control::expiry_dates;
    use crate::control::fixtures::{self, Parts};
    use crate::outcome::{Outcome, Stage};

    fn ended(reason: Reason) -> Outcome {
        Outcome {
            stage: Stage::Hello,
            reason,
            fault: reason.fault(),
            detail: None,
            limit: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn counters_have_rates_from_the_second_look_on() {
        let parts = Parts::new();
        let materials = parts.reloads.materials();
        parts
            .metrics
            .register(&expiry_dates::inventory(&parts.live.load(), materials));
        let _live = fixtures::connection(&parts.table, 1);
        let counts = parts.metrics.shard(0).endpoint("edge");
        counts.begin();
        counts.end(None, &ended(Reason::NotTls), Duration::ZERO);
        let view = StatsView::new(Arc::clone(&parts.metrics), Arc::clone(&parts.table));
        let ask = async |wait| {
            let (reply, answer) = oneshot::channel();
            view.answer(wait, reply);
            answer.await.unwrap().unwrap()
        };
        let first = ask(false).await;
        assert!(first.get("rate_seconds").is_none());
        assert_eq!(first["endpoints"][0]["connections"], 1);
        assert_eq!(first["totals"]["failures"], 1);
        assert_eq!(first["reasons"][0]["reason"], "not_tls");
        let routes = first["routes"].as_array().unwrap();
        let live = routes.iter().find(|row| row["route"] == "all").unwrap();
        assert_eq!(live["live"], 1);
        assert_eq!(first["origins"][0]["live"], 1);
        for _ in 0..10 {
            counts.begin();
        }
        sleep(Duration::from_secs(2)).await;
        let second = ask(true).await;
        assert_eq!(second["rate_seconds"], 2.0);
        assert_eq!(second["endpoints"][0]["connections_per_second"], 5.0);
        assert_eq!(second["totals"]["connections_per_second"], 5.0);
        assert_eq!(second["reasons"][0]["count_per_second"], 0.0);
        // Long after the last look, a request for rates waits for a second.
        sleep(Duration::from_secs(60)).await;
        let later = Instant::now();
        assert_eq!(ask(true).await["rate_seconds"], 1.0);
        assert_eq!(later.elapsed(), MEASURED);
    }
}
