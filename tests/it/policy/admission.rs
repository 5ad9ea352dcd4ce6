//! Admission: clients that are silent or slow in their setup do not block others.

use std::time::{Duration, Instant};

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::harness::proxy_header::proxied;
use crate::harness::{Client, End, Origin, Proxy, Stream, eventually, noise, recorded_hello};

const SILENT: usize = 6;

/// Part of a handshake record with a stated length of 16 000 bytes, longer than a ClientHello or the end of a
/// handshake.
fn half_a_large_record() -> Vec<u8> {
    let mut record = vec![23, 3, 3];
    record.extend(16_000_u16.to_be_bytes());
    record.extend(noise(6000, 1));
    record
}

/// A client that has sent its ClientHello and can continue its handshake.
struct Paused {
    conn: ClientConnection,
    stream: Stream,
}

impl Paused {
    fn new(proxy: &Proxy, stream: Stream) -> Self {
        let name = ServerName::try_from("a.test").unwrap();
        let mut conn = ClientConnection::new(proxy.client("a.test").config(), name).unwrap();
        let mut hello = Vec::new();
        while conn.wants_write() {
            conn.write_tls(&mut hello).unwrap();
        }
        stream.write_raw(&hello).unwrap();
        Self { conn, stream }
    }

    #[track_caller]
    fn go_on(self) -> Stream {
        self.stream.handshake(self.conn.into()).unwrap()
    }
}

#[track_caller]
fn active(proxy: &Proxy, state: &str) -> f64 {
    let metrics = proxy.metrics();
    metrics.count("reseal_handshakes_active", &[("state", state)])
}

#[track_caller]
fn has_no_records(proxy: &Proxy) {
    assert_eq!(proxy.records_left(), Vec::<String>::new());
}

#[test]
fn silent_clients_use_no_handshake_permits() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { limits: { handshakes: 1 } }")
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { hello: 60s, client: 60s }")
        .start();
    let hello = recorded_hello("a.test");
    let _silent: Vec<_> = (0..SILENT).map(|_| proxy.dial("edge")).collect();
    let _half: Vec<_> = (0..SILENT)
        .map(|_| {
            let stream = proxy.dial("edge");
            stream.write_raw(&hello[..hello.len() / 2]).unwrap();
            stream
        })
        .collect();
    let client = proxy.client("a.test").connect();
    client.must_echo(b"at once");
    has_no_records(&proxy);
}

#[test]
fn at_the_connection_limit_the_oldest_silent_connection_is_dropped() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { workers: 1, limits: { connections: 3 } }")
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { hello: 60s, client: 60s }")
        .admin()
        .start();
    let live = proxy.client("a.test").connect();
    live.must_echo(b"established");
    let dialled = |count: f64| {
        let stream = proxy.dial("edge");
        eventually("it is accepted", || {
            proxy.metrics().count("reseal_connections_total", &[]) == count
        });
        stream
    };
    let (oldest, younger) = (dialled(2.0), dialled(3.0));
    let client = proxy.client("a.test").connect();
    client.must_echo(b"in its place");
    assert_eq!(oldest.receive_to_end(), (vec![], End::Reset));
    let record = proxy.outcome_of(&oldest);
    record.must_be("probe_dropped").must_have("stage", "hello");
    record.must_have("fault", "policy");
    live.must_echo(b"and still established");
    has_no_records(&proxy);
    proxy.client("a.test").connect().must_echo(b"the next");
    proxy.outcome_of(&younger).must_be("probe_dropped");
}

