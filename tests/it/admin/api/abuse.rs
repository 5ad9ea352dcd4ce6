//! Clients of the admin socket that are slow, silent, hostile, or come when the process is full.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::harness::{Origin, Proxy, TIMEOUT, curl, noise};

#[test]
fn malformed_requests_are_refused() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let long = format!("X-Long: {}", "x".repeat(20_000));
    let body = "x".repeat(70_000);
    let many: Vec<String> = (0..100).map(|n| format!("X-{n}: y")).collect();
    let many: Vec<&str> = many.iter().flat_map(|h| ["-H", h.as_str()]).collect();
    let table: [(&str, &[&str], u16); 22] = [
        ("/dashboard/nothing.js", &[], 404),
        ("/nothing", &[], 404),
        ("/status/", &[], 404),
        ("//status", &["--path-as-is"], 404),
        ("/x/../status", &["--path-as-is"], 404),
        ("/%73tatus", &[], 404),
        ("/STATUS", &[], 404),
        ("/status?x=1", &[], 400),
        ("/status", &["-X", "POST"], 405),
        ("/status", &["-X", "DELETE"], 405),
        ("/reload", &[], 405),
        ("/drain", &["-X", "PUT"], 405),
        ("/kill", &["-d", "{\"id\":\"not an id\"}"], 400),
        ("/kill", &["-d", "{}"], 400),
        ("/log-level", &["-d", "{\"level\":\"loud\"}"], 400),
        (
            "/log-level",
            &["-d", "{\"level\":\"info\",\"more\":1}"],
            400,
        ),
        ("/log-level", &["-d", "no json"], 400),
        ("/log-level", &["-d", &body], 413),
        ("/status", &["-H", &long], 431),
        ("/status", &many, 431),
        ("/status", &["-H", "Origin: http://evil.test"], 403),
        (
            "/log-level",
            &["-H", "Origin: null", "-d", "{\"level\":\"trace\"}"],
            403,
        ),
    ];
    for (path, more, status) in table {
        let answer = proxy.admin(path, more);
        assert_eq!(answer.status, status, "{path} {:.200}", format!("{more:?}"));
    }
    proxy
        .admin("/status", &["--request-target", "http://evil.test/status"])
        .must_be(400);
    let level = proxy.admin("/log-level", &[]).must_be(200).json();
    assert_eq!(level["level"], "info", "a refused request had an effect");
}

/// O04: the maximum number of connections, each with an incomplete request.
#[test]
fn incomplete_requests_do_not_block_other_clients() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let socket = proxy.admin_socket();
    let _slow: Vec<UnixStream> = (0..32)
        .map(|n| {
            let mut stream = UnixStream::connect(&socket).unwrap();
            let begun: &[u8] = match n % 3 {
                0 => b"",
                1 => b"GET /status HTTP/1.1\r\nHost: x\r\nX-",
                _ => b"POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
            };
            stream.write_all(begun).unwrap();
            stream
        })
        .collect();
    // It displaces one of them, and does not wait for their deadline.
    let start = Instant::now();
    proxy.admin("/status", &[]).must_be(200);
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(4), "{waited:?}");
    // A full listener is told, as every other limit is.
    let line = proxy.log_line(|line| line.contains("a limit is reached: clients wait"));
    assert!(
        line.contains("\"limit\":\"connections to the admin listener\",\"max\":32"),
        "{line}"
    );
    let metrics = proxy.metrics();
    let limit = |listener, name| metrics.count(name, &[("limit", listener)]);
    assert_eq!(limit("admin_connections", "reseal_limit"), 32.0);
    assert!(limit("admin_connections", "reseal_limit_reached_total") >= 1.0);
    assert_eq!(limit("metrics_connections", "reseal_limit"), 32.0);
    assert_eq!(
        limit("metrics_connections", "reseal_limit_used"),
        1.0,
        "this request"
    );
    let status = proxy.admin("/status", &[]).must_be(200).json();
    let limits = status["limits"].as_array().unwrap();
    for name in ["admin_connections", "metrics_connections"] {
        assert!(
            limits.iter().any(|limit| limit["limit"] == name),
            "{status}"
        );
    }
}

