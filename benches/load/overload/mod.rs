//! The proxy on its worst day: floods, stalled and slow clients, too few descriptors, panics, chaos, hostile
//! names and a log that nobody reads. Prints a table of promises and fails where one is broken.

mod admin;
mod chaos;
pub(crate) mod crowd;
mod descriptors;
mod handshakes;
mod latency;
mod log;
mod names;
mod panics;
mod readers;
mod refusals;
mod subject;
mod table;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use self::table::Table;
use crate::origin::Origins;

/// What every part needs.
struct Bench<'a> {
    scratch: &'a Path,
    origins: &'a Origins,
    /// Multiplies every number: 1 for the full size.
    size: f64,
}

impl Bench<'_> {
    fn count(&self, full: usize) -> usize {
        ((full as f64 * self.size) as usize).max(1)
    }
}

type Part = fn(&Bench<'_>, &mut Table);

const PARTS: [(&str, Part); 9] = [
    ("refusals", refusals::measure),
    ("stalled", handshakes::stalled),
    ("flood", handshakes::flood),
    ("readers", readers::measure),
    ("descriptors", descriptors::measure),
    ("panics", panics::measure),
    ("chaos", chaos::measure),
    ("names", names::measure),
    ("log", log::measure),
];

/// Runs the parts that `words` name, or all: those of the admin listener, or the others.
pub(crate) fn measure(words: &[String], origins: &Origins, scratch: &Path) -> ExitCode {
    let size = std::env::var("SIZE").map_or(1.0, |text| text.parse().expect("a number"));
    let bench = Bench {
        scratch,
        origins,
        size,
    };
    let is_named = |name: &str| words.iter().any(|word| word == name);
    let parts = match is_named("admin") {
        true => &admin::PARTS[..],
        false => &PARTS,
    };
    let is_any = parts.iter().any(|(name, _)| is_named(name));
    let mut table = Table::default();
    for (name, part) in parts.iter().copied() {
        if !is_any || is_named(name) {
            let began = Instant::now();
            part(&bench, &mut table);
            println!("{name}: {:.0} s", began.elapsed().as_secs_f64());
        }
    }
    println!("\n{}", table.text());
    match table.holds() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