#[test]
fn a_limit_that_makes_clients_wait_is_told() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { workers: 1, limits: { connections: 2 } }")
        .forward(&origin)
        .admin()
        .start();
    let live: Vec<_> = (0..2).map(|_| proxy.dial("forward")).collect();
    live.iter().for_each(|stream| stream.must_echo(b"served"));
    let value = |name: &str| proxy.metrics().count(name, &[("limit", "connections")]);
    let of = |names: [&str; 3]| names.map(value);
    let names = [
        "reseal_limit",
        "reseal_limit_used",
        "reseal_limit_reached_total",
    ];
    assert_eq!(of(names), [2.0, 2.0, 0.0]);
    let status = proxy.ctl(&["status"]);
    status.must_print("connections: 2 of 2\n");
    status.must_print("handshakes: 0 of 1024\n");
    let waiting = proxy.dial("forward");
    let line = proxy.log_line(|line| line.contains("a limit is reached: clients wait"));
    assert!(
        line.contains("\"limit\":\"process.limits.connections\",\"max\":2"),
        "{line}"
    );
    assert_eq!(of(names), [2.0, 2.0, 1.0]);
    proxy
        .ctl(&["status"])
        .must_print("connections: 2 of 2, reached once\n");
    drop(live);
    waiting.must_echo(b"served at last");
}

#[test]
fn connections_with_half_a_proxy_header_or_hello_are_dropped_too() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { workers: 1, limits: { connections: 1 } }")
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { hello: 60s, client: 60s }")
        .on_endpoint("accept_proxy_protocol: { from: 127.0.0.1/32, timeout: 60s }")
        .start();
    let header = proxied("192.0.2.1:1", "192.0.2.2:443", &[]);
    let hello = recorded_hello("a.test");
    let half_header = proxy.dial("edge");
    half_header.write_raw(&header[..header.len() - 1]).unwrap();
    let half_hello = proxy.dial("edge");
    half_hello.write_raw(&header).unwrap();
    half_hello.write_raw(&hello[..hello.len() - 1]).unwrap();
    let record = proxy.outcome_at("edge", half_header.local());
    record.must_be("probe_dropped");
    record.must_have("stage", "proxy_header");
    // This endpoint requires no PROXY header.
    let client = Stream::dial_from("127.0.0.2", proxy.listen_addr("edge"));
    Paused::new(&proxy, client).go_on().must_echo(b"at once");
    assert_eq!(half_hello.receive_to_end().1, End::Reset);
    let record = proxy.outcome();
    record.must_be("probe_dropped").must_have("stage", "hello");
}

#[test]
fn established_connections_are_not_dropped_for_others() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { limits: { connections: 2 } }")
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { hello: 60s, client: 60s }")
        .start();
    let first = proxy.client("a.test").connect();
    let second = proxy.client("a.test").connect();
    let waiting = proxy.dial("edge");
    for stream in [&first, &second] {
        stream.must_echo(b"established");
    }
    has_no_records(&proxy);
    first.end();
    first.receive_to_end();
    Paused::new(&proxy, waiting).go_on().must_echo(b"its turn");
    second.must_echo(b"still there");
}

#[test]
fn unfinished_handshakes_of_one_source_leave_permits_for_others() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { limits: { handshakes: 2 } }")
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { client: 60s }")
        .admin()
        .start();
    let _half_done: Vec<_> = (0..SILENT)
        .map(|_| {
            let stream = proxy.dial("edge");
            stream.write_raw(&recorded_hello("a.test")).unwrap();
            // Such a client keeps its permit, however long it is silent.
            stream.write_raw(&half_a_large_record()).unwrap();
            stream
        })
        .collect();
    eventually("one source has its share, and more of it waits", || {
        active(&proxy, "admitted") == 1.0 && active(&proxy, "waiting") == 5.0
    });
    let client = Stream::dial_from("127.0.0.2", proxy.listen_addr("edge"));
    Paused::new(&proxy, client).go_on().must_echo(b"at once");
    assert_eq!(active(&proxy, "waiting"), 5.0);
}

/// Each may pause for a second while nobody waits: 20 s for all, two at a time.
#[test]
fn stalled_handshakes_of_many_sources_do_not_keep_a_good_one_waiting_until_its_deadline() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { limits: { handshakes: 2 } }")
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { client: 10s }")
        .start();
    let hello = recorded_hello("a.test");
    let _stalled: Vec<_> = (1..=40)
        .map(|n| {
            let stream = Stream::dial_from(&format!("127.0.7.{n}"), proxy.listen_addr("edge"));
            stream.write_raw(&hello).unwrap();
            stream
        })
        .collect();
    proxy.client("a.test").connect().must_echo(b"served");
}

