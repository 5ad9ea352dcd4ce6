//! Metrics and probes.

use rustix::process::Signal;

use crate::harness::{
    Exposition, ForgedHello, Leaf, Origin, Proxy, eventually, noise, pki, recorded_hello,
};

const EDGE: (&str, &str) = ("endpoint", "edge");

#[test]
fn a_connection_is_counted_by_its_outcome_and_its_bytes() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .admin()
        .start();
    let live = proxy.client("a.test").connect();
    live.must_echo(b"live");
    let during = proxy.metrics();
    assert_eq!(during.sum("reseal_connections_total", &[EDGE]), Some(1.0));
    assert_eq!(during.sum("reseal_connections_live", &[EDGE]), Some(1.0));
    assert_eq!(during.count("reseal_outcomes_total", &[]), 0.0);
    live.end();
    live.receive_to_end();
    proxy.outcome().must_be("ok");
    proxy.client("b.test").refusal();
    proxy.outcome().must_be("unknown_sni");
    let after = proxy.metrics_at_rest();
    let outcomes = |labels: &[(&str, &str)]| after.sum("reseal_outcomes_total", labels);
    let ok = [
        EDGE,
        ("route", "a.test"),
        ("reason", "ok"),
        ("fault", ""),
        ("stage", "relay"),
    ];
    let unknown = [
        EDGE,
        ("route", ""),
        ("reason", "unknown_sni"),
        ("fault", "client"),
        ("stage", "route"),
    ];
    assert_eq!(outcomes(&ok), Some(1.0));
    assert_eq!(outcomes(&unknown), Some(1.0));
    assert_eq!(outcomes(&[]), after.sum("reseal_connections_total", &[]));
    for direction in ["up", "down"] {
        let labels = [EDGE, ("route", "a.test"), ("direction", direction)];
        assert_eq!(after.sum("reseal_bytes_total", &labels), Some(4.0));
    }
}

/// A graph of a long transfer is a slope, not a step at its end; also where the kernel moves the bytes.
#[test]
fn bytes_are_counted_while_they_move() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .forward(&origin)
        .admin()
        .start();
    let piece = noise(1_000_000, 3);
    for route in ["a.test", "forward"] {
        let client = match route {
            "forward" => proxy.dial("forward"),
            name => proxy.client(name).connect(),
        };
        let bytes = |direction| {
            let labels = [("route", route), ("direction", direction)];
            proxy.metrics().count("reseal_bytes_total", &labels)
        };
        for pieces in 1..=30_u32 {
            client.must_echo(&piece);
            let moved = f64::from(pieces) * 1e6;
            eventually("what was moved is counted", || bytes("down") == moved);
            assert_eq!(bytes("up"), moved);
        }
        client.end();
        client.receive_to_end();
        let record = proxy.outcome_of(&client);
        record.must_be("ok");
        proxy.metrics_at_rest();
        for (direction, key) in [("up", "bytes_up"), ("down", "bytes_down")] {
            assert_eq!((bytes(direction), record.number(key)), (3e7, 30_000_000));
        }
    }
}

#[test]
fn handshakes_are_counted_by_version_and_resumption() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .admin()
        .start();
    for client in [
        proxy.client("a.test").tls12(),
        proxy.client("a.test").tls13(),
    ] {
        let client = client.connect();
        client.must_echo(b"x");
        client.end();
        client.receive_to_end();
    }
    let metrics = proxy.metrics_at_rest();
    for version in ["TLSv1.2", "TLSv1.3"] {
        let labels = [EDGE, ("version", version), ("resumed", "false")];
        assert_eq!(metrics.sum("reseal_handshakes_total", &labels), Some(1.0));
    }
    assert_eq!(metrics.sum("reseal_handshakes_total", &[]), Some(2.0));
}

#[test]
fn a_scrape_has_every_family_and_certificate_expiry_dates() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .endpoint("edge", "tls")
        .route("terminate", "a.test", &origin)
        .identity(&pki().edge(&["a.test"]))
        .identity(&pki().edge(&["b.test"]))
        .admin()
        .start();
    let metrics = proxy.metrics();
    for name in [
        "reseal_build_info",
        "process_start_time_seconds",
        "reseal_connections_total",
        "reseal_connections_live",
        "reseal_handshakes_total",
        "reseal_outcomes_total",
        "reseal_bytes_total",
        "reseal_origin_usable_addresses",
        "reseal_origin_connections_live",
        "reseal_certificate_expiry_timestamp_seconds",
        "reseal_reloads_total",
        "reseal_log_dropped_total",
    ] {
        assert!(metrics.families.contains_key(name), "{name}");
    }
    let start = metrics.count("process_start_time_seconds", &[]);
    for certificate in ["identity-0", "identity-1"] {
        let labels = [EDGE, ("certificate", certificate)];
        let end = metrics.sum("reseal_certificate_expiry_timestamp_seconds", &labels);
        assert!(end > Some(start), "{certificate}: {end:?}");
    }
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(metrics.sum("reseal_build_info", &version), Some(1.0));
    let same = Exposition::parse(&proxy.admin("/metrics", &[]).must_be(200).body);
    assert_eq!(same.series(), metrics.series());
}

