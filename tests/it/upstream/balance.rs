//! Balancing and queueing: which origin gets a connection, and which client waits.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::harness::{
    End, LetterOrigin, OriginBuilder, Proxy, blackhole, dead_address, eventually,
};

fn list(origins: &[&LetterOrigin], more: &str) -> String {
    let maps = origins
        .iter()
        .map(|origin| format!("{{ address: \"{origin}\"{more} }}"));
    format!("[{}]", maps.collect::<Vec<_>>().join(", "))
}

#[test]
fn round_robin_follows_the_weights() {
    let (a, b) = (LetterOrigin::new('a'), LetterOrigin::new('b'));
    let proxy = Proxy::builder()
        .forward(&a)
        .origins(&format!("[{{ address: \"{a}\", weight: 3 }}, \"{b}\"]"))
        .start();
    assert_eq!(proxy.letters(8), "aabaaaba");
}

#[test]
fn first_uses_the_first_usable_origin() {
    let (a, b) = (LetterOrigin::new('a'), LetterOrigin::new('b'));
    let proxy = Proxy::builder()
        .forward(&a)
        .origins(&list(&[&a, &b], ""))
        .on_upstream("balance: first")
        .start();
    assert_eq!(proxy.letters(3), "aaa");
    drop(a);
    assert_eq!(proxy.letters(3), "bbb");
}

#[test]
fn one_client_stays_with_one_origin() {
    let all: Vec<_> = "abcdefgh".chars().map(LetterOrigin::new).collect();
    let proxy = Proxy::builder()
        .forward(&all[0])
        .origins(&list(&all.iter().collect::<Vec<_>>(), ""))
        .on_upstream("balance: source_hash")
        .start();
    let letters = proxy.letters(12);
    let first = letters.chars().next().unwrap();
    assert!(letters.chars().all(|letter| letter == first), "{letters}");
}

#[test]
fn the_next_connection_goes_to_the_origin_with_the_fewest() {
    for balance in ["least_connections", "random_two"] {
        let (a, b) = (LetterOrigin::new('a'), LetterOrigin::new('b'));
        let proxy = Proxy::builder()
            .forward(&a)
            .origins(&list(&[&a, &b], ""))
            .on_upstream(&format!("balance: {balance}"))
            .start();
        let mut live: Vec<_> = (0..10).map(|_| proxy.try_letter().unwrap()).collect();
        let count = |live: &[(char, _)], letter| live.iter().filter(|h| h.0 == letter).count();
        assert_eq!((count(&live, 'a'), count(&live, 'b')), (5, 5), "{balance}");
        live.retain(|(letter, _)| *letter == 'a');
        for _ in 0..5 {
            // A record is written after the slot is released, or just before.
            proxy.outcome();
        }
        eventually("ended connections are no longer counted", || {
            let (letter, stream) = proxy.try_letter().unwrap();
            if letter == 'b' {
                live.push((letter, stream));
            }
            count(&live, 'b') >= 4
        });
    }
}

#[test]
fn backups_are_used_once_no_other_origin_is_usable() {
    let (a, b) = (LetterOrigin::new('a'), LetterOrigin::new('b'));
    let origins = format!("[{{ address: \"{b}\", backup: true }}, \"{a}\"]");
    let proxy = Proxy::builder().forward(&a).origins(&origins).start();
    assert_eq!(proxy.letters(4), "aaaa");
    drop(a);
    assert_eq!(proxy.letters(2), "bb");
}

#[test]
fn a_client_waits_for_a_free_slot() {
    let a = LetterOrigin::new('a');
    let proxy = Proxy::builder()
        .forward(&a)
        .origins(&list(&[&a], ", connections: 1"))
        .admin()
        .start();
    let (_, first) = proxy.try_letter().unwrap();
    let second = proxy.dial("forward");
    second.send(b"b");
    eventually("both clients are connected", || {
        proxy.ctl_json(&["status"])["connections"] == 2
    });
    proxy.log_line(|line| {
        line.contains("connections wait: all usable origins are at their limit")
            && line.contains("\"upstream\":\"upstream-0\"")
    });
    eventually("the status has the queue", || {
        let status = proxy.ctl(&["status"]).text();
        status.contains(&format!("connections of upstream-0 {a}: 1 of 1\n"))
            && status.contains("queue of upstream-0: 1, no limit\n")
    });
    let metrics = proxy.metrics();
    assert_eq!(metrics.count("reseal_queue_waiting", &[]), 1.0);
    assert_eq!(metrics.count("reseal_origin_connections_max", &[]), 1.0);
    first.must_echo(b"c");
    first.end();
    assert_eq!(second.receive(2), b"ab");
    assert_eq!(a.accepts(), 2);
    second.end();
    second.receive_to_end();
    let record = proxy.outcome_of(&second);
    record.must_be("ok");
    assert!(record["ms"]["queue"].is_number(), "{record:?}");
}