#[test]
fn clients_in_proxy_headers_of_a_load_balancer_are_separate_sources() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { limits: { handshakes: 4 } }")
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { client: 60s }")
        .on_endpoint("accept_proxy_protocol: { from: 127.0.0.1/32 }")
        .admin()
        .start();
    let half_done = |source: &str| {
        let stream = proxy.dial("edge");
        let header = proxied(&format!("{source}:1"), "192.0.2.9:443", &[]);
        stream.write_raw(&header).unwrap();
        stream.write_raw(&recorded_hello("a.test")).unwrap();
        stream.write_raw(&half_a_large_record()).unwrap();
        stream
    };
    let _one: Vec<_> = (0..SILENT).map(|_| half_done("192.0.2.1")).collect();
    eventually("one client has its share", || {
        active(&proxy, "admitted") == 2.0 && active(&proxy, "waiting") == 4.0
    });
    let _other = half_done("192.0.2.2");
    eventually("another one has a share, too", || {
        active(&proxy, "admitted") == 3.0
    });
}

#[test]
fn a_client_that_pauses_in_its_handshake_gives_up_its_permit_and_continues_later() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { limits: { handshakes: 1 } }")
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { client: 60s }")
        .admin()
        .start();
    let paused = Paused::new(&proxy, proxy.dial("edge"));
    eventually("it has the only permit", || {
        active(&proxy, "admitted") == 1.0
    });
    proxy.client("a.test").connect().must_echo(b"meanwhile");
    paused.go_on().must_echo(b"later");
}

#[test]
fn a_client_without_a_permit_and_a_slow_client_have_different_reasons() {
    let (origin, tls_origin) = (Origin::echo(), Origin::with_tls().echo());
    let proxy = Proxy::builder()
        .top("process: { limits: { handshakes: 1 } }")
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { client: 60s }")
        .endpoint("other", "tls")
        .on_endpoint("timeouts: { client: 1s }")
        .terminate("b.test", &origin)
        .passthrough("a.test", &tls_origin)
        .admin()
        .start();
    let holder = proxy.dial("edge");
    holder.write_raw(&recorded_hello("a.test")).unwrap();
    holder.write_raw(&half_a_large_record()).unwrap();
    eventually("it has the only permit", || {
        active(&proxy, "admitted") == 1.0
    });
    let waiting = proxy.dial("other");
    waiting.write_raw(&recorded_hello("b.test")).unwrap();
    let record = proxy.outcome_of(&waiting);
    record.must_be("limit_handshakes");
    record
        .must_have("stage", "client_tls")
        .must_have("fault", "policy");
    assert_eq!(active(&proxy, "waiting"), 0.0);
    // Passthrough performs no handshake, so it needs no permit.
    let passed = Client::new(proxy.listen_addr("other"), "a.test").connect();
    passed.must_echo(b"at once");
}

#[test]
fn rejected_clients_that_linger_are_dropped_too() {
    const REFUSED: usize = 20;
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { workers: 1, limits: { connections: 1 } }")
        .terminate("a.test", &origin)
        .start();
    let start = Instant::now();
    let lingering: Vec<_> = (0..REFUSED)
        .map(|_| {
            let stream = proxy.dial("edge");
            stream.write_raw(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            proxy.outcome_of(&stream).must_be("not_tls");
            stream
        })
        .collect();
    // Each of them may linger for a second to read its alert.
    let took = start.elapsed();
    assert!(took < Duration::from_secs(REFUSED as u64 / 2), "{took:?}");
    drop(lingering);
}

#[test]
fn a_client_that_trickles_in_its_handshake_gives_up_its_permit() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { limits: { handshakes: 1 } }")
        .terminate("a.test", &origin)
        .on_endpoint("timeouts: { client: 60s }")
        .admin()
        .start();
    let stream = proxy.dial("edge");
    stream.write_raw(&recorded_hello("a.test")).unwrap();
    eventually("it has the only permit", || {
        active(&proxy, "admitted") == 1.0
    });
    stream.write_raw(&[23, 3, 3, 15, 160]).unwrap();
    eventually("the permit is free again", || {
        stream.write_raw(&[0]).unwrap();
        active(&proxy, "admitted") == 0.0
    });
    has_no_records(&proxy);
}
