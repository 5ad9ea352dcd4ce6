//! Panics in the relay, which a build with debug assertions can be asked for.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::Bench;
use super::subject::{Start, Subject};
use super::table::Table;

const PANICS: usize = 10_000;
const CLIENTS: usize = 4;
/// A direction panics once it has moved this many bytes.
const AFTER: usize = 100;

pub(super) fn measure(bench: &Bench<'_>, table: &mut Table) {
    let what = "panics";
    let Ok(program) = std::env::var("RESEAL_WITH_PANICS") else {
        println!("{what}: RESEAL_WITH_PANICS is no build with debug assertions; left out");
        return;
    };
    let config = format!(
        "access_log: {{ output: none }}
log: {{ output: none }}
endpoints:
  - name: edge
    listen: \"@EDGE@\"
    protocol: tcp
    limits: {{ connections: 1000, per_source: 1000, new: 100000/s, new_per_source: 100000/s }}
    routes: [{{ name: r, mode: forward, upstream: origin, limits: {{ connections: 500 }} }}]
upstreams: {{ origin: {{ origins: [{{ address: \"{}\", connections: 500 }}] }} }}
",
        bench.origins.plain
    );
    let after = AFTER.to_string();
    let start = Start {
        program: Path::new(&program),
        variables: &[("RESEAL_TEST_PANIC_AFTER", &after)],
        ..Start::default()
    };
    let mut subject = Subject::start(bench.scratch, what, &config, &start);
    let mut other = TcpStream::connect(subject.address).expect("the proxy accepts");
    let timeout = Some(Duration::from_secs(20));
    other.set_read_timeout(timeout).expect("a timeout");
    let mut echoes = |bytes: &[u8]| {
        let mut back = vec![0; 1];
        other.write_all(bytes).is_ok() && other.read_exact(&mut back).is_ok()
    };
    assert!(echoes(b"Ex"), "it is established");
    let count = bench.count(PANICS);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| (0..count / CLIENTS).for_each(|_| panic_once(&subject)));
        }
    });
    let count = (count / CLIENTS * CLIENTS) as f64;
    super::subject::becomes_true(Duration::from_secs(10), || {
        subject.metric("reseal_connections_live", &[]) == 1.0
    });
    let panicked = subject.metric("reseal_outcomes_total", &["reason=\"internal_panic\""]);
    table.exactly(what, "connections that ended by a panic", panicked, count);
    table.exactly(
        what,
        "connections of others that ended",
        f64::from(!echoes(b"x")),
        0.0,
    );
    drop(other);
    subject.comes_to_rest(Duration::from_secs(10));
    table.exactly(
        what,
        "limits still in use",
        subject.in_use().len() as f64,
        0.0,
    );
    table.exactly(
        what,
        "processes that ended",
        f64::from(!subject.is_running()),
        0.0,
    );
}

fn panic_once(subject: &Subject) {
    let mut client = TcpStream::connect(subject.address).expect("the proxy accepts");
    let mut bytes = vec![b'x'; 2 * AFTER];
    bytes[0] = b'E';
    let _ = client.write_all(&bytes);
    let mut back = Vec::new();
    let _ = client.read_to_end(&mut back);
}
