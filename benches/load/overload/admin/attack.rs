//! The admin listener attacked, and a relay beside it.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::Bench;
use super::super::crowd::{Crowd, Kind};
use super::super::latency;
use super::super::subject::{Start, Subject, program};
use super::super::table::{Table, quantile};
use super::{config, token_file};
use crate::load::Clients;
use crate::machine::Cores;
use crate::peers::free_address;

/// Clients that connect again whenever they are dropped.
const CONNECTIONS: usize = 10_000;
/// Handshakes under way.
const HANDSHAKES: usize = 64;
const TIME: Duration = Duration::from_secs(10);
/// Between two requests of the operator.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) fn measure(bench: &Bench<'_>, table: &mut Table) {
    // On a core of its own: what is measured is how the proxy shares its time, not how the kernel does.
    let _cores = Cores::apart();
    let token = token_file(bench);
    let admin = free_address();
    let keys = format!(
        "token_file: \"{}\", tls: {{ cert: \"@CERTS@/bench.test.pem\", key: \"@CERTS@/bench.test.key\" }}",
        token.display()
    );
    let start = Start {
        is_apart: true,
        listener: Some((admin, &keys)),
        ..Start::default()
    };
    let subject = Subject::start(bench.scratch, "attack", &config(bench), &start);
    let clients = Clients::new(subject.address, bench.scratch);
    let idle = Beside::of(&subject, &clients, &admin);
    table.figure("no attack", "p99 of ping-pong, ms", idle.relay);
    table.figure("no attack", "median of `ctl status`, ms", idle.status);
    let count = bench.count(CONNECTIONS);
    for (what, kind, count) in [
        ("10 000 slow clients", Kind::Knocking, count),
        ("a flood of handshakes", Kind::Flood, HANDSHAKES),
    ] {
        let mut crowd = Crowd::start(kind, admin, count, bench.scratch);
        crowd.line();
        thread::sleep(Duration::from_secs(1));
        let (cpu, began) = (subject.cpu(), Instant::now());
        let beside = Beside::of(&subject, &clients, &admin);
        let used = (subject.cpu() - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
        let attacks: f64 = crowd.end().parse().unwrap_or(0.0);
        match kind {
            Kind::Flood => table.figure(what, "answered a second", attacks),
            _ => table.figure(what, "dropped and back", attacks),
        }
        table.figure(what, "cores that the proxy takes", used);
        table.at_most(what, "p99 of ping-pong, ms", beside.relay, 2.0 * idle.relay);
        table.exactly(what, "good clients that failed", beside.failed, 0.0);
        table.figure(what, "median of `ctl status`, ms", beside.status);
        table.figure(what, "longest `ctl status`, ms", beside.longest);
        table.figure(what, "`ctl status` that failed, percent", beside.refused);
    }
}

/// What good clients and an operator see.
struct Beside {
    relay: f64,
    failed: f64,
    status: f64,
    longest: f64,
    refused: f64,
}

impl Beside {
    fn of(subject: &Subject, clients: &Clients, admin: &SocketAddr) -> Self {
        let ended = AtomicBool::new(false);
        let (latencies, (mut times, refused)) = thread::scope(|scope| {
            let operator = scope.spawn(|| operate(subject, admin, &ended));
            let latencies = latency::measure(subject, clients, TIME);
            ended.store(true, Ordering::Relaxed);
            (latencies, operator.join().expect("the operator"))
        });
        let all = (times.len() + refused).max(1);
        Self {
            relay: latencies.relay,
            failed: latencies.failed as f64,
            status: quantile(&mut times, 0.5),
            longest: quantile(&mut times, 1.0),
            refused: refused as f64 / all as f64 * 100.0,
        }
    }
}

/// The times of `ctl status`, and how often it failed.
fn operate(subject: &Subject, admin: &SocketAddr, ended: &AtomicBool) -> (Vec<Duration>, usize) {
    let place = format!("https://{admin}");
    let (mut times, mut refused) = (Vec::new(), 0);
    while !ended.load(Ordering::Relaxed) {
        let directory = subject.config().parent().and_then(|dir| dir.parent());
        let file = |name: &str| directory.map(|dir| dir.join(name)).unwrap_or_default();
        let began = Instant::now();
        let status = Command::new(program())
            .args(["ctl", "status", "--admin", &place, "--token-file"])
            .arg(file("token"))
            .arg("--ca")
            .arg(file("ca.pem"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match status.is_ok_and(|status| status.success()) {
            true => times.push(began.elapsed()),
            false => refused += 1,
        }
        thread::sleep(PAUSE);
    }
    (times, refused)
}
