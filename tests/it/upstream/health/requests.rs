//! What checks send, how they begin and how they end.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use super::{Node, cluster, pair, request_letter};
use crate::harness::{
    End, LetterOrigin, Origin, Proxy, Stream, TIMEOUT, dead_address, eventually, pki,
};

/// U03: checks end cleanly. They resume sessions of other checks, never of connections, and never twice in
/// a row: every other one verifies the certificate.
#[test]
fn checks_end_cleanly_and_every_other_one_is_a_full_handshake() {
    let (a, b) = (Node::with_tls("a", 200), Node::with_tls("b", 200));
    let proxy = cluster(&a, &b, "vault-active", "100ms").start();
    eventually("some checks have ended", || {
        [&a, &b]
            .iter()
            .all(|node| node.ends.lock().unwrap().len() >= 4)
    });
    assert!(request_letter(&proxy).is_some());
    for node in [&a, &b] {
        let ends = node.ends.lock().unwrap().clone();
        assert!(ends.iter().all(|end| *end == End::Clean), "{ends:?}");
        assert_eq!(node.origin.failed_handshakes(), 0);
        let resumed = node.resumed.lock().unwrap().clone();
        assert!(!resumed[0]);
        assert!(
            resumed.windows(2).all(|two| two != [true, true]),
            "{resumed:?}"
        );
    }
    let resumed = a
        .resumed
        .lock()
        .unwrap()
        .iter()
        .filter(|resumed| **resumed)
        .count();
    assert!(resumed > 0, "a session of a check is resumed by a check");
}

#[test]
fn a_tls_check_verifies_and_ends_without_an_error() {
    let good = Origin::with_tls().serve(|stream| {
        let _ = stream.receive_to_end();
    });
    let bad = Origin::tls(&pki().origin(&["other.test"])).echo();
    let proxy = Proxy::builder()
        .passthrough("a.test", &good)
        .origins(&pair(&good, &bad))
        .origin_tls("{ ca: origin-ca.pem, server_name: origin.test }")
        .on_upstream("health: { check: tls, interval: 60ms, fall: 2 }")
        .start();
    let line = proxy.log_line(|line| line.contains("an origin is down"));
    assert!(
        line.contains(&bad.to_string()) && line.contains("origin_tls_name"),
        "{line}"
    );
    let before = good.accepts();
    eventually("more checks", || good.accepts() > before + 3);
    assert_eq!(good.failed_handshakes(), 0);
    assert_eq!(good.bytes(), 0);
}

/// If all clients of the upstream negotiate h2 or HTTP/1.1, an origin that selects neither serves none of
/// them.
#[test]
fn tls_checks_offer_the_alpn_of_connections() {
    for check in ["tls", "{ http: { path: / } }"] {
        let answer = |stream: Stream| {
            let protocol = stream.alpn();
            if stream.read().is_ok() {
                assert_eq!(protocol.as_deref(), Some("http/1.1"));
                let _ = stream.try_send(b"HTTP/1.1 200 Good\r\nContent-Length: 0\r\n\r\n");
            }
            stream.end();
            let _ = stream.receive_to_end();
        };
        let good = Origin::with_tls().alpn(&["h2", "http/1.1"]).serve(answer);
        let mute = Origin::with_tls().serve(|stream| drop(stream.receive_to_end()));
        let foreign = Origin::with_tls().alpn(&["mqtt"]).echo();
        let proxy = Proxy::builder()
            .reencrypt("a.test", &good)
            .on_tls("alpn: [h2, http/1.1]")
            .origins(&format!("[\"{good}\", \"{mute}\", \"{foreign}\"]"))
            .on_upstream(&format!(
                "health: {{ check: {check}, interval: 60ms, fall: 1 }}"
            ))
            .start();
        for origin in [&mute, &foreign] {
            let name = origin.to_string();
            let line =
                proxy.log_line(|line| line.contains("an origin is down") && line.contains(&name));
            assert!(line.contains("origin_alpn"), "{line}");
        }
        let before = good.accepts();
        eventually("more checks", || good.accepts() > before + 3);
        let name = format!("\"{good}\"");
        let down = |line: &String| line.contains("is down") && line.contains(&name);
        assert!(!proxy.log().iter().any(down), "{:?}", proxy.log());
    }
}

