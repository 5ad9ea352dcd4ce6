//! Limits of bandwidth: what is held back, what is not, and that every end still comes. How exact and fair
//! they are is tested on a clock of their own, in `src/bandwidth`.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{ConfigCheck, End, Origin, Proxy, Stream, eventually, noise, reseal};

/// An origin that sends so many bytes and then ends.
fn firehose(bytes: usize) -> Origin {
    Origin::plain().serve(move |stream| {
        let _ = stream.try_send(noise(bytes, 1));
        stream.end();
        stream.receive_to_end();
    })
}

fn forward(origin: &Origin, limits: &str, timeouts: &str) -> Proxy {
    Proxy::builder()
        .forward(origin)
        .on_endpoint(&format!("timeouts: {{ {timeouts} }}"))
        .on_route(&format!("limits: {{ {limits} }}"))
        .admin()
        .start()
}

fn waiting(proxy: &Proxy, direction: &str) -> f64 {
    let labels = [("direction", direction)];
    proxy.metrics().count("reseal_bandwidth_waiting", &labels)
}

/// A connection that waits for more than a second's worth of its route's bandwidth.
fn held_back(proxy: &Proxy) -> Stream {
    let client = proxy.dial("forward");
    eventually("the answer waits", || waiting(proxy, "down") == 1.0);
    client
}

fn delayed(proxy: &Proxy, limit: &str, direction: &str, dry_run: &str) -> f64 {
    let labels = [
        ("limit", limit),
        ("direction", direction),
        ("dry_run", dry_run),
    ];
    proxy
        .metrics()
        .count("reseal_bandwidth_delayed_bytes_total", &labels)
}

/// At this rate no transfer of the tests would end in time.
const SLOW: &str = "bandwidth: { down: 1KiB/s }";
const LARGE: usize = 1 << 20;

#[test]
fn each_direction_of_a_route_and_of_a_connection_has_its_own_rate() {
    for limit in ["bandwidth", "bandwidth_per_connection"] {
        let origin = firehose(LARGE);
        let proxy = forward(&origin, &format!("{limit}: {{ down: 1MiB/s }}"), "");
        let start = Instant::now();
        let client = proxy.dial("forward");
        client.send(noise(4 * LARGE, 2));
        client.end();
        assert_eq!(client.receive_to_end(), (noise(LARGE, 1), End::Clean));
        // A tenth of a second's worth is there at once.
        assert!(start.elapsed() > Duration::from_millis(850), "{limit}");
        proxy.outcome_of(&client).must_be("ok");
        assert!(delayed(&proxy, limit, "down", "false") > LARGE as f64 / 2.0);
        let rates = "reseal_bandwidth_limit_bytes_per_second";
        let labels = [("limit", limit), ("direction", "down")];
        assert_eq!(proxy.metrics().count(rates, &labels), LARGE as f64);
        assert_eq!(waiting(&proxy, "down"), 0.0);
    }
}

#[test]
fn connections_of_a_route_share_its_bandwidth_and_those_of_others_do_not() {
    let origin = firehose(LARGE);
    let proxy = Proxy::builder()
        .top("process: { workers: 2 }")
        .forward(&origin)
        .on_route("limits: { bandwidth: { down: 2MiB/s } }")
        .endpoint("free", "tcp")
        .route("forward", "", &origin)
        .named("free")
        .start();
    let start = Instant::now();
    let clients: Vec<_> = (0..4).map(|_| proxy.dial("forward")).collect();
    let free = proxy.dial("free").receive_to_end();
    assert_eq!(free, (noise(LARGE, 1), End::Clean));
    let readers: Vec<_> = clients
        .into_iter()
        .map(|client| std::thread::spawn(move || client.receive_to_end()))
        .collect();
    for reader in readers {
        assert_eq!(reader.join().unwrap(), (noise(LARGE, 1), End::Clean));
    }
    assert!(start.elapsed() > Duration::from_millis(1850));
}

#[test]
fn every_mode_keeps_its_rate_and_its_bytes() {
    let (plain, sealed) = (firehose(LARGE), {
        Origin::with_tls().serve(|stream| {
            stream.send(noise(LARGE, 1));
            stream.end();
            stream.receive_to_end();
        })
    });
    let limits = "limits: { bandwidth: { up: 1MiB/s, down: 1MiB/s } }";
    let proxy = Proxy::builder()
        .terminate("terminate.test", &plain)
        .on_route(limits)
        .reencrypt("reencrypt.test", &sealed)
        .on_route(limits)
        .passthrough("b.test", &sealed)
        .on_route(limits)
        .start();
    for name in ["terminate.test", "reencrypt.test", "b.test"] {
        let start = Instant::now();
        let client = proxy.client(name).connect();
        let sender = client.clone();
        let sending = std::thread::spawn(move || {
            sender.send(noise(LARGE, 2));
            sender.end();
        });
        assert_eq!(
            client.receive_to_end(),
            (noise(LARGE, 1), End::Clean),
            "{name}"
        );
        sending.join().unwrap();
        assert!(start.elapsed() > Duration::from_millis(850), "{name}");
        proxy.outcome_of(&client).must_be("ok");
    }
}

