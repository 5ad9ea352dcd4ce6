//! Delays that are made on purpose, to test applications.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{ConfigCheck, End, Origin, Proxy, eventually, noise, reseal};

fn delayed(origin: &Origin, delay: &str, timeouts: &str) -> Proxy {
    Proxy::builder()
        .forward(origin)
        .on_endpoint(&format!("timeouts: {{ {timeouts} }}"))
        .on_route(&format!("delay: {{ {delay} }}"))
        .admin()
        .start()
}

#[test]
fn each_chunk_comes_later_in_both_directions_and_no_connection_is_idle_meanwhile() {
    let origin = Origin::echo();
    let proxy = delayed(&origin, "chunk: 3s", "idle: 2s, half_close: 2s");
    let client = proxy.dial("forward");
    let start = Instant::now();
    client.send(b"there and back");
    client.end();
    let end = (b"there and back".to_vec(), End::Clean);
    assert_eq!(client.receive_to_end(), end);
    assert!(start.elapsed() >= Duration::from_secs(6));
    proxy.outcome_of(&client).must_be("ok");
}

#[test]
fn the_first_byte_of_the_origin_comes_later_and_those_of_the_client_do_not() {
    let origin = Origin::plain().serve(|stream| {
        let asked = Instant::now();
        stream.send(b"greeting");
        assert_eq!(stream.receive(1), b"x");
        let waited = asked.elapsed().as_millis();
        stream.send(waited.to_string());
        stream.end();
    });
    let proxy = delayed(&origin, "first_byte: 3s", "");
    let client = proxy.dial("forward");
    let start = Instant::now();
    client.send(b"x");
    let (data, end) = client.receive_to_end();
    assert!(start.elapsed() >= Duration::from_secs(3));
    assert_eq!(end, End::Clean);
    let waited = String::from_utf8(data).unwrap();
    let waited: u64 = waited.strip_prefix("greeting").unwrap().parse().unwrap();
    assert!(waited < 3000, "{waited} ms");
}

#[test]
fn the_origin_is_dialled_after_the_delay_and_its_timeout_begins_then() {
    let origin = Origin::echo();
    let proxy = delayed(&origin, "connect: 400ms", "origin: 300ms");
    let client = proxy.dial("forward");
    let start = Instant::now();
    client.must_echo(b"early");
    assert!(start.elapsed() >= Duration::from_millis(390));
    client.end();
    client.receive_to_end();
    let record = proxy.outcome_of(&client);
    record.must_be("ok");
    assert!(record["ms"]["connect"].as_f64().unwrap() >= 390.0);
}

#[test]
fn an_end_during_the_delay_of_a_connect_is_not_lost() {
    let (origin, reports) = Origin::plain().reporting();
    let proxy = delayed(&origin, "connect: 300ms", "");
    let client = proxy.dial("forward");
    client.send(b"all of it");
    client.end();
    assert_eq!(client.receive_to_end(), (vec![], End::Clean));
    let report = reports.recv().unwrap();
    assert_eq!(
        (report.data, report.end),
        (b"all of it".to_vec(), End::Clean)
    );
    proxy.outcome_of(&client).must_be("ok");
}

#[test]
fn a_client_that_resets_before_the_dial_costs_the_origin_nothing() {
    let origin = Origin::echo();
    let proxy = delayed(&origin, "connect: 1h", "");
    let client = proxy.dial("forward");
    let address = client.local();
    let live = || proxy.metrics().count("reseal_connections_live", &[]);
    eventually("it is accepted", || live() == 1.0);
    client.reset();
    let record = proxy.outcome_from(address);
    record.must_be("client_reset").must_have("stage", "connect");
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn a_lifetime_and_a_drain_end_the_longest_delay() {
    let origin = Origin::echo();
    let proxy = delayed(&origin, "connect: 1h", "lifetime: 300ms");
    let client = proxy.dial("forward");
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    proxy.outcome_of(&client).must_be("lifetime");

    for delay in ["connect: 1h", "chunk: 1h"] {
        let mut proxy = Proxy::builder()
            .top("process: { drain: { stop: 300ms } }")
            .forward(&origin)
            .on_route(&format!("delay: {{ {delay} }}"))
            .admin()
            .start();
        let client = proxy.dial("forward");
        client.send(b"x");
        let live = || proxy.metrics().count("reseal_connections_live", &[]);
        eventually("it is accepted", || live() == 1.0);
        proxy.signal(Signal::TERM);
        assert_eq!(client.receive_to_end(), (vec![], End::Reset), "{delay}");
        proxy.outcome_of(&client).must_be("drain");
        assert_eq!(proxy.exit_code(), 1, "{delay}");
    }
}

#[test]
fn delays_and_bandwidth_go_together_and_keep_the_bytes() {
    let origin = Origin::with_tls().serve(|stream| {
        stream.send(noise(64 << 10, 1));
        stream.end();
        stream.receive_to_end();
    });
    let proxy = Proxy::builder()
        .originate(&origin)
        .on_route("delay: { connect: 10ms, first_byte: 50ms, chunk: 10ms }")
        .on_route("limits: { bandwidth: { down: 128KiB/s } }")
        .start();
    let client = proxy.dial("originate");
    assert_eq!(client.receive_to_end(), (noise(64 << 10, 1), End::Clean));
}

fn checked(protocol: &str, delay: &str) -> ConfigCheck {
    let (matching, mode) = match protocol {
        "tcp" => ("", "forward"),
        _ => ("sni: a.test", "passthrough"),
    };
    ConfigCheck::new(&format!(
        "endpoints:
  - name: edge
    listen: 127.0.0.1:0
    protocol: {protocol}
    routes:
      - {{ name: one, match: {{ {matching} }}, mode: {mode}, upstream: up, delay: {{ {delay} }} }}
upstreams: {{ up: {{ origins: [127.0.0.1:9] }} }}
"
    ))
}

#[test]
fn delays_that_cannot_work_are_told() {
    for delay in ["connect: 1s", "first_byte: 1s", "chunk: 1s"] {
        checked("tls", delay).must_report(
            &format!("{{ {delay} }}"),
            &[
                "`delay` is for tests of applications",
                "real clients",
                "`protocol: tcp`",
            ],
        );
        checked("tcp", delay).must_be_good();
    }
    checked("tls", "connect: none").must_be_good();
    checked("tcp", "chunk: 0s").must_report("0s", &["is no delay", "write `none`"]);
    checked("tcp", "chunk: 2h").must_report("2h", &["out of bounds", "at most `1h`"]);
    checked("tcp", "chunk: 100").must_report("100", &["has no unit"]);
    checked("tcp", "latency: 1s").must_report("latency", &["`chunk`"]);
}

#[test]
fn explain_lists_the_delays() {
    let config = checked("tcp", "connect: 1s, chunk: 100ms");
    let path = config.path().display().to_string();
    reseal(&["explain", "--config", &path, "--endpoint", "edge"])
        .must_exit_with(0)
        .must_print("connect 1s, chunk 0.1s");
}
