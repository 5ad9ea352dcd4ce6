//! How long a byte there and back, and a new connection, take beside an overload.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::subject::Subject;
use super::table::quantile;
use crate::load::Clients;

/// Clients that pause between two bytes: their own load is small.
const PLAYERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(2);
const HANDSHAKE_PAUSE: Duration = Duration::from_millis(10);

/// The 99th percentiles in milliseconds, and the longest wait for the admin socket.
pub(super) struct Latencies {
    pub(super) relay: f64,
    pub(super) handshake: f64,
    pub(super) handshakes: usize,
    pub(super) failed: usize,
    pub(super) admin: f64,
}

/// Measures both for this time.
pub(super) fn measure(subject: &Subject, clients: &Clients, time: Duration) -> Latencies {
    let (relay, handshake) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let failed = Mutex::new(0);
    let ended = AtomicBool::new(false);
    let end = Instant::now() + time;
    let admin = thread::scope(|scope| {
        let admin = subject.watch(scope, &ended);
        let mut players: Vec<_> = (0..PLAYERS)
            .map(|_| scope.spawn(|| relay.lock().expect("a list").extend(play(clients, end))))
            .collect();
        players.push(scope.spawn(|| {
            while Instant::now() < end {
                let began = Instant::now();
                match clients.try_exchange() {
                    Ok(()) => handshake.lock().expect("a list").push(began.elapsed()),
                    Err(error) => {
                        println!("a good client failed: {error}");
                        *failed.lock().expect("a count") += 1;
                    }
                }
                thread::sleep(HANDSHAKE_PAUSE);
            }
        }));
        for player in players {
            player.join().expect("a player");
        }
        ended.store(true, Ordering::Relaxed);
        admin.join().expect("the watch")
    });
    let mut relay = relay.into_inner().expect("a list");
    let mut handshake = handshake.into_inner().expect("a list");
    Latencies {
        relay: quantile(&mut relay, 0.99),
        handshakes: handshake.len(),
        handshake: quantile(&mut handshake, 0.99),
        failed: failed.into_inner().expect("a count"),
        admin: admin.as_secs_f64() * 1e3,
    }
}

fn play(clients: &Clients, end: Instant) -> Vec<Duration> {
    let mut client = clients.established();
    let mut latencies = Vec::new();
    loop {
        let began = Instant::now();
        if began > end {
            return latencies;
        }
        client.write_all(b"x").expect("a byte there");
        client.read_exact(&mut [0]).expect("a byte back");
        latencies.push(began.elapsed());
        thread::sleep(PAUSE);
    }
}