#[test]
fn a_clean_end_waits_for_its_bytes() {
    let origin = firehose(2 << 10);
    let proxy = forward(&origin, "bandwidth: { down: 1KiB/s }", "");
    let client = proxy.dial("forward");
    client.end();
    assert_eq!(client.receive_to_end(), (noise(2 << 10, 1), End::Clean));
    proxy.outcome_of(&client).must_be("ok");
}

#[test]
fn a_close_notify_waits_for_the_records_before_it() {
    let data = noise(40 << 10, 1);
    let sent = data.clone();
    let origin = Origin::with_tls().serve(move |stream| {
        stream.send(&sent);
        stream.close_notify();
        stream.receive_to_end();
    });
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .on_route("limits: { bandwidth: { down: 16KiB/s } }")
        .start();
    let client = proxy.client("a.test").connect();
    client.end();
    assert_eq!(client.receive_to_end(), (data, End::Clean));
    proxy.outcome_of(&client).must_be("ok");
}

#[test]
fn a_reload_changes_the_rate_of_what_runs() {
    for limits in ["bandwidth: { down: 1GiB/s }", "per_source: 9", ""] {
        let origin = firehose(LARGE);
        let proxy = forward(&origin, SLOW, "");
        let client = held_back(&proxy);
        proxy.reload(&proxy.text().replace(SLOW, limits));
        assert_eq!(
            client.receive_to_end(),
            (noise(LARGE, 1), End::Clean),
            "{limits}"
        );
    }
}

#[test]
fn an_end_that_reseal_decides_comes_while_bytes_wait() {
    let origin = firehose(LARGE);
    let proxy = forward(&origin, SLOW, "");
    let client = held_back(&proxy);
    let connections = proxy.ctl_json(&["connections"]);
    let id = connections["connections"][0]["id"].as_str().unwrap();
    proxy.ctl(&["kill", id]).must_exit_with(0);
    assert_eq!(client.receive_to_end().1, End::Reset);
    proxy.outcome_of(&client).must_be("killed");
    assert_eq!(waiting(&proxy, "down"), 0.0);

    let proxy = forward(&origin, SLOW, "lifetime: 1s");
    let client = proxy.dial("forward");
    assert_eq!(client.receive_to_end().1, End::Reset);
    proxy.outcome_of(&client).must_be("lifetime");
}

#[test]
fn a_drain_ends_what_waits_at_its_deadline() {
    let origin = firehose(LARGE);
    let mut proxy = Proxy::builder()
        .top("process: { drain: { stop: 500ms } }")
        .forward(&origin)
        .on_route(&format!("limits: {{ {SLOW} }}"))
        .admin()
        .start();
    let client = held_back(&proxy);
    proxy.signal(Signal::TERM);
    assert_eq!(client.receive_to_end().1, End::Reset);
    proxy.outcome_of(&client).must_be("drain");
    assert_eq!(proxy.exit_code(), 1);
}

#[test]
fn a_reset_of_either_side_is_passed_on_though_bytes_before_it_wait() {
    // The client resets: its own bytes and those of the origin wait.
    let origin = firehose(LARGE);
    let slow = "bandwidth: { up: 1KiB/s, down: 1KiB/s }";
    let proxy = forward(&origin, slow, "");
    let client = held_back(&proxy);
    client.send(noise(64 << 10, 2));
    eventually("the request waits", || waiting(&proxy, "up") == 1.0);
    let address = client.local();
    client.reset();
    proxy.outcome_from(address).must_be("client_reset");

    // The origin resets behind bytes that wait.
    let origin = Origin::plain().serve(|stream| {
        stream.send(noise(64 << 10, 1));
        let _ = stream.receive(1);
        stream.reset();
    });
    let proxy = forward(&origin, SLOW, "");
    let client = held_back(&proxy);
    client.send(b"x");
    let (data, end) = client.receive_to_end();
    assert_eq!(end, End::Reset);
    assert!(data.len() < 64 << 10, "{}", data.len());
    proxy.outcome_of(&client).must_be("origin_reset");
}

#[test]
fn a_reader_that_takes_nothing_is_idle_though_its_route_is_limited() {
    let origin = firehose(64 << 20);
    let proxy = forward(&origin, "bandwidth: { down: 1GiB/s }", "idle: 1s");
    let client = proxy.dial("forward");
    proxy.outcome_of(&client).must_be("idle_timeout");
}

