//! A process that runs out of descriptors.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::Bench;
use super::crowd::{Crowd, Kind};
use super::subject::{Start, Subject};
use super::table::Table;

const ESTABLISHED: usize = 50;
/// Fewer than the queue of the origin, which would lose others for a second.
const WAITING: usize = 100;
const TIME: Duration = Duration::from_secs(5);

pub(super) fn measure(bench: &Bench<'_>, table: &mut Table) {
    let what = "no descriptors";
    let config = format!(
        "access_log: {{ output: none }}
endpoints:
  - {{ name: edge, listen: \"@EDGE@\", protocol: tcp, routes: [{{ name: r, mode: forward, upstream: origin }}] }}
upstreams: {{ origin: {{ origins: [\"{}\"] }} }}
",
        bench.origins.plain
    );
    let subject = Subject::start(bench.scratch, "descriptors", &config, &Start::default());
    let mut established: Vec<_> = (0..ESTABLISHED).map(|_| connect(&subject)).collect();
    let mut echo = || {
        established
            .iter_mut()
            .map(echoes)
            .filter(|echoes| !echoes)
            .count()
    };
    assert_eq!(echo(), 0, "all are established");
    subject.status();
    starve(&subject, None);
    let mut crowd = Crowd::start(
        Kind::Silent,
        subject.address,
        bench.count(WAITING),
        bench.scratch,
    );
    crowd.line();
    thread::sleep(Duration::from_secs(1));
    let (cpu, began) = (subject.cpu(), Instant::now());
    let mut admin = Duration::ZERO;
    while began.elapsed() < TIME {
        let asked = Instant::now();
        let answer = subject
            .get("/readyz")
            .map_or(Duration::MAX, |_| asked.elapsed());
        admin = admin.max(answer);
        thread::sleep(Duration::from_millis(100));
    }
    let used = (subject.cpu() - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    table.at_most(
        what,
        "percent of a core while clients wait",
        used * 100.0,
        5.0,
    );
    let admin = admin.as_secs_f64() * 1e3;
    table.at_most(
        what,
        "longest answer of the admin socket, ms",
        admin,
        1000.0,
    );
    table.exactly(
        what,
        "established connections that are gone",
        echo() as f64,
        0.0,
    );
    drop(crowd);
    let raised = Instant::now();
    starve(&subject, Some(20_000));
    let recovered = echoes(&mut connect(&subject));
    let recovery = if recovered {
        raised.elapsed()
    } else {
        Duration::MAX
    };
    table.at_most(what, "recovery, s", recovery.as_secs_f64(), 1.0);
    table.exactly(
        what,
        "established connections that are gone",
        echo() as f64,
        0.0,
    );
    drop(established);
    subject.comes_to_rest(Duration::from_secs(10));
    table.exactly(
        what,
        "limits still in use",
        subject.in_use().len() as f64,
        0.0,
    );
}

/// Sets the soft limit of descriptors to this number; without one, so that there is no descriptor left.
fn starve(subject: &Subject, limit: Option<u64>) {
    let used = fs::read_dir(format!("/proc/{}/fd", subject.pid()));
    let names = used.into_iter().flatten().flatten();
    let used: BTreeSet<u64> = names
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    // The limit applies to descriptor numbers, which may have gaps.
    let limit = limit.or_else(|| (0..).find(|number| !used.contains(number)));
    let limit = format!("--nofile={}:", limit.unwrap_or_default());
    let pid = subject.pid().to_string();
    let set = Command::new("prlimit")
        .args(["--pid", &pid, &limit])
        .status();
    assert!(set.is_ok_and(|status| status.success()), "prlimit");
}

fn connect(subject: &Subject) -> TcpStream {
    let mut client = TcpStream::connect(subject.address).expect("the kernel accepts");
    let timeout = Some(Duration::from_secs(10));
    client.set_read_timeout(timeout).expect("a timeout");
    client.write_all(b"E").expect("a command");
    client
}

fn echoes(client: &mut TcpStream) -> bool {
    client.write_all(b"x").is_ok() && client.read_exact(&mut [0]).is_ok()
}
