//! Limits of endpoints and routes: connections, rates and handshakes, of all and of each source.

use super::admission::dial_from;
use crate::harness::proxy_header::proxied;
use crate::harness::{
    ConfigCheck, End, ListenAddr, Origin, Proxy, Record, Stream, eventually, recorded_hello, reseal,
};

const INTERNAL_ERROR: u8 = 80;

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
    let client = dial_from(source, place);
    client.must_echo(b"x");
    client
}

/// The same, as soon as there is a place: the record of an end comes just before its permits are free.
#[track_caller]
fn admitted(source: &str, place: &ListenAddr) -> Stream {
    let mut found = None;
    eventually("there is a place", || {
        let client = dial_from(source, place);
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

#[test]
fn a_source_has_its_own_number_of_connections_and_gets_a_place_back() {
    let origin = Origin::echo();
    let proxy = forward("per_source: 2", &origin);
    let place = proxy.listen_addr("forward");
    let first = establish("127.0.0.8", place);
    let _second = establish("127.0.0.8", place);
    let refused = dial_from("127.0.0.8", place);
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
    must_be_reset(&dial_from("127.0.0.8", place));
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
    let refused = dial_from("127.0.0.1", place);
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
fn a_reload_that_raises_the_limit_serves_who_waits() {
    let origin = Origin::echo();
    // One worker accepts in the order of arrival.
    let proxy = Proxy::builder()
        .top("process: { workers: 1 }")
        .forward(&origin)
        .on_endpoint("limits: { connections: 1 }")
        .start();
    let first = establish("127.0.0.1", proxy.listen_addr("forward"));
    let waiting = [proxy.dial("forward"), proxy.dial("forward")];
    proxy.log_line(|line| line.contains("clients wait"));
    proxy.reload(&proxy.text().replace("connections: 1", "connections: 2"));
    waiting[0].must_echo(b"served");
    proxy.reload(
        &proxy
            .text()
            .replace("limits: { connections: 1 }", "backlog: 100"),
    );
    waiting[1].must_echo(b"served");
    first.must_echo(b"and still here");
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
    let refused = dial_from("127.0.0.8", place);
    must_be_reset(&refused);
    let detail = "`new_per_source: 3/m` of the endpoint";
    must_be_limited(&proxy.outcome_of(&refused), "limit_rate", "source", detail);
    end(&proxy, establish("127.0.0.9", place));
    let place = proxy.listen_addr("all");
    for source in ["127.0.0.8", "127.0.0.9", "127.0.0.8", "127.0.0.9"] {
        end(&proxy, establish(source, place));
    }
    let refused = dial_from("127.0.0.10", place);
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

#[test]
fn a_dry_run_admits_counts_and_records_what_it_would_refuse() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_endpoint("limits: { connections: 1, per_source: 1, new_per_source: 1/m, new: 1/m, dry_run: true }")
        .on_route("limits: { connections: 1, dry_run: true }")
        .admin()
        .start();
    let place = proxy.listen_addr("forward");
    let first = establish("127.0.0.1", place);
    let second = establish("127.0.0.1", place);
    end(&proxy, second);
    first.end();
    first.receive_to_end();
    let record = proxy.outcome_of(&first);
    assert!(!record.must_be("ok").has("dry_run"), "{record:?}");
    let refused = |endpoint_limit: &str, route: &str, dry_run: &str| {
        let labels = [
            ("endpoint", "forward"),
            ("route", route),
            ("limit", endpoint_limit),
            ("dry_run", dry_run),
        ];
        proxy
            .metrics()
            .count("reseal_admission_refused_total", &labels)
    };
    for limit in ["connections", "per_source", "new_per_source", "new"] {
        assert_eq!(
            (refused(limit, "", "true"), refused(limit, "", "false")),
            (1.0, 0.0),
            "{limit}"
        );
    }
    assert_eq!(refused("connections", "forward", "true"), 1.0);
}

#[test]
fn the_record_of_a_dry_run_names_the_reasons() {
    let origin = Origin::echo();
    let proxy = forward("per_source: 1, new: 1/m, dry_run: true", &origin);
    let place = proxy.listen_addr("forward");
    let _first = establish("127.0.0.1", place);
    let second = establish("127.0.0.1", place);
    second.end();
    second.receive_to_end();
    let record = proxy.outcome_of(&second);
    record.must_be("ok");
    assert_eq!(
        record["dry_run"],
        serde_json::json!(["limit_source", "limit_rate"])
    );
}

#[test]
fn a_reload_changes_limits_and_keeps_what_is_counted() {
    let origin = Origin::echo();
    let proxy = forward("per_source: 2, new_per_source: 5/m", &origin);
    let place = proxy.listen_addr("forward");
    let held = [establish("127.0.0.8", place), establish("127.0.0.8", place)];
    for (limits, is_admitted) in [
        ("per_source: 3, new_per_source: 5/m", true),
        ("per_source: 2, new_per_source: 5/m", false),
        ("per_source: 9, new_per_source: 4/m", true),
        ("per_source: 9, new_per_source: 4/m", false),
        ("per_source: 9", true),
    ] {
        let text = proxy
            .text()
            .replace("per_source: 2, new_per_source: 5/m", limits);
        proxy.reload(&text);
        let client = dial_from("127.0.0.8", place);
        match is_admitted {
            true => {
                client.must_echo(b"x");
                end(&proxy, client);
            }
            false => must_be_reset(&client),
        }
    }
    held.iter().for_each(|client| client.must_echo(b"x"));
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

fn checked(endpoint: &str, route: &str) -> ConfigCheck {
    ConfigCheck::new(&format!(
        "process: {{ limits: {{ connections: 504 }} }}
endpoints:
  - name: edge
    listen: 127.0.0.1:0
    limits: {{ {endpoint} }}
    routes:
      - {{ name: one, match: {{ sni: a.test }}, mode: passthrough, upstream: up, limits: {{ {route} }} }}
upstreams: {{ up: {{ origins: [127.0.0.1:9] }} }}
"
    ))
}

#[test]
fn limits_that_cannot_work_are_told() {
    checked("connections: 0", "").must_report("0 }", &["would let nothing through"]);
    checked("new: 0/s", "").must_report("0/s", &["would let nothing through"]);
    checked("new: 50", "").must_report("50 }", &["is not a rate", "write `50/s`"]);
    checked("", "handshakes: 5").must_report("handshakes", &["limited by endpoint"]);
    for (endpoint, route, about, words) in [
        (
            "connections: 10",
            "connections: 11",
            "11",
            "`connections` can never be reached: that of the endpoint is less",
        ),
        (
            "new: 1/s",
            "new: 61/m",
            "61/m",
            "`new` can never be reached",
        ),
        (
            "connections: 505",
            "",
            "505",
            "`process.limits.connections` is less",
        ),
        (
            "connections: 10, per_source: 11",
            "",
            "11",
            "`per_source` can never be reached: `connections` is less",
        ),
        (
            "",
            "new: 10/s, new_per_source: 11/s",
            "11/s",
            "`new_per_source` can never be reached",
        ),
        ("dry_run: true", "", "true", "this endpoint has no limit"),
        ("", "dry_run: true", "true", "this route has no limit"),
        (
            "per_source: 1, when_full: refuse",
            "",
            "refuse",
            "`when_full` has no effect",
        ),
        (
            "connections: 1, source_prefix: { ipv6: 56 }",
            "",
            "{ ipv6",
            "`source_prefix` has no effect",
        ),
        (
            "handshakes: 7",
            "",
            "7 }",
            "no route of this endpoint terminates TLS",
        ),
    ] {
        checked(endpoint, route).must_warn(about, &[words]);
    }
    checked(
        "connections: 500, per_source: 10, new: 1/s",
        "connections: 500, new: 60/m",
    )
    .must_be_good();
}

#[test]
fn explain_says_how_full_the_limits_of_the_running_process_are() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_endpoint(
            "limits: { connections: 2, when_full: refuse, per_source: 9, new_per_source: 9/m }",
        )
        .on_route("limits: { new: 1/m, dry_run: true }")
        .admin()
        .start();
    let config = proxy.directory().join("config.yaml");
    let config = config.display().to_string();
    let explain = || {
        let source = ["--source", "127.0.0.1"];
        let words = ["explain", "--config", &config, "--endpoint", "forward"];
        reseal(&[&words[..], &source].concat())
    };
    let place = proxy.listen_addr("forward");
    let _first = establish("127.0.0.1", place);
    explain()
        .must_exit_with(0)
        .must_print("connections 2 (1 in use), per_source 9 (1 in use), new_per_source 9/m")
        .must_print("route: new 1/m (reached: the next client is counted), dry run");
    let _second = establish("127.0.0.2", place);
    explain()
        .must_exit_with(1)
        .must_print("connections 2 (2 in use, reached: the next client is refused)")
        .must_print("refused: limit_connections");
    let shown = proxy.ctl(&["limits", "forward", "--source", "127.0.0.2"]);
    shown.must_exit_with(0).must_print("NEXT CLIENT");
    let limits = proxy.ctl_json(&[
        "limits",
        "forward",
        "--route",
        "forward",
        "--source",
        "127.0.0.2",
    ]);
    let limits = limits["limits"].as_array().unwrap();
    assert_eq!(limits.len(), 4, "{limits:?}");
    assert_eq!(
        (&limits[1]["used"], &limits[1]["next"]),
        (&1.into(), &"admitted".into())
    );
    proxy
        .ctl(&["limits", "nowhere"])
        .must_exit_with(1)
        .must_print("no endpoint of this name");
}

#[test]
fn explain_lists_the_limits() {
    let config = checked(
        "connections: 2, new_per_source: 9/m, dry_run: true",
        "per_source: 5",
    );
    let path = config.path().display().to_string();
    let words = [
        "explain",
        "--config",
        &path,
        "--endpoint",
        "edge",
        "--sni",
        "a.test",
    ];
    let explained = reseal(&words);
    explained.must_exit_with(0);
    explained.must_print("endpoint: connections 2, new_per_source 9/m, dry run");
    explained.must_print("route: per_source 5");
}
