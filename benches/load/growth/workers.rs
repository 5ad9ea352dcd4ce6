//! Workers: what the same work costs with more of them than cores.

use std::time::Duration;

use super::Bench;
use crate::load::Work;
use crate::machine::memory;
use crate::peers::{Mode, Setting};
use crate::report::Results;

pub(super) fn measure(bench: &Bench<'_>, results: &mut Results) {
    let works = [
        Work::Connections(3000),
        Work::Down(1024),
        Work::PingPong(Duration::from_secs(3)),
    ];
    for workers in [1, 2, 4, 8] {
        for peer in &bench.peers {
            let setting = Setting {
                workers: Some(workers),
                ..Setting::default()
            };
            let mode = Mode::Terminate;
            let Some(running) = peer.start(mode, bench.origins, bench.scratch, &setting) else {
                continue;
            };
            let case = format!("{workers} workers, terminate");
            for work in &works {
                let figure = work.measure(&running, bench.scratch);
                results.add(work.name(), &case, peer.name, figure);
            }
            let after = memory(running.pid()) / 1024.0;
            results.add("memory after that, MiB", &case, peer.name, after);
        }
    }
}
