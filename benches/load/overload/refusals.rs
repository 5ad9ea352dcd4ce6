//! Refused connections from random sources, and an attacker among them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Bench;
use super::subject::{Start, Subject};
use super::table::Table;

const CONNECTIONS: usize = 100_000;
const SOURCES: u64 = 1_000_000;
const CLIENTS: usize = 4;

/// The sources without a connection that are known at most (docs/limits.md).
const TRACKED_MAX: f64 = 56_000.0;
/// What they take at most, and what the connections of the moment do.
const MEMORY_MAX: f64 = (6 + 4) as f64;

/// Above the noise of the attacker's own tries.
const BURST: f64 = 3.0;

pub(super) fn measure(bench: &Bench<'_>, table: &mut Table) {
    let what = "refusals";
    let config = format!(
        "access_log: {{ output: none }}
endpoints:
  - name: edge
    listen: \"@EDGE@\"
    protocol: tcp
    accept_proxy_protocol: {{ from: [127.0.0.0/8] }}
    limits: {{ per_source: 5, new_per_source: 3/m, new: 50/s }}
    routes: [{{ name: r, mode: forward, upstream: origin }}]
upstreams: {{ origin: {{ origins: [\"{}\"] }} }}
",
        bench.origins.plain
    );
    let subject = Subject::start(bench.scratch, what, &config, &Start::default());
    let attacker = Ipv4Addr::new(192, 0, 2, 66);
    for _ in 0..50 {
        is_admitted(&subject, attacker);
    }
    let by_source = |subject: &Subject| {
        let labels = ["limit=\"new_per_source\"", "dry_run=\"false\""];
        subject.metric("reseal_admission_refused_total", &labels)
    };
    let (refused_before, memory, cpu) = (by_source(&subject), subject.memory(), subject.cpu());
    let count = bench.count(CONNECTIONS);
    let (refused, tries) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (done, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let began = Instant::now();
    let admin = thread::scope(|scope| {
        let admin = subject.watch(scope, &is_over);
        scope.spawn(|| {
            while done.load(Ordering::Relaxed) < CLIENTS {
                is_admitted(&subject, attacker);
                tries.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
            is_over.store(true, Ordering::Relaxed);
        });
        for seed in 0..CLIENTS {
            let (refused, done, subject) = (&refused, &done, &subject);
            scope.spawn(move || {
                let mut random = Random::new(seed as u64);
                while refused.load(Ordering::Relaxed) < count {
                    let source = u32::try_from(random.next() % SOURCES).unwrap_or_default();
                    let source = Ipv4Addr::from_bits((10 << 24) + source);
                    let was = usize::from(!is_admitted(subject, source));
                    refused.fetch_add(was, Ordering::Relaxed);
                }
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        admin.join().expect("the watch")
    });
    let time = began.elapsed();
    let all = count + tries.load(Ordering::Relaxed);
    let each = (subject.cpu() - cpu).as_secs_f64() * 1e6 / all as f64;
    let grown = (subject.memory() - memory) / f64::from(1 << 20);
    let tracked = subject.metric("reseal_sources_tracked", &[]);
    table.figure(
        what,
        "refused connections a second",
        count as f64 / time.as_secs_f64(),
    );
    table.at_most(what, "CPU each, us", each, 150.0);
    table.at_most(what, "sources that are known", tracked, TRACKED_MAX);
    table.at_most(what, "memory of them, MiB", grown, MEMORY_MAX);
    let limited = by_source(&subject) - refused_before;
    let admitted = tries.load(Ordering::Relaxed) as f64 - limited;
    let earned = time.as_secs_f64() * BURST / 60.0 + 1.0;
    let promise = "connections that a limited attacker gets in the flood";
    table.at_most(what, promise, admitted.max(0.0), earned);
    table.at_most(
        what,
        "longest answer of the admin socket, ms",
        admin.as_secs_f64() * 1e3,
        1000.0,
    );
    subject.comes_to_rest(Duration::from_secs(10));
    table.exactly(
        what,
        "limits still in use",
        subject.in_use().len() as f64,
        0.0,
    );
}

/// Whether the client of this address is served.
fn is_admitted(subject: &Subject, source: Ipv4Addr) -> bool {
    let mut socket = TcpStream::connect(subject.address).expect("the proxy accepts");
    let header = format!("PROXY TCP4 {source} 127.0.0.1 1000 443\r\nEx");
    let sent = socket.write_all(header.as_bytes());
    sent.is_ok() && socket.read(&mut [0]).is_ok_and(|len| len > 0)
}

/// Numbers that are the same in each run.
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}