#[test]
fn a_dry_run_delays_nothing_and_counts_what_it_would_delay() {
    let origin = firehose(LARGE);
    let proxy = forward(&origin, &format!("{SLOW}, dry_run: true"), "");
    let client = proxy.dial("forward");
    assert_eq!(client.receive_to_end(), (noise(LARGE, 1), End::Clean));
    assert!(delayed(&proxy, "bandwidth", "down", "true") > LARGE as f64 * 0.9);
}

#[test]
fn the_running_process_tells_its_bandwidth() {
    let origin = firehose(LARGE);
    let proxy = forward(&origin, SLOW, "");
    let _client = held_back(&proxy);
    let config = proxy.directory().join("config.yaml");
    let config = config.display().to_string();
    let words = ["explain", "--config", &config, "--endpoint", "forward"];
    reseal(&words).must_exit_with(0).must_print(
        "route: bandwidth.down 1KiB/s (reached: the next client is admitted, and waits for its share)",
    );
    proxy
        .ctl(&["status"])
        .must_print("bandwidth.down of route forward/forward: 1KiB/s, 1 waiting");
    proxy
        .ctl(&["limits", "forward", "--route", "forward"])
        .must_print("bandwidth.down");
    let faster = proxy.text().replace("1KiB/s", "2KiB/s");
    proxy.directory().write("config.yaml", &faster);
    proxy
        .ctl(&["reload", "--plan"])
        .must_print("forward/forward");
}

fn checked(mode: &str, limits: &str) -> ConfigCheck {
    let (protocol, sni) = match mode {
        "passthrough" => ("tls", "sni: a.test"),
        _ => ("tcp", ""),
    };
    ConfigCheck::new(&format!(
        "endpoints:
  - name: edge
    listen: 127.0.0.1:0
    protocol: {protocol}
    routes:
      - name: one
        match: {{ {sni} }}
        mode: {mode}
        upstream: up
        limits: {{ {limits} }}
upstreams: {{ up: {{ origins: [127.0.0.1:9] }} }}
"
    ))
}

#[test]
fn bandwidth_that_cannot_work_is_told() {
    for (limits, about, words) in [
        ("bandwidth: { up: 0 }", "0 }", "would let nothing through"),
        (
            "bandwidth: { up: 0MiB/s }",
            "0MiB",
            "would let nothing through",
        ),
        ("bandwidth: { up: 10MB/s }", "10MB", "write `10MiB/s`"),
        ("bandwidth: { up: 80Mbit/s }", "80M", "write `10000000B/s`"),
        ("bandwidth: { up: 10MiB }", "10MiB", "write `10MiB/s`"),
        ("bandwidth: 10MiB/s", "10MiB", "{ down: 10MiB/s }"),
        (
            "bandwidth: { upload: 1MiB/s }",
            "upload",
            "`up` is from the client",
        ),
        ("bandwidth: { up: unlimited }", "unlimited", "write `none`"),
    ] {
        checked("forward", limits).must_report(about, &[words]);
    }
    for (limits, rate) in [
        ("bandwidth: { down: 16383B/s }", "16383B/s"),
        ("bandwidth_per_connection: { up: 1KiB/s }", "1KiB/s"),
    ] {
        checked("forward", limits).must_be_good();
        checked("passthrough", limits).must_be_good();
        let words = ["less than one TLS record", "write at least `16KiB/s`"];
        checked("originate", limits).must_report(rate, &words);
    }
    checked(
        "forward",
        "bandwidth: { up: 1MiB/s }, bandwidth_per_connection: { up: 1025KiB/s }",
    )
    .must_warn(
        "1025KiB",
        &["`bandwidth_per_connection.up` can never be reached"],
    );
    checked("forward", "bandwidth: { up: 1MiB/s }, dry_run: true").must_be_good();
    ConfigCheck::new(
        "endpoints:
  - name: edge
    listen: 127.0.0.1:0
    limits: { bandwidth: { up: 1MiB/s } }
    routes: [{ name: one, match: { sni: a.test }, mode: passthrough, upstream: up }]
upstreams: { up: { origins: [127.0.0.1:9] } }
",
    )
    .must_report("bandwidth", &["limited by route"]);
}

#[test]
fn a_client_that_leaves_while_its_answer_waits_is_noticed() {
    let origin = firehose(LARGE);
    let proxy = forward(&origin, SLOW, "");
    let client = held_back(&proxy);
    let address = client.local();
    // A close without reading: the next byte of the answer makes its kernel reset.
    drop(client);
    let record = proxy.outcome_from(address);
    assert!(
        ["client_reset", "client_closed"].contains(&record.reason()),
        "{record:?}"
    );
}
