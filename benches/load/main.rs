//! Compares the CPU time of Reseal and other proxies on this machine for the same work.
//!
//! The proxies take turns in several rounds, so that a drift of the machine affects all alike: new
//! connections, a stream each way, ping-pong, and the memory of idle connections. Prints a table and draws
//! a plot. Before that, it measures the CPU of renewing one certificate of very many; with the argument
//! `renewal`, only that. See scripts/bench.sh.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a benchmark may stop at the first surprise

mod floor;
mod load;
mod machine;
mod origin;
mod peers;
mod renewal;
mod report;

use std::path::Path;
use std::process::Command;

use load::Work;
use machine::Scratch;
use peers::{Mode, Peer};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let [_, floor, listen, to, certs @ ..] = &words[..]
        && floor == "floor"
    {
        let address = |text: &str| text.parse().expect("an address");
        let certs = certs.first().map(Path::new);
        return floor::carry(address(listen), address(to), certs);
    }
    let rounds = number("ROUNDS", 3);
    let scratch = Scratch::new();
    let certificates = number("CERTIFICATES", 2000);
    renewal::print(
        usize::try_from(certificates).expect("a count"),
        scratch.path(),
    );
    if words.iter().any(|word| word == "renewal") {
        return;
    }
    let made = Command::new(env!("CARGO_BIN_EXE_reseal"))
        .args(["certs", "--out"])
        .arg(scratch.path())
        .arg(origin::NAME)
        .output()
        .expect("reseal makes certificates");
    assert!(made.status.success(), "{made:?}");
    let origins = origin::start(scratch.path());
    let peers = Peer::found();
    let works = Work::all(
        number("SIZE_MIB", 1024),
        number("CONNECTIONS", 3000),
        number("IDLE", 2000),
    );
    let mut results = report::Results::default();
    for mode in Mode::ALL {
        for round in 1..=rounds {
            for peer in &peers {
                let Some(running) = peer.start(mode, &origins, scratch.path()) else {
                    continue;
                };
                for work in &works {
                    let figure = work.measure(&running, scratch.path());
                    println!(
                        "{:12} round {round} {:9} {:16} {figure:.2}",
                        mode.word(),
                        peer.name,
                        work.name()
                    );
                    results.add(mode, work.name(), peer.name, figure);
                }
            }
        }
    }
    println!("\n{}", results.table());
    let plot = scratch.plot();
    std::fs::write(&plot, results.svg()).expect("the plot is written");
    println!("plot: {}", plot.display());
}
