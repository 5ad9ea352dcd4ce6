//! Stalled, trickling and very many handshakes.

use std::thread;
use std::time::{Duration, Instant};

use super::Bench;
use super::crowd::{Crowd, Kind};
use super::latency::{self, Latencies};
use super::subject::{Start, Subject, becomes_true};
use super::table::Table;
use crate::load::Clients;
use crate::machine;

const STALLED: usize = 15_000;
/// A process has 20 000 descriptors here, and reserves two for each connection.
const PROXIES: usize = 2;
/// Deadlines of the hello and of the handshake: long enough to begin all and to measure beside them.
const DEADLINE: Duration = Duration::from_secs(40);
/// An incomplete handshake takes this at most in the process, less than 4 KiB of a message included.
const BYTES_MAX: f64 = 16.0 * 1024.0;
const TIME: Duration = Duration::from_secs(8);
/// The handshakes of the flood at a time.
const UNDER_WAY: usize = 64;

fn config(bench: &Bench<'_>) -> String {
    let deadline = DEADLINE.as_secs();
    format!(
        "access_log: {{ output: none }}
endpoints:
  - name: edge
    listen: \"@EDGE@\"
    timeouts: {{ hello: {deadline}s, client: {deadline}s }}
    tls: {{ certificates: [{{ cert: \"@CERTS@/bench.test.pem\", key: \"@CERTS@/bench.test.key\" }}] }}
    routes: [{{ name: r, match: {{ sni: bench.test }}, mode: terminate, upstream: origin }}]
upstreams: {{ origin: {{ origins: [\"{}\"] }} }}
",
        bench.origins.plain
    )
}

pub(super) fn stalled(bench: &Bench<'_>, table: &mut Table) {
    let what = "stalled handshakes";
    let subjects: Vec<_> = (0..PROXIES)
        .map(|n| {
            let name = format!("stalled-{n}");
            Subject::start(bench.scratch, &name, &config(bench), &Start::default())
        })
        .collect();
    let first = &subjects[0];
    let clients = Clients::new(first.address, bench.scratch);
    let idle = latency::measure(first, &clients, TIME);
    let before: f64 = subjects.iter().map(Subject::memory).sum();
    let count = bench.count(STALLED / PROXIES);
    let mut crowds: Vec<_> = subjects
        .iter()
        .map(|subject| Crowd::start(Kind::Stalled, subject.address, count, bench.scratch))
        .collect();
    for crowd in &mut crowds {
        crowd.line();
    }
    let all = (count * PROXIES) as f64;
    let begun = Instant::now();
    let live = || -> f64 {
        let live = |subject: &Subject| subject.metric("reseal_connections_live", &[]);
        subjects.iter().map(live).sum()
    };
    becomes_true(Duration::from_secs(20), || live() >= all);
    table.at_least(what, "at once", live(), all);
    // Those under way have had their answer.
    becomes_true(Duration::from_secs(20), || {
        let waiting = ["state=\"waiting\""];
        let waiting = |subject: &Subject| subject.metric("reseal_handshakes_active", &waiting);
        subjects.iter().map(waiting).sum::<f64>() == 0.0
    });
    let after: f64 = subjects.iter().map(Subject::memory).sum();
    table.at_most(what, "bytes each", (after - before) / all, BYTES_MAX);
    let beside = latency::measure(first, &clients, TIME);
    // Nothing runs but the clients that trickle, so that this is the price of their number alone.
    beside_table(table, what, &idle, &beside);
    let rest = (DEADLINE + Duration::from_secs(5)).saturating_sub(begun.elapsed());
    becomes_true(rest, || live() == 0.0);
    table.exactly(what, "left after the deadline", live(), 0.0);
    table.figure(
        what,
        "gone this long after the last began, s",
        begun.elapsed().as_secs_f64(),
    );
    let left: usize = subjects.iter().map(|subject| subject.in_use().len()).sum();
    table.exactly(what, "limits still in use", left as f64, 0.0);
}

/// p99 of relays and good handshakes beside an overload: relays at most twice the idle one.
fn beside_table(table: &mut Table, what: &'static str, idle: &Latencies, beside: &Latencies) {
    table.figure(what, "p99 of ping-pong while idle, ms", idle.relay);
    table.at_most(
        what,
        "p99 of ping-pong beside it, ms",
        beside.relay,
        2.0 * idle.relay,
    );
    table.figure(
        what,
        "p99 of new connections while idle, ms",
        idle.handshake,
    );
    table.figure(
        what,
        "p99 of new connections beside it, ms",
        beside.handshake,
    );
    table.exactly(what, "good clients that failed", beside.failed as f64, 0.0);
    table.at_least(
        what,
        "good handshakes",
        beside.handshakes as f64,
        idle.handshakes as f64 / 10.0,
    );
    table.at_most(
        what,
        "longest answer of the admin socket, ms",
        beside.admin,
        1000.0,
    );
}

pub(super) fn flood(bench: &Bench<'_>, table: &mut Table) {
    let what = "handshake flood";
    // On a core of its own: what is measured is how the proxy shares its time, not how the kernel does.
    let _cores = machine::Cores::apart();
    let start = Start {
        is_apart: true,
        ..Start::default()
    };
    let subject = Subject::start(bench.scratch, "flood", &config(bench), &start);
    let clients = Clients::new(subject.address, bench.scratch);
    let idle = latency::measure(&subject, &clients, TIME);
    let mut crowd = Crowd::start(Kind::Flood, subject.address, UNDER_WAY, bench.scratch);
    crowd.line();
    thread::sleep(Duration::from_secs(1));
    let (cpu, began) = (subject.cpu(), Instant::now());
    let beside = latency::measure(&subject, &clients, TIME);
    let used = (subject.cpu() - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    let rate: f64 = crowd.end().parse().unwrap_or(0.0);
    table.figure(what, "handshakes answered a second", rate);
    table.figure(what, "cores that the proxy takes", used);
    beside_table(table, what, &idle, &beside);
    subject.comes_to_rest(DEADLINE + Duration::from_secs(5));
    table.exactly(
        what,
        "limits still in use",
        subject.in_use().len() as f64,
        0.0,
    );
}