/// Databases count connections that end before a login, and lock their host out after some.
#[test]
fn an_origin_never_accepts_a_tcp_check() {
    let good = LetterOrigin::new('a');
    let (dead, _port) = dead_address();
    let proxy = Proxy::builder()
        .forward(&good)
        .origins(&pair(&good, &dead))
        .on_upstream("health: { check: tcp, interval: 50ms, fall: 5 }")
        .admin()
        .start();
    proxy.log_line(|line| line.contains("an origin is down") && line.contains(&dead.to_string()));
    eventually("the other one passes", || {
        let list = proxy.ctl_json(&["origins"]);
        let mut list = list["origins"].as_array().unwrap().iter();
        list.any(|origin| origin["address"] == good.to_string() && origin["check"] == "ok")
    });
    assert_eq!(good.accepts(), 0);
    assert_eq!(proxy.letters(2), "aa");
    assert_eq!(good.accepts(), 2);
}

#[test]
fn checks_begin_with_the_proxy_header_that_connections_begin_with() {
    const V1: &[u8] = b"PROXY UNKNOWN\r\n";
    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for (upstream, health, header) in [
        ("off", "interval: 200ms, send_proxy_protocol: v1", V1),
        ("off", "interval: 200ms, send_proxy_protocol: v2", V2),
        ("v1", "interval: 200ms", V1),
        ("v2", "interval: 200ms", V2),
        ("{ version: v2, tlvs: [unique_id] }", "interval: 200ms", V2),
        (
            "v2",
            "interval: 200ms, send_proxy_protocol: as-upstream",
            V2,
        ),
        ("v2", "interval: 200ms, send_proxy_protocol: v1", V1),
        ("v2", "interval: 200ms, send_proxy_protocol: off", b""),
        ("off", "interval: 200ms", b""),
        ("v2", "interval: 200ms, port: PORT", V2),
    ] {
        let (sender, requests) = std::sync::mpsc::channel();
        let origin = Origin::plain().serve(move |stream| {
            let mut request = stream.receive(header.len());
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read() {
                    Ok(more) if !more.is_empty() => request.extend(more),
                    _ => break,
                }
            }
            let _ = sender.send(request);
            let _ = stream.try_send(b"HTTP/1.1 200 Good\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.receive_to_end();
            stream.end();
        });
        let health = health.replace("PORT", &port_of(&origin));
        let _proxy = Proxy::builder()
            .forward(&origin)
            .on_upstream(&format!("send_proxy_protocol: {upstream}"))
            .on_upstream(&format!(
                "health: {{ check: {{ http: {{ path: /health }} }}, {health} }}"
            ))
            .start();
        let request = requests.recv_timeout(crate::harness::TIMEOUT).unwrap();
        assert!(request.starts_with(header), "{request:?}");
        assert!(
            request[header.len()..].starts_with(b"GET /health HTTP/1.1\r\n"),
            "{request:?}"
        );
    }
}

fn port_of(origin: &Origin) -> String {
    let address = origin.listen_addr().to_string();
    address.rsplit(':').next().unwrap().to_owned()
}

/// An HTTP server that answers every request with this text, and passes the requests on.
fn server(answer: &Arc<Mutex<String>>) -> (Origin, Receiver<String>) {
    let (sender, requests) = channel();
    let (sender, answer) = (Mutex::new(sender), Arc::clone(answer));
    let origin = Origin::plain().serve(move |stream| {
        let Ok(request) = stream.read() else { return };
        let request = String::from_utf8(request).unwrap();
        let _ = sender.lock().unwrap().send(request);
        let _ = stream.try_send(answer.lock().unwrap().as_bytes());
        // An origin that keeps the connection open does not delay the verdict.
        let _ = stream.receive_to_end();
    });
    (origin, requests)
}

