//! Handshakes at a time, of an endpoint and of each of its sources.

use super::must_be_limited;
use crate::harness::{End, Origin, Proxy, eventually, recorded_hello};

const INTERNAL_ERROR: u8 = 80;

#[test]
fn handshakes_are_bounded_by_endpoint_and_by_source() {
    for (limits, owner, detail) in [
        (
            "handshakes_per_source: 1",
            "source",
            "`handshakes_per_source: 1` of the endpoint",
        ),
        (
            "handshakes: 1, when_full: refuse",
            "endpoint",
            "`handshakes: 1` of the endpoint",
        ),
    ] {
        let origin = Origin::echo();
        let proxy = Proxy::builder()
            .terminate("a.test", &origin)
            .on_endpoint("timeouts: { hello: 60s, client: 60s }")
            .on_endpoint(&format!("limits: {{ {limits} }}"))
            .start();
        let client = proxy.client("a.test");
        let stalled = proxy.dial("edge");
        stalled.write_raw(&recorded_hello("a.test")).unwrap();
        // The server's part of the handshake has come: it is under way.
        assert!(!stalled.receive(5).is_empty());
        assert_eq!(client.refusal(), End::Alert(INTERNAL_ERROR), "{limits}");
        let record = proxy.outcome();
        record.must_have("stage", "client_tls");
        must_be_limited(&record, "limit_handshakes", owner, detail);
        stalled.reset();
        eventually("its permit is free", || client.try_connect().is_ok());
    }
}

#[test]
fn a_handshake_waits_for_a_place_at_its_endpoint() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { hello: 60s, client: 60s }")
        .on_endpoint("limits: { handshakes: 1 }")
        .start();
    let stalled = proxy.dial("edge");
    stalled.write_raw(&recorded_hello("a.test")).unwrap();
    assert!(!stalled.receive(5).is_empty());
    // The stalled one gives its permit back after a second.
    proxy.client("a.test").connect().must_echo(b"served");
}
