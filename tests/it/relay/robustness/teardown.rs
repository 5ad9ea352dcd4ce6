//! A connection that was reset or truncated stays so while the process stops, and its teardown is bounded.

use std::time::Instant;

use rustix::process::Signal;

use super::{NarrowOrigin, ONE_WORKER, SOON, connected, is_open, narrow_socket, took_less_than};
use crate::harness::{End, ListenAddr, Proxy, Stream, eventually, noise};

/// More bytes than a narrow peer has room for, and fewer than the proxy can queue in the kernel.
const FLOOD: usize = 100_000;

/// A client whose receive buffer holds next to nothing.
#[track_caller]
fn narrow_client(place: &ListenAddr) -> Stream {
    let socket = narrow_socket();
    socket.connect(&place.tcp().into()).unwrap();
    Stream::tcp(socket.into())
}

/// Stops the proxy by two signals, and waits for its end.
#[track_caller]
fn stop_twice(proxy: &mut Proxy, endpoint: &str) {
    let address = proxy.listen_addr(endpoint).tcp();
    proxy.signal(Signal::TERM);
    eventually("it begins to stop", || !is_open(address));
    proxy.signal(Signal::TERM);
    proxy.exit_code();
}

/// Call this after the end of the process. Probes of `is_open` have records, too.
#[track_caller]
fn has_no_other_record(proxy: &Proxy, client: &Stream) {
    let address = client.local().to_string();
    let others = proxy.all_records();
    let others = others
        .iter()
        .filter(|record| record.text("client") == address);
    assert_eq!(others.count(), 0, "{address} has had its record");
}

/// A client whose origin has reset, with bytes still in flight to the client.
#[track_caller]
fn reset_by_its_origin(proxy: &Proxy, origin: &NarrowOrigin) -> Stream {
    let client = narrow_client(proxy.listen_addr("forward"));
    let stream = origin.accept();
    stream.send(noise(FLOOD, 1));
    client.receive(1);
    stream.reset();
    client
}

/// Ends a TLS stream without close_notify, after more bytes than a narrow origin takes.
#[track_caller]
fn truncate(client: &Stream) {
    client.send(noise(FLOOD, 2));
    client.fin();
}

#[test]
fn a_stream_reset_by_its_origin_does_not_look_complete_when_the_process_stops() {
    let origin = NarrowOrigin::new();
    let mut proxy = Proxy::builder().forward(&origin.address).start();
    let client = reset_by_its_origin(&proxy, &origin);
    // The record does not wait for the slow client.
    proxy.outcome_of(&client).must_be("origin_reset");
    stop_twice(&mut proxy, "forward");
    let (data, end) = client.receive_to_end();
    assert!(data.len() < FLOOD - 1, "nothing was left to deliver");
    assert_eq!(end, End::Reset);
    has_no_other_record(&proxy, &client);
}

#[test]
fn a_stream_truncated_by_its_client_does_not_look_complete_when_the_process_stops() {
    let origin = NarrowOrigin::new();
    let mut proxy = Proxy::builder()
        .terminate("a.test", &origin.address)
        .start();
    let (client, stream) = connected(&proxy, &origin);
    truncate(&client);
    proxy.outcome_of(&client).must_be("client_truncated");
    stop_twice(&mut proxy, "edge");
    let (data, end) = stream.receive_to_end();
    assert!(data.len() < FLOOD, "nothing was left to deliver");
    assert_eq!(end, End::Reset);
    has_no_other_record(&proxy, &client);
}

#[test]
fn a_teardown_ends_with_the_lifetime_even_without_half_close() {
    let origin = NarrowOrigin::new();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin.address)
        .on_endpoint("timeouts: { lifetime: 2s, half_close: none }")
        .top(ONE_WORKER)
        .start();
    let (client, stream) = connected(&proxy, &origin);
    let open = proxy.usage().sockets;
    truncate(&client);
    proxy.outcome_of(&client).must_be("client_truncated");
    // Without the lifetime, the final flush would take a minute: longer than this waits.
    eventually("both sockets are closed", || {
        proxy.usage().sockets <= open - 2
    });
    assert_eq!(stream.receive_to_end().1, End::Reset);
}

#[test]
fn the_final_flush_does_not_wait_for_a_peer_that_reset() {
    let origin = NarrowOrigin::new();
    let proxy = Proxy::builder()
        .forward(&origin.address)
        .on_endpoint("timeouts: { half_close: none }")
        .top(ONE_WORKER)
        .start();
    let client = reset_by_its_origin(&proxy, &origin);
    proxy.outcome_of(&client).must_be("origin_reset");
    // The final flush waits for a client that is only slow.
    let open = proxy.usage().sockets;
    let start = Instant::now();
    client.reset();
    eventually("both sockets are closed", || {
        proxy.usage().sockets <= open - 2
    });
    took_less_than(SOON, start);
}