#[test]
fn waiting_for_a_slot_has_a_deadline() {
    let a = LetterOrigin::new('a');
    let proxy = Proxy::builder()
        .forward(&a)
        .origins(&list(&[&a], ", connections: 1"))
        .on_upstream("connect: { queue: 1, queue_timeout: 600ms }")
        .start();
    let _held = proxy.try_letter().unwrap();
    let start = Instant::now();
    let (one, other) = (proxy.dial("forward"), proxy.dial("forward"));
    for stream in [&one, &other] {
        assert_eq!(stream.receive_to_end(), (vec![], End::Reset));
    }
    assert!(start.elapsed() >= Duration::from_millis(550));
    let reasons = [proxy.outcome_of(&one), proxy.outcome_of(&other)];
    let mut reasons = reasons.each_ref().map(|record| {
        record
            .must_have("stage", "queue")
            .must_have("fault", "policy");
        record.reason()
    });
    reasons.sort_unstable();
    assert_eq!(reasons, ["queue_full", "queue_timeout"]);
    assert_eq!(a.accepts(), 1);
}

/// D15: connections that are being made count against the limit, so that they do not pile up at an origin
/// that drops SYNs.
#[test]
fn connections_being_made_count_against_the_limit() {
    let (hole, _held) = blackhole();
    let proxy = Proxy::builder()
        .forward(&hole)
        .origins(&format!("[{{ address: \"{hole}\", connections: 2 }}]"))
        .on_upstream("connect: { timeout: 5s, attempts: 1, queue_timeout: 300ms }")
        .start();
    let clients: Vec<_> = (0..6).map(|_| proxy.dial("forward")).collect();
    let reasons: Vec<_> = (0..4)
        .map(|_| proxy.outcome().reason().to_owned())
        .collect();
    assert_eq!(reasons, ["queue_timeout"; 4]);
    drop(clients);
}