#[test]
fn an_origin_is_up_while_its_answer_holds_the_expected_text() {
    let good = [
        "HTTP/1.1 200 Good\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}",
        "HTTP/1.1 200 Good\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{\"status\"\r\n6\r\n:\"ok\"}\r\n0\r\n\r\n",
    ];
    let bad = [
        (
            "HTTP/1.1 200 Good\r\nContent-Length: 17\r\n\r\n{\"status\":\"sick\"}",
            "the body does not hold the text of `expect_body`",
        ),
        (
            "HTTP/1.1 500 Bad\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}",
            "status 500",
        ),
        (
            "HTTP/1.1 200 Good\r\nX: {\"status\":\"ok\"}\r\nContent-Length: 0\r\n\r\n",
            "the body does not hold the text of `expect_body`",
        ),
    ];
    let answer = Arc::new(Mutex::new(good[0].to_owned()));
    let (origin, _requests) = server(&answer);
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_upstream(
            "health: { check: { http: { expect_body: '\"status\":\"ok\"' } }, interval: 60ms, rise: 1, fall: 1 }",
        )
        .start();
    for (n, (sick, why)) in bad.into_iter().enumerate() {
        let before = proxy.log().len();
        *answer.lock().unwrap() = sick.to_owned();
        let said = |what: &str| {
            eventually(what, || {
                let log = proxy.log();
                log[before..].iter().any(|line| line.contains(what))
            });
        };
        said("an origin is down");
        let log = proxy.log();
        let down = log[before..]
            .iter()
            .find(|line| line.contains("an origin is down"));
        assert!(down.unwrap().contains(why), "{down:?}");
        *answer.lock().unwrap() = good[n % 2].to_owned();
        said("an origin is up");
    }
}

#[test]
fn requests_have_the_headers_of_the_file_and_no_other_value_is_shown() {
    let answer = Arc::new(Mutex::new("HTTP/1.1 200 Good\r\n\r\n".to_owned()));
    let (origin, requests) = server(&answer);
    let proxy = Proxy::builder()
        .under(&[])
        .environment("TOKEN", "canary-7f3a")
        .forward(&origin)
        .on_upstream(
            "health: { check: { http: { path: /h, headers: { Authorization: \"Bearer ${TOKEN}\", \
             user-agent: mine, X-Number: 7 } } }, interval: 60ms }",
        )
        .start();
    let request = requests.recv_timeout(TIMEOUT).unwrap();
    assert!(
        request.starts_with("GET /h HTTP/1.1\r\nHost: "),
        "{request}"
    );
    for line in [
        "Authorization: Bearer canary-7f3a",
        "user-agent: mine",
        "X-Number: 7",
        "Accept: */*",
        "Connection: close",
    ] {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "{request}");
    }
    assert!(!request.contains("User-Agent: reseal"), "{request}");
    assert!(request.ends_with("\r\n\r\n"));
    assert!(!proxy.log().join("\n").contains("canary"));
}

/// An origin that demands ALPN, as PostgreSQL does for TLS at once, fails a check that offers none.
#[test]
fn tls_checks_offer_the_alpn_that_passthrough_routes_match() {
    let origin = Origin::with_tls().alpn(&["postgresql"]).serve(|stream| {
        let protocol = stream.alpn();
        if protocol.is_none() {
            return stream.reset();
        }
        let _ = stream.receive_to_end();
    });
    let proxy = Proxy::builder()
        .passthrough("a.test", &origin)
        .matching("alpn: [postgresql, acme-tls/1]")
        .origin_tls("{ ca: origin-ca.pem, server_name: origin.test }")
        .on_upstream("health: { check: tls, interval: 60ms, rise: 1, fall: 1 }")
        .admin()
        .start();
    let is_checked = |result: &str| {
        let list = proxy.ctl_json(&["origins"]);
        let mut list = list["origins"].as_array().unwrap().iter();
        list.any(|origin| origin["check"] == result)
    };
    eventually("the check passes", || is_checked("ok"));
    let before = origin.accepts();
    eventually("more checks", || origin.accepts() > before + 3);
    assert!(!proxy.log().join("\n").contains("an origin is down"));
}
