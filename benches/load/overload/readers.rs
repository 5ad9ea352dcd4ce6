//! Readers of one byte a second behind an origin that sends as much as it can.

use std::time::{Duration, Instant};

use super::Bench;
use super::crowd::{Crowd, Kind};
use super::subject::{Start, Subject};
use super::table::Table;
use crate::load::Clients;
use crate::origin;

const READERS: usize = 1000;
/// What is read and not written yet, with the overhead of TLS, and an idle connection (docs/operations.md).
const BYTES_MAX: f64 = (256 + 16 + 8) as f64 * 1024.0;
const STREAM: u64 = 512 << 20;

pub(super) fn measure(bench: &Bench<'_>, table: &mut Table) {
    let what = "slow readers";
    // With sizes that the kernel chooses, the sockets of this many take more than it has for all (tcp_mem).
    let config = format!(
        "access_log: {{ output: none }}
endpoints:
  - name: edge
    listen: \"@EDGE@\"
    tcp: {{ send_buffer: 64KiB }}
    tls: {{ certificates: [{{ cert: \"@CERTS@/bench.test.pem\", key: \"@CERTS@/bench.test.key\" }}] }}
    routes: [{{ name: r, match: {{ sni: bench.test }}, mode: terminate, upstream: origin }}]
upstreams: {{ origin: {{ origins: [\"{}\"], tcp: {{ receive_buffer: 64KiB }} }} }}
",
        origin::start_small()
    );
    let subject = Subject::start(bench.scratch, "readers", &config, &Start::default());
    let clients = Clients::new(subject.address, bench.scratch);
    let speed = || {
        let began = Instant::now();
        clients.down(STREAM);
        STREAM as f64 / f64::from(1 << 20) / began.elapsed().as_secs_f64()
    };
    speed();
    let alone = speed().max(speed());
    let memory = subject.memory();
    let count = bench.count(READERS);
    let mut crowd = Crowd::start(Kind::Readers, subject.address, count, bench.scratch);
    crowd.line();
    // All is full when nothing moves any more, but for a byte a second of each.
    let mut used = subject.cpu();
    for _ in 0..60 {
        std::thread::sleep(Duration::from_millis(500));
        let now = subject.cpu();
        if now - used < Duration::from_millis(20) {
            break;
        }
        used = now;
    }
    table.at_most(
        what,
        "bytes each",
        (subject.memory() - memory) / count as f64,
        BYTES_MAX,
    );
    let beside = speed().max(speed());
    table.figure(what, "one fast connection alone, MiB/s", alone);
    table.at_least(what, "the same beside them, MiB/s", beside, 0.7 * alone);
    let live = subject.metric("reseal_connections_live", &[]);
    table.exactly(what, "readers still served", live, count as f64);
    crowd.end();
    subject.comes_to_rest(Duration::from_secs(30));
    table.exactly(
        what,
        "limits still in use",
        subject.in_use().len() as f64,
        0.0,
    );
}
