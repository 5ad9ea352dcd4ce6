//! Compares the CPU time of Reseal and other proxies on this machine for the same work.
//!
//! The proxies take turns in several rounds, so that a drift of the machine affects all alike: new
//! connections, a stream each way, ping-pong, and the memory of idle connections. Prints a table and draws
//! a plot. With the argument `renewal`, it measures the CPU of renewing one certificate of very many, with
//! `growth`, how costs grow, with `mixture`, latencies beside other work. See scripts/bench.sh. With
//! `overload`, it overloads Reseal and fails where a promise is broken; see scripts/overload.sh. With `admin`, it does so
//! with the admin listener and the dashboard; see scripts/admin.sh.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a benchmark may stop at the first surprise

mod configs;
mod floor;
mod growth;
mod load;
mod machine;
mod mixture;
mod origin;
mod overload;
mod peers;
mod renewal;
mod report;

use std::path::Path;
use std::process::{Command, ExitCode};

use load::Work;
use machine::Scratch;
use origin::Origins;
use peers::{Mode, Peer, Setting};
use report::Results;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, floor, listen, to, certs @ ..] = &words[..]
        && floor == "floor"
    {
        let address = |text: &str| text.parse().expect("an address");
        let certs = certs.first().map(Path::new);
        floor::carry(address(listen), address(to), certs);
        return ExitCode::SUCCESS;
    }
    if let [_, crowd, words @ ..] = &words[..]
        && crowd == "crowd"
    {
        overload::crowd::run(words);
        return ExitCode::SUCCESS;
    }
    let scratch = Scratch::new();
    let asked = |name: &str| words.iter().any(|word| word == name);
    if asked("renewal") {
        let certificates = number("CERTIFICATES", 2000);
        let certificates = usize::try_from(certificates).expect("a count");
        renewal::print(certificates, scratch.path());
        return ExitCode::SUCCESS;
    }
    let made = Command::new(env!("CARGO_BIN_EXE_reseal"))
        .args(["certs", "--out"])
        .arg(scratch.path())
        .arg(origin::NAME)
        .output()
        .expect("reseal makes certificates");
    assert!(made.status.success(), "{made:?}");
    let origins = origin::start(scratch.path());
    if asked("overload") || asked("admin") {
        return overload::measure(&words, &origins, scratch.path());
    }
    let rounds = number("ROUNDS", 3);
    let mut results = Results::default();
    if asked("growth") {
        let bench = growth::Bench {
            peers: Peer::proxies(),
            origins: &origins,
            scratch: scratch.path(),
        };
        growth::measure(&bench, &words, &mut results);
    } else if asked("mixture") {
        mixture::measure(rounds, &origins, scratch.path(), &mut results);
    } else {
        compare(rounds, &origins, scratch.path(), &mut results);
    }
    println!("\n{}", results.table());
    let plot = scratch.plot();
    std::fs::write(&plot, results.svg()).expect("the plot is written");
    println!("plot: {}", plot.display());
    ExitCode::SUCCESS
}

/// The same work in every mode through every proxy.
fn compare(rounds: u64, origins: &Origins, scratch: &Path, results: &mut Results) {
    let works = Work::all(
        number("SIZE_MIB", 1024),
        number("CONNECTIONS", 3000),
        number("IDLE", 2000),
    );
    for mode in Mode::ALL {
        for _ in 0..rounds {
            for peer in &Peer::found() {
                let setting = Setting::default();
                let Some(running) = peer.start(mode, origins, scratch, &setting) else {
                    continue;
                };
                for work in &works {
                    let figure = work.measure(&running, scratch);
                    results.add(work.name(), mode.word(), peer.name, figure);
                }
            }
        }
    }
}
