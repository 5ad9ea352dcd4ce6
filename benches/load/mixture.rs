//! How long one byte there and back takes beside other work of the same proxy.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::load::{CLIENTS, Clients};
use crate::origin::Origins;
use crate::peers::{Mode, Peer, Running, Setting, free_address};
use crate::report::Results;

const MODE: Mode = Mode::Terminate;
/// How many clients play ping-pong.
const PLAYERS: usize = 2;
const STREAMS: usize = 4;
const TIME: Duration = Duration::from_secs(5);
/// The other work is under way before anything is measured.
const LEAD: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, PartialEq)]
enum Beside {
    Nothing,
    Streams,
    Handshakes,
    Reloads,
    Scrapes,
}

impl Beside {
    const ALL: [Self; 5] = [
        Self::Nothing,
        Self::Streams,
        Self::Handshakes,
        Self::Reloads,
        Self::Scrapes,
    ];

    const fn words(self) -> &'static str {
        match self {
            Self::Nothing => "beside nothing",
            Self::Streams => "beside 4 bulk streams",
            Self::Handshakes => "beside a handshake flood",
            Self::Reloads => "beside a reload each second",
            Self::Scrapes => "beside a scrape each second",
        }
    }
}

/// A proxy under measurement, and what the other work needs.
struct Run<'a> {
    peer: &'a Peer,
    running: &'a Running,
    clients: &'a Clients,
    metrics: SocketAddr,
    beside: Beside,
    ended: AtomicBool,
    /// MiB of the streams, or handshakes.
    done: AtomicU64,
}

pub(crate) fn measure(rounds: u64, origins: &Origins, dir: &Path, results: &mut Results) {
    for round in 1..=rounds {
        for beside in Beside::ALL {
            for peer in &Peer::proxies() {
                let metrics = free_address();
                let setting = Setting {
                    metrics: Some(metrics),
                    reloads: true,
                    ..Setting::default()
                };
                let Some(running) = peer.start(MODE, origins, dir, &setting) else {
                    continue;
                };
                let clients = Clients::new(running.address, dir);
                clients.exchange();
                let run = Run {
                    peer,
                    running: &running,
                    clients: &clients,
                    metrics,
                    beside,
                    ended: AtomicBool::new(false),
                    done: AtomicU64::new(0),
                };
                let mut latencies = run.latencies();
                latencies.sort();
                for (what, part) in [("p50, us", 0.5), ("p99, us", 0.99), ("p99.9, us", 0.999)] {
                    let at = (latencies.len() as f64 * part) as usize;
                    let figure = latencies[at].as_secs_f64() * 1e6;
                    results.add(what, beside.words(), peer.name, figure);
                }
                let done = run.done.load(Ordering::Relaxed) as f64 / (TIME + LEAD).as_secs_f64();
                println!(
                    "round {round}: {} exchanges; beside them {done:.0} {} a second",
                    latencies.len(),
                    if beside == Beside::Streams {
                        "MiB"
                    } else {
                        "events"
                    }
                );
            }
        }
    }
}

impl Run<'_> {
    fn latencies(&self) -> Vec<Duration> {
        let all = Mutex::new(Vec::new());
        thread::scope(|scope| {
            self.begin(scope);
            thread::sleep(LEAD);
            let players: Vec<_> = (0..PLAYERS)
                .map(|_| scope.spawn(|| all.lock().expect("a list").extend(self.play())))
                .collect();
            for player in players {
                player.join().expect("a player");
            }
            self.ended.store(true, Ordering::Relaxed);
        });
        all.into_inner().expect("a list")
    }

    fn play(&self) -> Vec<Duration> {
        let mut client = self.clients.established();
        let mut latencies = Vec::new();
        let end = Instant::now() + TIME;
        loop {
            let began = Instant::now();
            if began > end {
                return latencies;
            }
            client.write_all(b"x").expect("a byte there");
            client.read_exact(&mut [0]).expect("a byte back");
            latencies.push(began.elapsed());
        }
    }

    fn begin<'s>(&'s self, scope: &'s thread::Scope<'s, '_>) {
        match self.beside {
            Beside::Nothing => {}
            Beside::Streams => {
                for _ in 0..STREAMS {
                    scope.spawn(|| self.repeat(16, || self.clients.down(16 << 20)));
                }
            }
            Beside::Handshakes => {
                for _ in 0..CLIENTS {
                    scope.spawn(|| self.repeat(1, || self.clients.exchange()));
                }
            }
            Beside::Reloads => {
                scope.spawn(|| self.each_second(|| self.peer.reload(self.running)));
            }
            Beside::Scrapes => {
                scope.spawn(|| self.each_second(|| scrape(self.metrics)));
            }
        }
    }

    fn repeat(&self, counts: u64, work: impl Fn()) {
        while !self.ended.load(Ordering::Relaxed) {
            work();
            self.done.fetch_add(counts, Ordering::Relaxed);
        }
    }

    fn each_second(&self, work: impl Fn()) {
        self.repeat(1, || {
            work();
            thread::sleep(Duration::from_secs(1));
        });
    }
}

fn scrape(metrics: SocketAddr) {
    let mut socket = TcpStream::connect(metrics).expect("metrics are served");
    socket
        .write_all(b"GET /metrics HTTP/1.0\r\nHost: bench\r\n\r\n")
        .expect("a request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains(" 200 OK"), "{answer}");
}