/// Clients that are connected and have sent only `begun`.
fn idlers(address: SocketAddr, begun: &[u8], count: usize) -> Vec<TcpStream> {
    let idle = (0..count).map(|_| {
        let mut stream = TcpStream::connect(address).unwrap();
        // A connection that was dropped already reports an error.
        let _ = stream.write_all(begun);
        stream
    });
    idle.collect()
}

#[test]
fn silent_clients_do_not_block_probes() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let metrics = proxy.admin_listener("metrics");
    for begun in ["", "GET /readyz HTTP/1.1\r\nHost: x\r\n"] {
        // More clients than permits, and as many as the accept queue holds.
        let idle = idlers(metrics, begun.as_bytes(), 200);
        for path in ["/readyz", "/healthz", "/metrics"] {
            let limit = ["--max-time", "3"];
            let url = format!("http://{metrics}{path}");
            curl(&[&limit[..], &[url.as_str()]].concat()).must_be(200);
        }
        drop(idle);
    }
}

#[test]
fn a_client_has_a_second_for_its_first_byte() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let mut silent = TcpStream::connect(proxy.admin_listener("metrics")).unwrap();
    let mut begun = TcpStream::connect(proxy.admin_listener("metrics")).unwrap();
    begun.write_all(b"GET /readyz HTTP/1.1\r\n").unwrap();
    for stream in [&silent, &begun] {
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    }
    assert_eq!(silent.read(&mut [0; 16]).unwrap(), 0, "it is closed");
    // The client that has sent a byte has the full request timeout.
    begun.write_all(b"Host: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    begun.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn the_admin_socket_works_at_the_connection_limit() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .admin()
        .top("process: { workers: 1, limits: { connections: 2 } }")
        .start();
    let established = [proxy.dial("forward"), proxy.dial("forward")];
    for client in &established {
        client.must_echo(b"in");
    }
    let waiting = proxy.dial("forward");
    let start = Instant::now();
    let status = proxy.admin("/status", &[]).must_be(200).json();
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(status["connections"], 2);
    let [first, _second] = established;
    drop(first);
    waiting.must_echo(b"in at last");
}

/// O04: bytes that are not HTTP, and HTTP that the admin socket does not accept.
#[test]
fn hostile_bytes_end_only_their_own_connection() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let socket = proxy.admin_socket();
    let heads: [&[u8]; 8] = [
        b"\x16\x03\x01\x00\x05hello",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /status\r\n\r\n",
        b"GET  /status HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /kill HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /kill HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /kill HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"POST /kill HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n\xff\xfe\x00\x01",
    ];
    let random = (0..64).map(|seed| noise(1 + usize::try_from(seed).unwrap() * 37, seed));
    for sent in heads.iter().map(|head| head.to_vec()).chain(random) {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        // The server may have closed before everything was sent.
        let _ = stream.write_all(&sent);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(!text.starts_with("HTTP/1.1 200"), "{sent:?}: {text}");
    }
    proxy.admin("/status", &[]).must_be(200);
    assert!(!proxy.log().join("\n").contains("defect"));
}

#[test]
fn the_admin_socket_works_when_connections_use_all_descriptors() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .admin()
        .top("process: { workers: 1 }")
        .under(&["prlimit", "--nofile=180"])
        .start();
    let clients: Vec<_> = (0..60).map(|_| proxy.dial("forward")).collect();
    clients[0].must_echo(b"served");
    let live = || {
        let status = proxy.admin("/status", &[]).must_be(200).json();
        status["connections"].as_u64().unwrap()
    };
    let full = proxy.usage_at_rest().descriptors;
    let served = live();
    assert!(
        (10..60).contains(&served),
        "{served} of 60, {full} descriptors"
    );
    let queries: Vec<_> = (0..31)
        .map(|_| UnixStream::connect(proxy.admin_socket()).unwrap())
        .collect();
    assert_eq!(live(), served, "beside {} other clients", queries.len());
    let log = proxy.log();
    assert!(!log.iter().any(|line| line.contains("ran out")));
}

#[test]
fn a_body_with_two_lengths_is_refused() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let socket = proxy.admin_socket();
    for lengths in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 2",
        "Transfer-Encoding: chunked",
    ] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let request =
            format!("POST /reload HTTP/1.1\r\nHost: x\r\n{lengths}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 411 "), "{lengths}: {answer}");
    }
}
