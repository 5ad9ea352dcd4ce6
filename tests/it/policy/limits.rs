//! Limits of endpoints and routes: connections, rates and handshakes, of all and of each source.

mod connections;
mod handshakes;
mod reloads;
mod told;

use crate::harness::{End, ListenAddr, Origin, Proxy, Record, Stream, eventually};

fn forward(limits: &str, origin: &Origin) -> Proxy {
    Proxy::builder()
        .forward(origin)
        .on_endpoint(&format!("limits: {{ {limits} }}"))
        .admin()
        .start()
}

fn must_be_reset(client: &Stream) {
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
}

#[track_caller]
fn must_be_limited(record: &Record, reason: &str, owner: &str, detail: &str) {
    record.must_be(reason).must_have("limit", owner);
    record
        .must_have("fault", "policy")
        .must_have("detail", detail);
}

/// Dials and echoes, so that the connection is established.
#[track_caller]
fn establish(source: &str, place: &ListenAddr) -> Stream {
    let client = Stream::dial_from(source, place);
    client.must_echo(b"x");
    client
}

/// The same, as soon as there is a place: the record of an end comes just before its permits are free.
#[track_caller]
fn admitted(source: &str, place: &ListenAddr) -> Stream {
    let mut found = None;
    eventually("there is a place", || {
        let client = Stream::dial_from(source, place);
        let is_served = client.try_send(b"x").is_ok() && client.try_receive(1).is_some();
        found = is_served.then_some(client);
        found.is_some()
    });
    found.unwrap()
}

/// Ends a connection and waits for its record.
fn end(proxy: &Proxy, client: Stream) {
    client.end();
    client.receive_to_end();
    proxy.outcome_of(&client).must_be("ok");
}

fn used(proxy: &Proxy, endpoint: &str, limit: &str) -> f64 {
    let labels = [("endpoint", endpoint), ("limit", limit)];
    proxy
        .metrics()
        .count("reseal_admission_limit_used", &labels)
}