/// O02: bytes from clients create no series.
#[test]
fn a_thousand_server_names_add_no_series() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .admin()
        .start();
    let visit = |name: &str| {
        let stream = proxy.dial("edge");
        stream.write_raw(&recorded_hello(name)).unwrap();
        stream.receive_to_end();
    };
    visit("first.test");
    let before = proxy.metrics_at_rest().series();
    for n in 0..1000_u32 {
        visit(&format!("{:x}.test", n.wrapping_mul(2_654_435_761)));
    }
    let after = proxy.metrics_at_rest();
    assert_eq!(after.series(), before);
    let unknown = [EDGE, ("reason", "unknown_sni")];
    assert_eq!(after.sum("reseal_outcomes_total", &unknown), Some(1001.0));
}

#[test]
fn random_protocol_names_add_no_series() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("alpn: [h2]")
        .passthrough("b.test", &origin)
        .admin()
        .start();
    let visit = |name: &str, protocol: &str| {
        let stream = proxy.dial("edge");
        let hello = ForgedHello::new(name.as_bytes()).alpn(&[protocol]);
        stream.write_raw(&hello.bytes()).unwrap();
        stream.fin();
        stream.receive_to_end();
    };
    visit("a.test", "first");
    visit("b.test", "first");
    let before = proxy.metrics_at_rest().series();
    for n in 0..200_u32 {
        let protocol = format!("\"}} 1\n{:x}", n.wrapping_mul(2_654_435_761));
        visit(["a.test", "b.test"][n as usize % 2], &protocol);
    }
    assert_eq!(proxy.metrics_at_rest().series(), before);
}

/// O02: neither do the names in certificates, accepted or not.
#[test]
fn hostile_certificates_add_no_series() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("client_auth: { mode: required, ca: client-ca.pem }")
        .admin()
        .start();
    let visit = |name: &str| {
        let leaf = Leaf::client("client").common_name(name);
        let admitted = pki().clients.issue(&leaf);
        let client = proxy.client("a.test").certificate(&admitted).connect();
        client.must_echo(b"x");
        client.end();
        client.receive_to_end();
        let stranger = pki().stranger.issue(&leaf);
        proxy.client("a.test").certificate(&stranger).refusal();
    };
    visit("first");
    let before = proxy.metrics_at_rest().series();
    for n in 0..30_u32 {
        for name in [
            "\"} 1\nreseal_forged 1",
            "back\\slash",
            "line\r\nbreak",
            "\u{202e}\u{0}",
        ] {
            visit(&format!("{name}{:x}", n.wrapping_mul(2_654_435_761)));
        }
    }
    let after = proxy.metrics_at_rest();
    assert_eq!(after.series(), before);
    let refused = [EDGE, ("reason", "client_cert_unknown_ca")];
    assert_eq!(after.sum("reseal_outcomes_total", &refused), Some(121.0));
}

#[test]
fn readiness_ends_at_the_lame_duck_and_while_draining() {
    let origin = Origin::echo();
    let mut proxy = Proxy::builder()
        .forward(&origin)
        .admin()
        .top("process: { drain: { lame_duck: 1s, stop: 30s } }")
        .start();
    proxy.probe("/readyz").must_be(200);
    let client = proxy.dial("forward");
    client.must_echo(b"before");
    proxy.signal(Signal::TERM);
    let mut words = vec![];
    eventually("it drains", || {
        let ready = proxy.probe("/readyz");
        if ready.status == 503 {
            proxy.probe("/healthz").must_be(200);
            words.push(ready.body.trim().to_owned());
        } else {
            assert!(words.is_empty(), "ready again after {words:?}");
        }
        words.last().is_some_and(|word| word == "draining")
    });
    words.dedup();
    assert_eq!(words, ["lame duck", "draining"]);
    assert_eq!(proxy.ctl_json(&["status"])["phase"], "draining");
    client.must_echo(b"while draining");
    client.end();
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn a_lame_duck_still_accepts_connections() {
    let origin = Origin::echo();
    let mut proxy = Proxy::builder()
        .forward(&origin)
        .admin()
        .top("process: { drain: { lame_duck: 60s } }")
        .start();
    proxy.signal(Signal::TERM);
    eventually("it is a lame duck", || proxy.probe("/readyz").status == 503);
    let client = proxy.dial("forward");
    client.must_echo(b"served");
    client.end();
    client.receive_to_end();
    assert_eq!(proxy.probe("/readyz").body.trim(), "lame duck");
    proxy.signal(Signal::TERM);
    proxy.exit_code();
}

#[test]
fn the_metrics_listener_serves_metrics_and_nothing_else() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    for path in ["/status", "/config", "/connections", "/reload", "/"] {
        proxy.probe(path).must_be(404);
    }
    let metrics = format!("http://{}/metrics", proxy.admin_listener("metrics"));
    let kill = format!("http://{}/kill", proxy.admin_listener("metrics"));
    crate::harness::curl(&["-d", "{}", &kill]).must_be(404);
    crate::harness::curl(&["-d", "{}", &metrics]).must_be(405);
    crate::harness::curl(&["-H", "Host: reseal.monitoring.svc", &metrics]).must_be(200);
}

#[test]
fn dropped_log_lines_are_counted() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .admin()
        .top("access_log: { output: /dev/full }")
        .start();
    // The buffer of the log may still be written once there is room; lines beyond it are lost.
    for _ in 0..300 {
        let client = proxy.dial("forward");
        client.end();
        client.receive_to_end();
    }
    let lost = [("log", "access")];
    eventually("lost lines are counted", || {
        let metrics = proxy.metrics();
        metrics.count("reseal_log_dropped_total", &lost) >= 1.0
    });
}
