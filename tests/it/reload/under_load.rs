//! Reloads under load lose no byte, connection or handshake.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::harness::{End, Origin, Proxy, noise};

pub(super) fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// Threads that run until they are stopped; a failure of one is a failure of the test.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Runs `turn` repeatedly on each of `threads`, at most once per `pace`. It gets the numbers of the
    /// thread and of the turn.
    pub(super) fn new<T>(
        threads: usize,
        pace: Duration,
        begin: impl Fn() -> T + Send + Sync + 'static,
        turn: impl Fn(&mut T, u64) + Send + Sync + 'static,
        end: impl Fn(T) + Send + Sync + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::<AtomicUsize>::default();
        let work = Arc::new((begin, turn, end));
        let spawn = |_| {
            let (stop, done, work) = (Arc::clone(&stop), Arc::clone(&done), Arc::clone(&work));
            thread::Builder::new()
                .stack_size(256 << 10)
                .spawn(move || {
                    let mut state = work.0();
                    let mut next = Instant::now();
                    let mut turns = 0;
                    while !stop.load(Ordering::Relaxed) {
                        work.1(&mut state, turns);
                        turns += 1;
                        done.fetch_add(1, Ordering::Relaxed);
                        next += pace;
                        thread::sleep(next.saturating_duration_since(Instant::now()));
                    }
                    work.2(state);
                })
                .unwrap()
        };
        Self {
            threads: (0..threads).map(spawn).collect(),
            stop,
            done,
        }
    }

    pub(super) fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    pub(super) fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("nothing was lost");
        }
        self.done.load(Ordering::Relaxed)
    }
}

#[test]
fn promise_4_reloads_under_load_lose_nothing() {
    let reloads = number("RESEAL_RELOADS", 120);
    let live = number("RESEAL_LIVE", 40);
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("backlog: 1000")
        .forward(&origin)
        .start();
    let client = proxy.client("a.test");
    let streams = Load::new(
        live,
        Duration::from_millis(20),
        {
            let client = client.clone();
            move || client.connect()
        },
        |stream, turn| stream.must_echo(noise(1 + (turn as usize * 977) % 20_000, turn)),
        |stream| {
            stream.end();
            assert_eq!(stream.receive_to_end(), (vec![], End::Clean));
        },
    );
    // 200 a second on a machine that is fast enough.
    let newcomers = Load::new(
        8,
        Duration::from_millis(40),
        || (),
        move |(), turn| {
            let stream = client.connect();
            stream.must_echo(noise(100, turn));
            stream.end();
            assert_eq!(stream.receive_to_end(), (vec![], End::Clean));
        },
        |()| {},
    );
    let good = proxy.text().to_owned();
    let changed = good.replace("backlog: 1000", "backlog: 1001");
    let broken = good.replacen("routes:", "roots:", 1);
    proxy.reload(&good);
    let before = proxy.usage();
    let began = Instant::now();
    for round in 0..reloads {
        let lines = match round % 4 {
            0 | 2 => proxy.reload(&broken),
            1 => proxy.reload(&changed),
            _ => proxy.reload(&good),
        };
        let refused = lines.last().unwrap().contains("refused");
        assert_eq!(refused, round % 2 == 0, "{lines:?}");
        let says_changed = lines
            .iter()
            .any(|line| line.contains("endpoint edge changed"));
        assert_eq!(says_changed, !refused, "{lines:?}");
    }
    let turns = streams.done();
    let after = proxy.usage();
    let (exchanges, connections) = (streams.end(), newcomers.end());
    println!(
        "{reloads} reloads in {:.1} s, {exchanges} exchanges on {live} connections, {connections} new \
         connections",
        began.elapsed().as_secs_f64()
    );
    assert!(turns > live, "there was too little load");
    assert!(
        after.memory < before.memory + (24 << 20),
        "{} KiB more",
        after.memory.saturating_sub(before.memory) >> 10
    );
    let usage = proxy.usage_at_rest();
    assert!(
        usage.descriptors <= before.descriptors,
        "{usage:?} {before:?}"
    );
    for record in proxy.outcomes(live + connections) {
        record.must_be("ok");
    }
}
