//! Logs that nobody reads.

use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::Bench;
use super::latency;
use super::subject::{Start, Subject};
use super::table::Table;
use crate::load::Clients;

const CONNECTIONS: usize = 100_000;
const TIME: Duration = Duration::from_secs(5);
/// What waits to be written: the queue, a buffer and the pipe, in lines of 300 bytes or more.
const KEPT_MAX: f64 = 16_384.0 + (64.0 + 64.0) * 1024.0 / 300.0;

pub(super) fn measure(bench: &Bench<'_>, table: &mut Table) {
    let what = "blocked log";
    let config = format!(
        "access_log: {{ output: stdout, format: json }}
log: {{ output: stderr, level: debug }}
endpoints:
  - name: edge
    listen: \"@EDGE@\"
    tls: {{ certificates: [{{ cert: \"@CERTS@/bench.test.pem\", key: \"@CERTS@/bench.test.key\" }}] }}
    routes: [{{ name: r, match: {{ sni: bench.test }}, mode: terminate, upstream: origin }}]
upstreams: {{ origin: {{ origins: [\"{}\"] }} }}
",
        bench.origins.plain
    );
    let start = Start {
        is_unread: true,
        ..Start::default()
    };
    let subject = Subject::start(bench.scratch, "log", &config, &start);
    let clients = Clients::new(subject.address, bench.scratch);
    let idle = latency::measure(&subject, &clients, TIME);
    let count = bench.count(CONNECTIONS);
    let ended = AtomicBool::new(false);
    let admin = thread::scope(|scope| {
        let admin = subject.watch(scope, &ended);
        let probes: Vec<_> = (0..4_u8)
            .map(|n| {
                let subject = &subject;
                scope.spawn(move || {
                    for _ in 0..count / 4 {
                        // A source of each thread, so that ports suffice.
                        drop::<TcpStream>(super::crowd::dial(
                            subject.address,
                            Ipv4Addr::new(127, 0, 1, n + 1),
                        ));
                    }
                })
            })
            .collect();
        for probe in probes {
            probe.join().expect("a client");
        }
        ended.store(true, Ordering::Relaxed);
        admin.join().expect("the watch")
    });
    subject.comes_to_rest(Duration::from_secs(20));
    let records = subject.metric("reseal_outcomes_total", &[]);
    let dropped = subject.metric("reseal_log_dropped_total", &["log=\"access\""]);
    table.figure(what, "records", records);
    table.figure(what, "dropped and counted", dropped);
    table.at_most(
        what,
        "neither dropped nor kept",
        (records - dropped).max(0.0),
        KEPT_MAX,
    );
    let beside = latency::measure(&subject, &clients, TIME);
    table.figure(what, "p99 of ping-pong before, ms", idle.relay);
    table.at_most(
        what,
        "p99 of ping-pong since, ms",
        beside.relay,
        2.0 * idle.relay,
    );
    table.at_most(
        what,
        "p99 of new connections since, ms",
        beside.handshake,
        2.0 * idle.handshake,
    );
    let admin = admin.as_secs_f64() * 1e3;
    table.at_most(
        what,
        "longest answer of the admin socket, ms",
        admin,
        1000.0,
    );
    table.at_most(
        what,
        "end after SIGTERM, s",
        subject.stop().as_secs_f64(),
        10.0,
    );
}
