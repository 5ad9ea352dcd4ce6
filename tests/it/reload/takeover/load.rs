//! Takeovers under load: no connection is refused or reset, and no byte is lost.

use std::time::Duration;

use super::super::under_load::{Load, number};
use super::forwarding;
use crate::harness::{End, ListenAddr, Origin, Proxy, Stream, eventually, noise};

/// A long transfer: this many pieces of this many bytes.
const PIECES: u64 = 10;
const PIECE: usize = 16 << 10;

/// Connects to the addresses in turn, each time for one byte and its echo.
fn new_connections(addresses: Vec<ListenAddr>, each_second: usize) -> Load {
    const THREADS: usize = 20;
    let pace = Duration::from_secs(1).mul_f64(THREADS as f64 / each_second as f64);
    let turn = move |_: &mut (), turn: u64| {
        let index = usize::try_from(turn).unwrap() % addresses.len();
        let client = Stream::dial(&addresses[index]).expect("not refused");
        client.must_echo(b"x");
        client.end();
        assert_eq!(client.receive_to_end(), (vec![], End::Clean));
    };
    Load::new(THREADS, pace, || (), turn, |()| ())
}

/// Transfers that are checked byte by byte, one after the other on each thread.
fn transfers(proxy: &Proxy, endpoint: &str, threads: usize) -> Load {
    let address = proxy.listen_addr(endpoint).clone();
    let begin = || None;
    let turn = move |current: &mut Option<Stream>, turn: u64| {
        let client = current.get_or_insert_with(|| Stream::dial(&address).expect("not refused"));
        client.must_echo(noise(PIECE, turn + 1));
        if turn % PIECES == PIECES - 1 {
            client.end();
            assert_eq!(client.receive_to_end(), (vec![], End::Clean));
            *current = None;
        }
    };
    let end = |current: Option<Stream>| {
        if let Some(client) = current {
            client.end();
            assert_eq!(client.receive_to_end(), (vec![], End::Clean));
        }
    };
    Load::new(threads, Duration::from_millis(150), begin, turn, end)
}

#[test]
fn takeovers_under_load_refuse_reset_and_lose_nothing() {
    let takeovers = number("RESEAL_TAKEOVERS", 3);
    let each_second = number("RESEAL_NEW_CONNECTIONS", 100);
    let long = number("RESEAL_TRANSFERS", 8);
    let origin = Origin::echo();
    let draft = forwarding(&origin);
    let path = draft.path("edge.sock");
    let first = draft
        .endpoint("unix", "tcp")
        .listen(&format!("\"unix:{path}\""))
        .route("forward", "", &origin)
        .top("process: { workers: 2, drain: { stop: 10m } }")
        .start();
    let text = first.text().to_owned();
    let addresses = ["forward", "unix"].map(|name| first.listen_addr(name).clone());
    let load = [
        new_connections(addresses.to_vec(), each_second),
        transfers(&first, "forward", long / 2),
        transfers(&first, "unix", long - long / 2),
    ];
    let mut proxies = vec![first];
    for round in 0..takeovers {
        let before: Vec<_> = load.iter().map(Load::done).collect();
        let workers = ["workers: 1", "workers: 3", "workers: 2"][round % 3];
        let text = text.replace("workers: 2", workers);
        let new = proxies.last().unwrap().successor(&text);
        proxies.push(new);
        // Each kind of load goes on with the new process.
        for (load, before) in load.iter().zip(before) {
            eventually("the load goes on", || load.done() > before + 2 * long);
        }
    }
    let counts: Vec<_> = load.into_iter().map(Load::end).collect();
    println!(
        "{takeovers} takeovers, {counts:?} connections and pieces, nothing refused, reset or lost"
    );
    let mut last = proxies.pop().unwrap();
    for mut old in proxies {
        assert_eq!(old.exit_code(), 0);
    }
    last.signal(rustix::process::Signal::TERM);
    assert_eq!(last.exit_code(), 0);
}
