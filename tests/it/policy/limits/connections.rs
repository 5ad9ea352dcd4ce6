//! Connections at a time and rates of new ones, of endpoints, routes and sources.

use super::{admitted, end, establish, forward, must_be_limited, must_be_reset, used};
use crate::harness::proxy_header::proxied;
use crate::harness::{End, Origin, Proxy, Stream, eventually, recorded_hello};

const INTERNAL_ERROR: u8 = 80;

#[test]
fn a_source_has_its_own_number_of_connections_and_gets_a_place_back() {
    let origin = Origin::echo();
    let proxy = forward("per_source: 2", &origin);
    let place = proxy.listen_addr("forward");
    let first = establish("127.0.0.8", place);
    let _second = establish("127.0.0.8", place);
    let refused = Stream::dial_from("127.0.0.8", place);
    must_be_reset(&refused);
    let detail = "`per_source: 2` of the endpoint";
    must_be_limited(
        &proxy.outcome_of(&refused),
        "limit_source",
        "source",
        detail,
    );
    let _other = establish("127.0.0.9", place);
    end(&proxy, first);
    let _again = admitted("127.0.0.8", place);
    must_be_reset(&Stream::dial_from("127.0.0.8", place));
}

#[test]
fn ipv6_sources_are_networks_of_64_bits_or_as_configured() {
    for (prefix, other, is_same) in [
        ("", "::1:0:0:0:1", false),
        (", source_prefix: { ipv6: 32 }", "2001:db8:1::1", true),
    ] {
        let origin = Origin::echo();
        let proxy = Proxy::builder()
            .forward(&origin)
            .on_endpoint("accept_proxy_protocol: { from: [127.0.0.0/8] }")
            .on_endpoint(&format!("limits: {{ per_source: 1{prefix} }}"))
            .start();
        let dial = |source: &str| {
            let client = proxy.dial("forward");
            let header = proxied(&format!("[{source}]:9"), "[::1]:1", &[]);
            client.write_raw(&header).unwrap();
            client
        };
        let held = dial("2001:db8::1");
        held.must_echo(b"x");
        must_be_reset(&dial("2001:db8::ffff"));
        let other = dial(other);
        match is_same {
            true => must_be_reset(&other),
            false => other.must_echo(b"x"),
        }
    }
}

#[test]
fn an_endpoint_refuses_connections_beyond_its_limit_at_once() {
    let origin = Origin::echo();
    let proxy = forward("connections: 2, when_full: refuse", &origin);
    let place = proxy.listen_addr("forward");
    let first = establish("127.0.0.1", place);
    let _second = establish("127.0.0.1", place);
    assert_eq!(used(&proxy, "forward", "connections"), 2.0);
    let refused = Stream::dial_from("127.0.0.1", place);
    must_be_reset(&refused);
    let record = proxy.outcome_of(&refused);
    record.must_have("stage", "admit");
    must_be_limited(
        &record,
        "limit_connections",
        "endpoint",
        "`connections: 2` of the endpoint",
    );
    end(&proxy, first);
    let _third = admitted("127.0.0.1", place);
}

#[test]
fn a_limit_that_refuses_clients_is_told_once_in_the_log() {
    let origin = Origin::echo();
    for (limits, limit) in [
        ("connections: 1, when_full: refuse", "connections"),
        ("per_source: 1", "per_source"),
        ("new: 1/m", "new"),
        ("new_per_source: 1/m", "new_per_source"),
    ] {
        let proxy = forward(limits, &origin);
        let place = proxy.listen_addr("forward");
        let _first = establish("127.0.0.2", place);
        for _ in 0..2 {
            must_be_reset(&Stream::dial_from("127.0.0.2", place));
        }
        proxy.outcomes(2);
        let name = format!("\"limit\":\"limits.{limit} of endpoint forward\"");
        let is_told = |line: &str| line.contains("clients are refused") && line.contains(&name);
        proxy.log_line(is_told);
        let lines = proxy.log();
        assert_eq!(lines.iter().filter(|line| is_told(line)).count(), 1);
    }
}

#[test]
fn a_full_queue_is_told_in_the_log() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .origins(&format!("[{{ address: \"{origin}\", connections: 1 }}]"))
        .on_upstream("connect: { queue: 0 }")
        .start();
    let _first = establish("127.0.0.2", proxy.listen_addr("forward"));
    must_be_reset(&proxy.dial("forward"));
    proxy.outcome().must_be("queue_full");
    proxy.log_line(|line| line.contains("connections are refused"));
}

#[test]
fn an_endpoint_lets_clients_wait_for_a_place_and_others_go_on() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { workers: 2 }")
        .forward(&origin)
        .on_endpoint("limits: { connections: 2 }")
        .endpoint("other", "tcp")
        .route("forward", "", &origin)
        .named("more")
        .admin()
        .start();
    let place = proxy.listen_addr("forward");
    let first = establish("127.0.0.1", place);
    let second = establish("127.0.0.1", place);
    // In the kernel's queue: connected, but not accepted.
    let waiting = [proxy.dial("forward"), proxy.dial("forward")];
    for client in &waiting {
        client.write_raw(b"early").unwrap();
    }
    proxy.log_line(|line| line.contains("clients wait") && line.contains("endpoint forward"));
    establish("127.0.0.1", proxy.listen_addr("other"));
    end(&proxy, first);
    end(&proxy, second);
    for client in &waiting {
        assert_eq!(client.receive(5), b"early");
    }
    assert_eq!(used(&proxy, "forward", "connections"), 2.0);
}

