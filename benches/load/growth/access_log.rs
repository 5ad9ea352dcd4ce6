//! An access log to a file, beside none: a record for each of very many short connections.

use super::Bench;
use crate::load::Work;
use crate::peers::{Mode, Setting};
use crate::report::{Results, median};

/// How often the two take turns: single turns differ by more than the log costs.
const TURNS: usize = 9;
const CONNECTIONS: u64 = 1600;

pub(super) fn measure(bench: &Bench<'_>, results: &mut Results) {
    for mode in [Mode::Passthrough, Mode::Terminate] {
        for peer in &bench.peers {
            let logged = Setting {
                log: Some(bench.scratch.join("access.log")),
                ..Setting::default()
            };
            let start = |setting| peer.start(mode, bench.origins, bench.scratch, setting);
            // Both live, so that a drift of the machine affects both.
            let (Some(without), Some(with)) = (start(&Setting::default()), start(&logged)) else {
                continue;
            };
            let connections = Work::Connections(CONNECTIONS);
            let mut ratios = Vec::new();
            for turn in 0..TURNS {
                let measure = |running| connections.measure(running, bench.scratch);
                // Each is first in half of the turns.
                let (a, b) = if turn % 2 == 0 {
                    (measure(&without), measure(&with))
                } else {
                    let b = measure(&with);
                    (measure(&without), b)
                };
                ratios.push(b / a);
                let word = mode.word();
                results.add("connection, us", &format!("{word}, no log"), peer.name, a);
                results.add(
                    "connection, us",
                    &format!("{word}, log to a file"),
                    peer.name,
                    b,
                );
            }
            let what = "cost with the log by cost without";
            results.add(what, mode.word(), peer.name, median(&ratios));
        }
    }
}
