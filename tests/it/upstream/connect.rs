//! Connecting to origins, and the reasons when that fails.

use std::time::{Duration, Instant};

use crate::harness::{End, Origin, Proxy, blackhole, dead_address};

#[test]
fn an_origin_that_refuses_is_named_and_the_client_is_reset() {
    let (dead, _held) = dead_address();
    let proxy = Proxy::builder().terminate("a.test", &dead).start();
    let client = proxy.client("a.test").connect();
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    let record = proxy.outcome_of(&client);
    record
        .must_be("origin_refused")
        .must_have("stage", "connect")
        .must_have("fault", "origin");
    record.must_have("origin", &dead.to_string());
}

#[test]
fn a_plain_or_passthrough_client_of_a_dead_origin_is_reset() {
    let (dead, _held) = dead_address();
    let proxy = Proxy::builder()
        .passthrough("a.test", &dead)
        .forward(&dead)
        .start();
    let client = proxy.dial("forward");
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    proxy.outcome_of(&client).must_be("origin_refused");
    assert_eq!(proxy.client("a.test").refusal(), End::Reset);
    proxy.outcome().must_be("origin_refused");
}

#[test]
fn an_origin_without_a_route_is_unreachable() {
    // TCP has no route to the broadcast address on any machine.
    let proxy = Proxy::builder().forward(&"255.255.255.255:9").start();
    let client = proxy.dial("forward");
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    proxy
        .outcome_of(&client)
        .must_be("origin_unreachable")
        .must_have("stage", "connect");
}

#[test]
fn a_missing_unix_origin_refuses() {
    let proxy = Proxy::builder()
        .forward(&"unix:/nonexistent/origin.sock")
        .start();
    let client = proxy.dial("forward");
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    proxy.outcome_of(&client).must_be("origin_refused");
}

#[test]
fn the_second_origin_serves_when_the_first_is_dead() {
    let (dead, _held) = dead_address();
    let alive = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &alive)
        .origins(&format!("[\"{dead}\", \"{alive}\"]"))
        .start();
    let start = Instant::now();
    let client = proxy.client("a.test").connect();
    client.must_echo(b"x");
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "no pause before another origin"
    );
    client.end();
    client.receive_to_end();
    proxy
        .outcome_of(&client)
        .must_be("ok")
        .must_have("origin", &alive.to_string());
}

