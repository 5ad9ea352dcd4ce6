//! Idle connections: the memory of each, and the CPU that all cost.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use super::Bench;
use crate::load::{CLIENTS, Clients};
use crate::machine::{cpu, memory, settle};
use crate::peers::{Mode, Setting};
use crate::report::Results;

/// A connection has two descriptors in the proxy and two in this process, and a process has a limit, often of
/// 20 000. HAProxy keeps some of them for pipes.
const SIZES: [usize; 3] = [1000, 4000, 7500];
/// How long the CPU is measured.
const WATCHED: Duration = Duration::from_secs(5);

pub(super) fn measure(bench: &Bench<'_>, results: &mut Results) {
    for mode in Mode::ALL {
        for peer in &bench.peers {
            let setting = Setting::default();
            let Some(running) = peer.start(mode, bench.origins, bench.scratch, &setting) else {
                continue;
            };
            let clients = Clients::new(running.address, bench.scratch);
            clients.exchange();
            let at_rest = memory(running.pid());
            let established = Mutex::new(Vec::new());
            for size in SIZES {
                let missing = size - established.lock().expect("a list").len();
                let each = missing / CLIENTS as usize;
                clients.at_once(|| {
                    for _ in 0..each {
                        let client = clients.established();
                        established.lock().expect("a list").push(client);
                    }
                });
                settle(running.pid());
                let count = established.lock().expect("a list").len();
                let each = (memory(running.pid()) - at_rest) / count as f64;
                let case = format!("{}, {size}", mode.word());
                results.add("idle connection, KiB", &case, peer.name, each);
                let before = cpu(running.pid());
                thread::sleep(WATCHED);
                let spent = (cpu(running.pid()) - before) * 1e3 / WATCHED.as_secs_f64();
                results.add(
                    "idle connections, ms of CPU a second",
                    &case,
                    peer.name,
                    spent,
                );
            }
        }
    }
}
