//! What an open dashboard costs beside as many live connections as a process may have.

use std::fs;
use std::io::{BufRead, BufReader};
use std::thread;
use std::time::{Duration, Instant};

use super::super::Bench;
use super::super::crowd::{Crowd, Kind};
use super::super::subject::{Start, Subject, becomes_true};
use super::super::table::Table;
use super::{config, page};
use crate::machine;

/// Reseal takes two descriptors for each: fewer are measured where the limit on open files does not allow these.
const LIVE: usize = 15_000;
/// How many stay free for other clients.
const SPARE: usize = 50;
const TIME: Duration = Duration::from_secs(20);
/// What one refresh may cost, in milliseconds.
const REFRESH_MAX: f64 = 50.0;

pub(super) fn measure(bench: &Bench<'_>, table: &mut Table) {
    let subject = Subject::start(bench.scratch, "live", &config(bench), &Start::default());
    let most = most_connections(&subject).saturating_sub(SPARE);
    let count = bench.count(LIVE).min(most);
    // How the cost grows shows what it is for others.
    for (count, has_page) in [(count / 4, false), (count, true)] {
        let mut crowd = Crowd::start(Kind::Seated, subject.address, count, bench.scratch);
        crowd.line();
        refreshes(count as f64, &subject, table);
        if has_page {
            page::measure(&subject, table);
        }
        drop(crowd);
        subject.comes_to_rest(Duration::from_secs(60));
    }
}

/// How many connections the process may have, by its descriptors.
fn most_connections(subject: &Subject) -> usize {
    let status = subject.status();
    let limits = status["limits"].as_array().cloned().unwrap_or_default();
    let limit = limits.iter().find(|limit| limit["limit"] == "connections");
    let most = limit.and_then(|limit| limit["max"].as_u64());
    usize::try_from(most.expect("the limit on connections")).expect("a count")
}

/// What the events of a page cost beside so many connections.
fn refreshes(count: f64, subject: &Subject, table: &mut Table) {
    let what = "an open dashboard";
    let live = || subject.metric("reseal_connections_live", &[]);
    becomes_true(Duration::from_secs(20), || live() >= count);
    table.figure(what, "live connections", live());
    let ((), idle) = Spent::by(subject, || thread::sleep(TIME));
    let (events, open) = Spent::by(subject, || Events::of(subject));
    let each = |open: f64, idle: f64| (open - idle) * 1e3 / events.refreshes.max(1.0);
    table.at_most(
        what,
        "CPU of a refresh, ms",
        each(open.all, idle.all),
        REFRESH_MAX,
    );
    let on_workers = each(open.workers, idle.workers);
    table.figure(what, "of that on workers, ms", on_workers);
    table.figure(
        what,
        "KiB a refresh",
        events.bytes / events.refreshes.max(1.0) / 1024.0,
    );
}

/// What a page was sent.
struct Events {
    refreshes: f64,
    bytes: f64,
}

impl Events {
    fn of(subject: &Subject) -> Self {
        let mut stream = BufReader::new(subject.events());
        let mut of = Self {
            refreshes: 0.0,
            bytes: 0.0,
        };
        let end = Instant::now() + TIME;
        let mut line = String::new();
        while Instant::now() < end {
            line.clear();
            let read = stream.read_line(&mut line).expect("events");
            assert!(read > 0, "the stream has ended");
            of.bytes += read as f64;
            // Its counters have the time, so that it changes each time.
            of.refreshes += f64::from(line.trim() == "event: stats");
        }
        of
    }
}

/// CPU of the process over some time, in seconds.
struct Spent {
    all: f64,
    workers: f64,
}

impl Spent {
    fn by<T>(subject: &Subject, work: impl FnOnce() -> T) -> (T, Self) {
        // In steps of 10 ms; but a sum over threads would miss those that end meanwhile.
        let all = machine::cpu(subject.pid());
        let workers = of_workers(subject);
        let done = work();
        let spent = Self {
            all: machine::cpu(subject.pid()) - all,
            workers: of_workers(subject) - workers,
        };
        (done, spent)
    }
}

/// The CPU of the workers so far, in seconds.
fn of_workers(subject: &Subject) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", subject.pid()));
    let tasks = tasks.into_iter().flatten().flatten();
    let spent = tasks.filter_map(|task| {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).ok();
        read("comm")?.starts_with("worker").then_some(())?;
        read("schedstat")?
            .split_whitespace()
            .next()?
            .parse::<f64>()
            .ok()
    });
    spent.sum::<f64>() / 1e9
}