#[test]
fn a_single_origin_is_tried_again_after_a_pause() {
    let origin = Origin::with_tls().hanging_up(2).echo();
    let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
    let start = Instant::now();
    proxy
        .client("a.test")
        .connect()
        .must_echo(b"third time lucky");
    assert!(
        start.elapsed() >= Duration::from_millis(490),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(origin.accepts(), 3);
}

#[test]
fn attempts_at_one_address_are_paced() {
    let (dead, _held) = dead_address();
    let proxy = Proxy::builder()
        .forward(&dead)
        .on_upstream("connect: { attempts: 3 }")
        .start();
    let start = Instant::now();
    assert_eq!(proxy.dial("forward").receive_to_end().1, End::Reset);
    // The first attempt is immediate, each other one follows 250 ms after the last.
    assert!(
        start.elapsed() >= Duration::from_millis(490),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn promise_2_an_origin_that_drops_syns_costs_at_most_the_timeout() {
    let (hole, _held) = blackhole();
    let proxy = Proxy::builder()
        .forward(&hole)
        .on_upstream("connect: { timeout: 300ms, attempts: 2 }")
        .start();
    let start = Instant::now();
    let client = proxy.dial("forward");
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    let waited = start.elapsed();
    assert!(
        waited > Duration::from_millis(550) && waited < Duration::from_secs(4),
        "{waited:?}"
    );
    proxy
        .outcome_of(&client)
        .must_be("origin_connect_timeout")
        .must_have("stage", "connect");
}

#[test]
fn an_origin_that_drops_syns_is_followed_by_the_next() {
    let (hole, _held) = blackhole();
    let alive = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&alive)
        .origins(&format!("[\"{hole}\", \"{alive}\"]"))
        .on_upstream("connect: { timeout: 300ms }")
        .start();
    proxy.dial("forward").must_echo(b"after the wait");
}

#[test]
fn the_deadline_of_the_origin_stage_ends_all_attempts() {
    let (hole, _held) = blackhole();
    let proxy = Proxy::builder()
        .forward(&hole)
        .on_upstream("connect: { timeout: 10s, attempts: 9 }")
        .on_endpoint("timeouts: { origin: 500ms }")
        .start();
    let start = Instant::now();
    let client = proxy.dial("forward");
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    proxy.outcome_of(&client).must_be("origin_connect_timeout");
}

#[test]
fn promise_2_an_origin_that_never_answers_a_handshake_reaches_the_deadline() {
    let origin = Origin::plain().silent();
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .on_upstream("connect: { timeout: 300ms, attempts: 1 }")
        .start();
    let client = proxy.client("a.test").connect();
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    proxy
        .outcome_of(&client)
        .must_be("origin_tls_timeout")
        .must_have("stage", "origin_tls");
}

#[test]
fn an_origin_that_ends_in_its_handshake_is_followed_by_the_next() {
    let restarting = Origin::plain().serve(|stream| {
        let _ = stream.read();
    });
    let resetting = Origin::plain().serve(|stream| {
        let _ = stream.read();
        stream.reset();
    });
    let alive = Origin::with_tls().echo();
    let proxy = Proxy::builder()
        .reencrypt("a.test", &alive)
        .origins(&format!("[\"{restarting}\", \"{resetting}\", \"{alive}\"]"))
        .start();
    let client = proxy.client("a.test").connect();
    client.must_echo(b"third time lucky");
    assert_eq!(
        (restarting.accepts(), resetting.accepts(), alive.accepts()),
        (1, 1, 1)
    );
}

#[test]
fn an_origin_that_always_ends_or_resets_in_its_handshake_is_named() {
    let ending = Origin::plain().serve(|stream| {
        let _ = stream.read();
    });
    let resetting = Origin::plain().serve(|stream| {
        let _ = stream.read();
        stream.reset();
    });
    for (origin, reason) in [(ending, "origin_closed"), (resetting, "origin_reset")] {
        let proxy = Proxy::builder()
            .reencrypt("a.test", &origin)
            .on_upstream("connect: { attempts: 2 }")
            .start();
        let client = proxy.client("a.test").connect();
        assert_eq!(client.receive_to_end(), (vec![], End::Reset));
        proxy
            .outcome_of(&client)
            .must_be(reason)
            .must_have("stage", "origin_tls");
        assert_eq!(origin.accepts(), 2);
    }
}

#[test]
fn an_origin_can_be_a_host_name() {
    let origin = Origin::echo();
    let host = format!("localhost:{}", origin.listen_addr().port());
    let proxy = Proxy::builder().forward(&host).start();
    let client = proxy.dial("forward");
    client.must_echo(b"by name");
    client.end();
    client.receive_to_end();
    let record = proxy.outcome_of(&client);
    // Its first address may be ::1, which has no listener.
    record
        .must_be("ok")
        .must_have("origin", &format!("{host} ({origin})"));
}

#[test]
fn a_name_that_does_not_resolve_delays_neither_the_start_nor_other_upstreams() {
    // A name under `.invalid` never resolves (RFC 6761), online or offline.
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&"no-such-host.invalid:80")
        .on_upstream("connect: { attempts: 1 }")
        .endpoint("other", "tcp")
        .route("forward", "", &origin)
        .endpoint("second", "tcp")
        .route("forward", "", &origin)
        .origins(&format!("[\"no-such-host.invalid:80\", \"{origin}\"]"))
        .start();
    let client = proxy.dial("forward");
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    proxy
        .outcome_of(&client)
        .must_be("origin_resolve")
        .must_have("stage", "resolve");
    proxy.dial("other").must_echo(b"not disturbed");
    proxy.dial("second").must_echo(b"the next one");
}

#[test]
fn a_client_that_reset_during_the_dial_is_not_relayed() {
    let (hole, _held) = blackhole();
    let proxy = Proxy::builder()
        .forward(&hole)
        .on_upstream("connect: { timeout: 400ms, attempts: 1 }")
        .start();
    let client = proxy.dial("forward");
    let address = client.local();
    client.reset();
    proxy.outcome_from(address).must_have("stage", "connect");
}