#[test]
fn the_oldest_silent_connection_makes_room_before_anybody_waits_or_is_refused() {
    for when_full in ["wait", "refuse"] {
        let origin = Origin::echo();
        let proxy = Proxy::builder()
            .terminate("a.test", &origin)
            .on_endpoint("timeouts: { hello: 60s, client: 60s }")
            .on_endpoint(&format!(
                "limits: {{ connections: 2, when_full: {when_full} }}"
            ))
            .admin()
            .start();
        let live = proxy.client("a.test").connect();
        live.must_echo(b"established");
        let silent = proxy.dial("edge");
        eventually("it is accepted", || {
            used(&proxy, "edge", "connections") == 2.0
        });
        let client = proxy.client("a.test").connect();
        client.must_echo(b"in its place");
        must_be_reset(&silent);
        proxy.outcome_of(&silent).must_be("probe_dropped");
        live.must_echo(b"and still established");
    }
}

#[test]
fn a_rate_has_a_burst_of_one_period_and_then_refuses() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_endpoint("limits: { new_per_source: 3/m }")
        .endpoint("all", "tcp")
        .on_endpoint("limits: { new: 4/m }")
        .route("forward", "", &origin)
        .named("all")
        .admin()
        .start();
    let place = proxy.listen_addr("forward");
    for _ in 0..3 {
        end(&proxy, establish("127.0.0.8", place));
    }
    let refused = Stream::dial_from("127.0.0.8", place);
    must_be_reset(&refused);
    let detail = "`new_per_source: 3/m` of the endpoint";
    must_be_limited(&proxy.outcome_of(&refused), "limit_rate", "source", detail);
    end(&proxy, establish("127.0.0.9", place));
    let place = proxy.listen_addr("all");
    for source in ["127.0.0.8", "127.0.0.9", "127.0.0.8", "127.0.0.9"] {
        end(&proxy, establish(source, place));
    }
    let refused = Stream::dial_from("127.0.0.10", place);
    must_be_reset(&refused);
    must_be_limited(
        &proxy.outcome_of(&refused),
        "limit_rate",
        "endpoint",
        "`new: 4/m` of the endpoint",
    );
    let labels = [("endpoint", "all"), ("limit", "new"), ("dry_run", "false")];
    assert_eq!(
        proxy
            .metrics()
            .count("reseal_admission_refused_total", &labels),
        1.0
    );
}

#[test]
fn the_limits_of_a_route_refuse_by_an_alert_and_leave_other_routes_alone() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_route("limits: { connections: 1 }")
        .passthrough("b.test", &origin)
        .on_route("limits: { per_source: 1 }")
        .terminate("c.test", &origin)
        .on_route("limits: { new: 1/m }")
        .terminate("d.test", &origin)
        .on_route("limits: { new_per_source: 1/m }")
        .forward(&origin)
        .on_route("limits: { connections: 1 }")
        .admin()
        .start();
    let hello = recorded_hello("b.test");
    let through = proxy.dial("edge");
    through.must_echo(&hello);
    let _plain = establish("127.0.0.1", proxy.listen_addr("forward"));
    let _held: Vec<_> = ["a.test", "c.test", "d.test"]
        .map(|name| {
            let client = proxy.client(name).connect();
            client.must_echo(b"first");
            client
        })
        .into();
    for (name, reason, owner, detail) in [
        (
            "a.test",
            "limit_connections",
            "route",
            "`connections: 1` of the route",
        ),
        (
            "b.test",
            "limit_source",
            "source",
            "`per_source: 1` of the route",
        ),
        ("c.test", "limit_rate", "route", "`new: 1/m` of the route"),
        (
            "d.test",
            "limit_rate",
            "source",
            "`new_per_source: 1/m` of the route",
        ),
    ] {
        assert_eq!(
            proxy.client(name).refusal(),
            End::Alert(INTERNAL_ERROR),
            "{name}"
        );
        let record = proxy.outcome();
        record.must_have("route", name).must_have("stage", "route");
        must_be_limited(&record, reason, owner, detail);
    }
    let plain = proxy.dial("forward");
    must_be_reset(&plain);
    proxy.outcome_of(&plain).must_be("limit_connections");
    through.must_echo(b"and this goes on");
}

#[test]
fn every_permit_is_free_again_however_connections_end() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("limits: { connections: 100, per_source: 100, handshakes: 50, handshakes_per_source: 60 }")
        .on_endpoint("timeouts: { hello: 1s, client: 2s }")
        .on_route("limits: { connections: 100, per_source: 100 }")
        .admin()
        .start();
    let hello = recorded_hello("a.test");
    let client = proxy.client("a.test");
    for round in 0..8 {
        let silent = proxy.dial("edge");
        let half = proxy.dial("edge");
        half.write_raw(&hello[..hello.len() / 2]).unwrap();
        let stalled = proxy.dial("edge");
        stalled.write_raw(&hello).unwrap();
        let unknown = proxy.client("b.test");
        let _ = unknown.refusal();
        let live = client.connect();
        live.must_echo(b"x");
        match round % 3 {
            0 => live.reset(),
            1 => live.end(),
            _ => drop(live),
        }
        if round % 2 == 0 {
            silent.reset();
            half.reset();
            stalled.reset();
        }
    }
    eventually("nothing is counted any more", || {
        let metrics = proxy.metrics();
        let count = |name, labels: &[(&str, &str)]| metrics.count(name, labels);
        count("reseal_connections_live", &[]) == 0.0
            && ["connections", "handshakes"].iter().all(|limit| {
                let labels = [("endpoint", "edge"), ("route", ""), ("limit", *limit)];
                count("reseal_admission_limit_used", &labels) == 0.0
            })
            && count(
                "reseal_admission_limit_used",
                &[("route", "a.test"), ("limit", "connections")],
            ) == 0.0
            && count("reseal_sources_tracked", &[]) == 0.0
    });
}