#[test]
fn connections_use_the_configured_source_addresses() {
    let a = OriginBuilder::default().echo();
    let proxy = Proxy::builder()
        .forward(&a)
        .on_upstream("connect: { source_addresses: [127.0.7.1, \"::1\", 127.0.7.2] }")
        .start();
    let mut from: Vec<_> = (0..4)
        .map(|_| {
            let client = proxy.dial("forward");
            client.must_echo(b"x");
            client.end();
            client.receive_to_end();
            let record = proxy.outcome_of(&client);
            record
                .text("origin_local")
                .split(':')
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    from.sort();
    assert_eq!(from, ["127.0.7.1", "127.0.7.1", "127.0.7.2", "127.0.7.2"]);
}

/// D08: a local shortage is not the origin's fault, and never counts against it.
#[test]
fn a_source_address_that_we_lack_is_a_proxy_fault() {
    let a = LetterOrigin::new('a');
    let proxy = Proxy::builder()
        .forward(&a)
        .on_upstream("connect: { source_addresses: [203.0.113.9] }")
        .on_upstream("health: { check: tcp, interval: 50ms, fall: 1, passive: { failures: 1 } }")
        .start();
    for _ in 0..3 {
        let client = proxy.dial("forward");
        assert_eq!(client.receive_to_end(), (vec![], End::Reset));
        proxy
            .outcome_of(&client)
            .must_be("local_ports_exhausted")
            .must_have("fault", "proxy")
            .must_have("stage", "connect");
    }
    proxy.log_line(|line| line.contains("203.0.113.9, which is no address of this machine"));
    assert!(
        !proxy.log().join("\n").contains("an origin"),
        "{:?}",
        proxy.log()
    );
}

/// A missing local port, or a missing route to an address family, concerns one origin only.
#[test]
fn an_origin_without_a_local_port_or_route_is_followed_by_the_next() {
    let a = LetterOrigin::new('a');
    let beyond = TcpListener::bind("[::1]:0").unwrap();
    let answering = beyond.try_clone().unwrap();
    std::thread::spawn(move || {
        for client in answering.incoming() {
            let _ = client.unwrap().write_all(b"6");
        }
    });
    let proxy = Proxy::builder()
        .forward(&a)
        .origins(&format!("[\"{a}\", \"{}\"]", beyond.local_addr().unwrap()))
        .on_upstream("balance: first")
        .on_upstream("connect: { source_addresses: [203.0.113.9] }")
        .start();
    let client = proxy.dial("forward");
    assert_eq!(client.receive(1), b"6");
    client.end();
    client.receive_to_end();
    proxy.outcome_of(&client).must_be("ok");
}

#[test]
fn a_client_that_resets_gives_up_its_queue_slot() {
    let a = LetterOrigin::new('a');
    let proxy = Proxy::builder()
        .forward(&a)
        .origins(&list(&[&a], ", connections: 1"))
        .on_upstream("connect: { queue: 1, queue_timeout: 60s }")
        .on_endpoint("timeouts: { origin: 60s }")
        .admin()
        .start();
    let live = proxy.try_letter().unwrap().1;
    let impatient = proxy.dial("forward");
    let local = impatient.local();
    eventually("the client is connected", || {
        proxy.ctl_json(&["status"])["connections"] == 2
    });
    impatient.reset();
    proxy.outcome_from(local).must_be("client_reset");
    let next = proxy.dial("forward");
    live.end();
    live.receive_to_end();
    assert_eq!(next.receive(1), b"a");
}

/// The current limit applies to clients that have waited since before the reload, too.
#[test]
fn a_waiting_client_gets_the_slot_that_a_reload_adds() {
    let a = LetterOrigin::new('a');
    let proxy = Proxy::builder()
        .forward(&a)
        .origins(&list(&[&a], ", connections: 1"))
        .on_upstream("connect: { queue_timeout: 20s }")
        .on_endpoint("timeouts: { origin: 20s }")
        .admin()
        .start();
    let _held = proxy.try_letter().unwrap();
    let waiting = proxy.dial("forward");
    eventually("the client is connected", || {
        proxy.ctl_json(&["status"])["connections"] == 2
    });
    proxy.reload(&proxy.text().replace("connections: 1", "connections: 2"));
    assert_eq!(waiting.receive(1), b"a");
}

#[test]
fn the_stage_of_a_failure_is_the_one_that_failed() {
    let (dead, _port) = dead_address();
    let b = LetterOrigin::new('b');
    let proxy = Proxy::builder()
        .forward(&b)
        .origins(&format!(
            "[\"{dead}\", {{ address: \"{b}\", connections: 1 }}]"
        ))
        .on_upstream("balance: first")
        .on_upstream("connect: { queue_timeout: 100ms }")
        .start();
    let _held = proxy.try_letter().unwrap();
    let client = proxy.dial("forward");
    client.receive_to_end();
    proxy
        .outcome_of(&client)
        .must_be("origin_refused")
        .must_have("stage", "connect");
}

/// D08: with four ports there are four connections, and one more when a port is released.
#[test]
fn ports_that_run_out_mark_no_origin_down() {
    let directory = crate::harness::Directory::new();
    let origin = OriginBuilder::default()
        .at(&directory.join("origin.sock"))
        .echo();
    let front = directory.join("front.sock");
    let ports = "ip link set lo up && echo 50000 50003 >/proc/sys/net/ipv4/ip_local_port_range && exec \
                 \"$0\" \"$@\"";
    // All of TCP is within the proxy's own network namespace: its second endpoint is the origin of the
    // first.
    let proxy = Proxy::builder()
        .under(&["unshare", "-n", "sh", "-c", ports])
        .forward(&"127.0.0.1:7000")
        .listen(&format!("\"unix:{}\"", front.display()))
        .on_upstream("health: { passive: { failures: 1 } }")
        .endpoint("inner", "tcp")
        .listen("127.0.0.1:7000")
        .route("forward", "", &origin)
        .start();
    let live: Vec<_> = (0..4)
        .map(|_| {
            let client = proxy.dial("forward");
            client.must_echo(b"x");
            client
        })
        .collect();
    let fifth = proxy.dial("forward");
    assert_eq!(fifth.receive_to_end().0, b"");
    proxy.outcome().must_be("local_ports_exhausted");
    live[3].end();
    live[3].receive_to_end();
    eventually("a port is free again", || {
        let client = proxy.dial("forward");
        client.try_send(b"y").is_ok() && client.try_receive(1).is_some()
    });
    let log = proxy.log().join("\n");
    assert!(!log.contains("ejected") && !log.contains("down"), "{log}");
}
