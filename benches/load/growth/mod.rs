//! How the cost grows: with routes and certificates, origins of a pool, idle connections, workers, and with
//! an access log.

mod access_log;
mod idle;
mod pools;
mod routes;
mod routes_configs;
mod workers;

use std::path::Path;

use crate::origin::Origins;
use crate::peers::Peer;
use crate::report::Results;

/// What the parts measure with.
pub(crate) struct Bench<'a> {
    pub(crate) peers: Vec<Peer>,
    pub(crate) origins: &'a Origins,
    pub(crate) scratch: &'a Path,
}

type Part = fn(&Bench<'_>, &mut Results);

const PARTS: [(&str, Part); 5] = [
    ("routes", routes::measure),
    ("pools", pools::measure),
    ("idle", idle::measure),
    ("workers", workers::measure),
    ("log", access_log::measure),
];

/// Measures the parts that `words` name; all, if they name none.
pub(crate) fn measure(bench: &Bench<'_>, words: &[String], results: &mut Results) {
    let named = |part: &str| words.iter().any(|word| word == part);
    let all = !PARTS.iter().any(|(name, _)| named(name));
    for (name, part) in PARTS {
        if all || named(name) {
            part(bench, results);
        }
    }
}
