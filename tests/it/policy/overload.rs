//! Floods and stalled clients beside good ones. `scripts/overload.sh` has the sizes of a bad day.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::proxy_header::proxied;
use crate::harness::{End, Origin, Proxy, Stream, eventually, recorded_hello};

const CROWD: usize = 150;

#[track_caller]
fn nothing_is_counted(proxy: &Proxy) {
    eventually("every permit is free", || {
        let metrics = proxy.metrics();
        let is_free = |name| metrics.count(name, &[]) == 0.0;
        is_free("reseal_connections_live")
            && is_free("reseal_admission_limit_used")
            && metrics.count("reseal_limit_used", &[("limit", "handshakes")]) == 0.0
            && metrics.count("reseal_limit_used", &[("limit", "connections")]) == 0.0
            && is_free("reseal_sources_tracked")
    });
}

#[test]
fn a_flood_of_random_sources_does_not_free_a_limited_one() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_endpoint("accept_proxy_protocol: { from: 127.0.0.0/8 }")
        .on_endpoint("limits: { new_per_source: 2/m, new: 20/m }")
        .admin()
        .start();
    let is_served = |source: &str| {
        let client = proxy.dial("forward");
        let header = proxied(&format!("{source}:9"), "192.0.2.9:443", &[]);
        let _ = client.write_raw(&[&header[..], b"x"].concat());
        let is_served = client.try_receive(1).is_some();
        client.reset();
        is_served
    };
    let attacker = "203.0.113.66";
    assert!(is_served(attacker) && is_served(attacker));
    assert!(!is_served(attacker));
    let mut served = 0;
    for n in 0..300_u16 {
        let [a, b] = n.wrapping_mul(40_503).to_be_bytes();
        served += usize::from(is_served(&format!("10.9.{a}.{b}")));
        if n % 50 == 0 {
            assert!(!is_served(attacker), "after {n} others");
        }
    }
    assert!(served < 100, "{served} are served");
    let refused = |limit: &str| {
        let labels = [("limit", limit), ("dry_run", "false")];
        proxy
            .metrics()
            .count("reseal_admission_refused_total", &labels)
    };
    assert_eq!(refused("new_per_source"), 7.0);
    assert!(refused("new") >= 200.0);
}

#[test]
fn stalled_and_trickling_handshakes_end_at_their_deadline_and_leave_others_alone() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { hello: 2s, client: 3s }")
        .admin()
        .start();
    let hello = recorded_hello("a.test");
    let live = proxy.client("a.test").connect();
    live.must_echo(b"before");
    let stalled: Vec<Stream> = (0..CROWD)
        .map(|n| {
            let client = Stream::dial_from("127.0.0.66", proxy.listen_addr("edge"));
            let sent = [0, hello.len() / 2, hello.len()][n % 3];
            client.write_raw(&hello[..sent]).unwrap();
            client
        })
        .collect();
    live.must_echo(b"beside them");
    proxy.client("a.test").connect().must_echo(b"and a new one");
    for (n, client) in stalled.iter().enumerate() {
        if n % 3 == 1 {
            // A byte more does not extend the deadline.
            let _ = client.write_raw(&hello[hello.len() / 2..=hello.len() / 2]);
        }
        let (_, end) = client.receive_to_end();
        assert!(matches!(end, End::Clean | End::Reset), "{end:?}");
    }
    live.must_echo(b"after");
    live.end();
    live.receive_to_end();
    nothing_is_counted(&proxy);
}

/// Ends a flood, of a test that fails, too.
struct Flood<'a>(&'a AtomicBool);

impl Drop for Flood<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_handshake_flood_leaves_relays_and_handshakes_of_other_sources_alone() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { workers: 1, limits: { handshakes: 8 } }")
        .terminate("a.test", &origin)
        .admin()
        .start();
    let hello = recorded_hello("a.test");
    let live = proxy.client("a.test").connect();
    live.must_echo(b"before");
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let flood = Flood(&ended);
        for _ in 0..2 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let flood: Vec<_> = (0..20)
                        .map(|_| {
                            let client = Stream::dial_from("127.0.0.66", proxy.listen_addr("edge"));
                            let _ = client.write_raw(&hello);
                            client
                        })
                        .collect();
                    flood.into_iter().for_each(Stream::reset);
                }
            });
        }
        for _ in 0..20 {
            live.must_echo(b"beside them");
            proxy.client("a.test").connect().must_echo(b"a new one");
        }
        drop(flood);
    });
    live.end();
    live.receive_to_end();
    nothing_is_counted(&proxy);
}

/// Each of those before it would keep its permit for 100 ms, so that the queue lasts longer than the test.
#[test]
fn a_client_that_leaves_while_it_waits_for_a_handshake_leaves_the_queue_at_once() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { workers: 1, limits: { handshakes: 1 } }")
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { client: 2m }")
        .start();
    let hello = recorded_hello("a.test");
    let stall = || {
        let client = Stream::dial_from("127.0.0.66", proxy.listen_addr("edge"));
        client.write_raw(&hello).unwrap();
        client
    };
    let crowd: Vec<Stream> = (0..600).map(|_| stall()).collect();
    let (resets, ends) = (stall(), stall());
    let (reset_from, ended_from) = (resets.local(), ends.local());
    resets.reset();
    proxy.outcome_from(reset_from).must_be("client_reset");
    drop(ends);
    proxy.outcome_from(ended_from).must_be("client_closed");
    crowd.into_iter().for_each(Stream::reset);
}
