//! Metrics of the steps of a connection and of origins.

use crate::harness::{Exposition, Origin, Proxy, dead_address, eventually};

const UPSTREAM: (&str, &str) = ("upstream", "upstream-0");

fn exchange(proxy: &Proxy) {
    let client = proxy.client("a.test").connect();
    client.must_echo(b"x");
    client.end();
    client.receive_to_end();
}

#[test]
fn handshakes_connects_and_connections_are_in_histograms() {
    let origin = Origin::with_tls().echo();
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .passthrough("b.test", &origin)
        .admin()
        .start();
    let live = proxy.client("a.test").connect();
    live.must_echo(b"x");
    let during = proxy.metrics();
    let count = |page: &Exposition, name: &str, labels: &[(&str, &str)]| {
        page.count(&format!("{name}_duration_seconds_count"), labels)
    };
    assert_eq!(count(&during, "reseal_connection", &[]), 0.0);
    let edge = ("endpoint", "edge");
    assert_eq!(count(&during, "reseal_handshake", &[edge]), 1.0);
    for step in ["reseal_origin_connect", "reseal_origin_handshake"] {
        assert_eq!(count(&during, step, &[UPSTREAM]), 1.0, "{step}");
    }
    let labels = [UPSTREAM, ("version", "TLSv1.3"), ("resumed", "false")];
    let handshakes = during.sum("reseal_origin_handshakes_total", &labels);
    assert_eq!(handshakes, Some(1.0));
    live.end();
    live.receive_to_end();
    // Nothing but the connect is Reseal's in a passthrough.
    let through = proxy.client("b.test").connect();
    through.must_echo(b"x");
    through.end();
    through.receive_to_end();
    proxy.client("c.test").refusal();
    let after = proxy.metrics_at_rest();
    assert_eq!(count(&after, "reseal_handshake", &[]), 1.0);
    assert_eq!(count(&after, "reseal_origin_handshake", &[]), 1.0);
    assert_eq!(count(&after, "reseal_origin_connect", &[]), 2.0);
    for route in ["a.test", "b.test"] {
        let labels = [edge, ("route", route)];
        assert_eq!(count(&after, "reseal_connection", &labels), 1.0, "{route}");
    }
    assert_eq!(count(&after, "reseal_connection", &[]), 2.0);
    let seconds = after.count("reseal_connection_duration_seconds_sum", &[]);
    assert!(seconds > 0.0, "{seconds}");
}

#[test]
fn failures_and_retries_are_counted_by_origin() {
    let (dead, _held) = dead_address();
    let alive = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &dead)
        .origins(&format!(
            "[{{ address: \"{dead}\", name: dead }}, {{ address: \"{alive}\", name: alive }}]"
        ))
        .on_upstream("balance: first")
        .admin()
        .start();
    let before = proxy.metrics();
    for origin in ["dead", "alive"] {
        for family in ["connections", "retries"] {
            let name = format!("reseal_origin_{family}_total");
            let labels = [UPSTREAM, ("origin", origin)];
            assert_eq!(before.sum(&name, &labels), Some(0.0), "{name} {origin}");
        }
    }
    exchange(&proxy);
    exchange(&proxy);
    let after = proxy.metrics_at_rest();
    let count = |family: &str, origin: &str| {
        let labels = [UPSTREAM, ("origin", origin)];
        after.count(&format!("reseal_origin_{family}_total"), &labels)
    };
    assert_eq!(count("failures", "dead"), 2.0);
    let refused = [("origin", "dead"), ("reason", "origin_refused")];
    let failures = after.sum("reseal_origin_failures_total", &refused);
    assert_eq!(failures, Some(2.0));
    assert_eq!(count("failures", "alive"), 0.0);
    assert_eq!(count("retries", "alive"), 2.0);
    assert_eq!(count("retries", "dead"), 0.0);
    assert_eq!(count("connections", "alive"), 2.0);
    assert_eq!(count("connections", "dead"), 0.0);
}

#[test]
fn checks_are_counted_by_result_and_changes_of_state_have_their_time() {
    let (dead, _held) = dead_address();
    let alive = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&dead)
        .origins(&format!(
            "[{{ address: \"{dead}\", name: dead }}, {{ address: \"{alive}\", name: alive }}]"
        ))
        .on_upstream("health: { check: tcp, interval: 50ms }")
        .admin()
        .start();
    let of = |origin: &'static str| [UPSTREAM, ("origin", origin)];
    let changed = |origin: &'static str| {
        let name = "reseal_origin_last_change_timestamp_seconds";
        proxy.metrics().sum(name, &of(origin)).unwrap()
    };
    let first = changed("alive");
    let start = proxy.metrics().count("process_start_time_seconds", &[]);
    assert!(first >= start, "{first} {start}");
    for (origin, result, never) in [("dead", "failed", "passed"), ("alive", "passed", "failed")] {
        eventually("checks are counted", || {
            let result = [UPSTREAM, ("origin", origin), ("result", result)];
            let done = proxy.metrics().sum("reseal_origin_checks_total", &result);
            done >= Some(3.0)
        });
        let never = [UPSTREAM, ("origin", origin), ("result", never)];
        let page = proxy.metrics();
        let done = page.sum("reseal_origin_checks_total", &never);
        assert_eq!(done, Some(0.0), "{origin}");
    }
    eventually("the dead one is down", || {
        let usable = "reseal_origin_usable_addresses";
        proxy.metrics().sum(usable, &of("dead")) == Some(0.0)
    });
    assert!(changed("dead") > first);
    assert_eq!(changed("alive"), first);
    let order = ["origin", "upstream-0", "alive", "disable"];
    proxy.ctl(&order).must_exit_with(0);
    assert!(changed("alive") > first);
}
