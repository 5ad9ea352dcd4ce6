//! Limits: `idle`, `half_close` and `lifetime`.

use std::time::{Duration, Instant};

use crate::harness::{End, Origin, Proxy, Stream, TIMEOUT, noise};

/// Waits for the end of an idle stream and returns how long that took.
fn waits_for_end(stream: &Stream) -> (Vec<u8>, End, Duration) {
    let start = Instant::now();
    let (data, end) = stream.receive_to_end();
    (data, end, start.elapsed())
}

#[test]
fn an_idle_connection_ends_with_a_reset_on_both_sides() {
    let (origin, reports) = Origin::plain().reporting();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { idle: 500ms }")
        .start();
    let client = proxy.client("a.test").connect();
    client.send(b"then nothing");
    let (_, end, waited) = waits_for_end(&client);
    assert_eq!(end, End::Reset);
    assert!(
        waited > Duration::from_millis(400) && waited < Duration::from_secs(5),
        "{waited:?}"
    );
    let report = reports.recv_timeout(TIMEOUT).unwrap();
    assert_eq!(
        (report.data, report.end),
        (b"then nothing".to_vec(), End::Reset)
    );
    let record = proxy.outcome_of(&client);
    record
        .must_be("idle_timeout")
        .must_have("stage", "relay")
        .must_have("fault", "policy");
}

#[test]
fn bytes_in_either_direction_keep_a_connection_from_being_idle() {
    let origin = Origin::plain().serve(|stream| {
        for _ in 0..8 {
            std::thread::sleep(Duration::from_millis(150));
            stream.send(b".");
        }
        stream.end();
    });
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { idle: 700ms }")
        .start();
    let client = proxy.client("a.test").connect();
    client.end();
    assert_eq!(client.receive_to_end(), (b"........".to_vec(), End::Clean));
    proxy.outcome_of(&client).must_be("ok");
}

#[test]
fn a_route_has_its_own_limits() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("short.test", &origin)
        .on_route("timeouts: { idle: 300ms }")
        .terminate("long.test", &origin)
        .start();
    let short = proxy.client("short.test").connect();
    let long = proxy.client("long.test").connect();
    assert_eq!(short.receive_to_end().1, End::Reset);
    proxy.outcome_of(&short).must_be("idle_timeout");
    long.must_echo(b"not concerned");
}

#[test]
fn after_the_clients_end_the_origin_has_half_close_to_end() {
    let origin = Origin::plain().silent();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { half_close: 400ms }")
        .start();
    let client = proxy.client("a.test").connect();
    client.end();
    let (_, end, waited) = waits_for_end(&client);
    assert_eq!(end, End::Reset);
    assert!(
        waited > Duration::from_millis(300) && waited < Duration::from_secs(5),
        "{waited:?}"
    );
    let record = proxy.outcome_of(&client);
    record
        .must_be("client_closed")
        .must_have("after", "relay")
        .must_have("stage", "relay")
        .must_have("fault", "client");
}

#[test]
fn after_the_origins_end_the_client_has_half_close_to_end() {
    let (sender, ends) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let origin = Origin::plain().serve(move |stream| {
        stream.end();
        let _ = sender.lock().unwrap().send(stream.receive_to_end().1);
    });
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { half_close: 400ms }")
        .start();
    let client = proxy.client("a.test").connect();
    assert_eq!(
        client.receive_to_end(),
        (vec![], End::Clean),
        "the origin's end was passed on at once"
    );
    assert_eq!(ends.recv_timeout(TIMEOUT).unwrap(), End::Reset);
    proxy
        .outcome_of(&client)
        .must_be("origin_closed")
        .must_have("stage", "relay")
        .must_have("fault", "origin");
}

#[test]
fn progress_after_the_first_end_keeps_a_connection_alive() {
    let origin = Origin::plain().serve(|stream| {
        assert_eq!(stream.receive_to_end().1, End::Clean);
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(150));
            stream.send(b".");
        }
        stream.end();
    });
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { half_close: 700ms }")
        .start();
    let client = proxy.client("a.test").connect();
    client.end();
    assert_eq!(client.receive_to_end(), (b"......".to_vec(), End::Clean));
    proxy.outcome_of(&client).must_be("ok");
}

#[test]
fn bytes_that_a_peer_does_not_take_within_half_close_are_dropped() {
    let origin = Origin::plain().serve(|stream| {
        let _ = stream.try_send(noise(8 << 20, 1));
        stream.end();
    });
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_endpoint("timeouts: { half_close: 500ms }")
        .start();
    // A client that has ended and never reads.
    let client = proxy.dial("forward").with_small_window();
    client.end();
    let record = proxy.outcome_of(&client);
    record
        .must_be("half_close_timeout")
        .must_have("fault", "policy")
        .must_have("stage", "relay");
}

/// Bytes that a client does not read are not the origin's fault, in our buffers or in the kernel's.
#[test]
fn a_client_that_does_not_read_the_rest_is_not_a_fault_of_the_ended_origin() {
    let origin = Origin::plain().serve(|stream| {
        stream.send(noise(400 << 10, 5));
        stream.end();
        stream.receive_to_end();
    });
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_endpoint("timeouts: { half_close: 300ms }")
        .start();
    let client = proxy.dial("forward").with_small_window();
    proxy
        .outcome_of(&client)
        .must_be("half_close_timeout")
        .must_have("fault", "policy");
}

#[test]
fn a_lifetime_ends_even_a_busy_connection() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { lifetime: 700ms }")
        .start();
    let client = proxy.client("a.test").connect();
    let start = Instant::now();
    while client.try_send(b"busy").is_ok() && client.read().is_ok() {
        assert!(start.elapsed() < Duration::from_secs(10), "it never ended");
    }
    assert!(
        start.elapsed() > Duration::from_millis(500),
        "{:?}",
        start.elapsed()
    );
    let record = proxy.outcome_of(&client);
    record
        .must_be("lifetime")
        .must_have("fault", "policy")
        .must_have("stage", "relay");
}

#[test]
fn a_limit_ends_a_connection_without_close_notify() {
    let (origin, reports) = Origin::with_tls().reporting();
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .on_endpoint("timeouts: { idle: 300ms }")
        .start();
    let client = proxy.client("a.test").connect();
    assert_eq!(client.receive_to_end().1, End::Reset);
    assert_eq!(reports.recv_timeout(TIMEOUT).unwrap().end, End::Reset);
    proxy.outcome_of(&client).must_be("idle_timeout");
}
