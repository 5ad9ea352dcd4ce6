//! Origins that stop, stall, flap, recover and change roles, as clients see it.

mod ejection;
mod greetings;
mod requests;

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    End, HelloReaction, LetterOrigin, Origin, OriginBuilder, Proxy, ProxyBuilder, eventually,
    offers_session,
};

/// A node of a cluster: /v1/sys/health returns its role as a status, and every other client gets its
/// letter.
struct Node {
    origin: Origin,
    status: Arc<AtomicU16>,
    /// How the connections of checks ended.
    ends: Arc<Mutex<Vec<End>>>,
    resumed: Arc<Mutex<Vec<bool>>>,
}

impl Node {
    fn new(draft: OriginBuilder, letter: &'static str, status: u16, with_tls: bool) -> Self {
        let status = Arc::new(AtomicU16::new(status));
        let (ends, resumed) = (
            Arc::<Mutex<Vec<_>>>::default(),
            Arc::<Mutex<Vec<_>>>::default(),
        );
        let (now, seen, kept) = (Arc::clone(&status), Arc::clone(&ends), Arc::clone(&resumed));
        let origin = draft.serve(move |stream| {
            let Ok(request) = stream.read() else { return };
            if with_tls {
                kept.lock().unwrap().push(stream.is_resumed());
            }
            if !request.starts_with(b"GET /v1/sys/health HTTP/1.1\r\n") {
                let _ = stream.try_send(letter);
                let _ = stream.receive_to_end();
                return stream.end();
            }
            let status = now.load(Ordering::SeqCst);
            stream.send(format!(
                "HTTP/1.1 {status} Whatever\r\nContent-Length: 2\r\n\r\n{{}}"
            ));
            // As the request's `Connection: close` says.
            stream.end();
            let (_, end) = stream.receive_to_end();
            seen.lock().unwrap().push(end);
        });
        Self {
            origin,
            status,
            ends,
            resumed,
        }
    }

    fn with_tls(letter: &'static str, status: u16) -> Self {
        Self::new(Origin::with_tls(), letter, status, true)
    }

    fn says(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }
}

fn pair(a: &impl std::fmt::Display, b: &impl std::fmt::Display) -> String {
    format!("[\"{a}\", \"{b}\"]")
}

/// Sends data as a client, and returns the letter of its origin.
fn request_letter(proxy: &Proxy) -> Option<char> {
    let client = proxy.client("a.test").try_connect().ok()?;
    client.try_send(b"who?").ok()?;
    let letter = client.try_receive(1)?;
    client.end();
    Some(char::from(letter[0]))
}

fn cluster(a: &Node, b: &Node, preset: &str, interval: &str) -> ProxyBuilder {
    Proxy::builder()
        .reencrypt("a.test", &a.origin)
        .origins(&pair(&a.origin, &b.origin))
        .on_upstream(&format!(
            "health: {{ check: {{ preset: {preset} }}, interval: {interval} }}"
        ))
}

#[test]
fn new_connections_follow_the_leader_within_one_interval() {
    const INTERVAL: Duration = Duration::from_millis(1000);
    let (a, b) = (Node::with_tls("a", 200), Node::with_tls("b", 429));
    let proxy = cluster(&a, &b, "vault-active", "1s").start();
    proxy.log_line(|line| line.contains("an origin is down") && line.contains("standby"));
    let letters: Vec<_> = (0..4).map(|_| request_letter(&proxy)).collect();
    assert_eq!(letters, [Some('a'); 4]);
    a.says(429);
    b.says(200);
    let start = Instant::now();
    eventually("the other node gets the connections", || {
        request_letter(&proxy) == Some('b')
    });
    let took = start.elapsed();
    assert!(took < INTERVAL + Duration::from_millis(700), "{took:?}");
    // Once the old leader is checked, too, it gets no more connections.
    proxy.log_line(|line| line.contains("is down") && line.contains(&a.origin.to_string()));
    let letters: Vec<_> = (0..4).map(|_| request_letter(&proxy)).collect();
    assert_eq!(letters, [Some('b'); 4]);
}

#[test]
fn performance_standbys_serve_where_any_node_may() {
    let (a, b) = (Node::with_tls("a", 473), Node::with_tls("b", 503));
    let proxy = cluster(&a, &b, "vault-any", "200ms").start();
    proxy.log_line(|line| line.contains("an origin is down") && line.contains("sealed"));
    assert_eq!(
        (0..3).map(|_| request_letter(&proxy)).collect::<Vec<_>>(),
        [Some('a'); 3]
    );
    let strict = cluster(&a, &b, "vault-active", "200ms").start();
    eventually("no node is active", || request_letter(&strict).is_none());
    strict.outcome();
}

/// An origin that answers every offered session with an alert serves its clients, so it is up.
#[test]
fn an_origin_that_refuses_sessions_passes_its_checks() {
    let refused = Arc::new(AtomicU16::new(0));
    let count = Arc::clone(&refused);
    let origin = Origin::with_tls().screening(move |hello| {
        if !offers_session(hello) {
            return HelloReaction::Handshake;
        }
        count.fetch_add(1, Ordering::SeqCst);
        HelloReaction::Sends(&[21, 3, 3, 0, 2, 2, 80])
    });
    let node = Node::new(origin, "a", 200, true);
    let proxy = Proxy::builder()
        .reencrypt("a.test", &node.origin)
        .on_upstream("health: { check: { preset: vault-active }, interval: 60ms, fall: 1 }")
        .start();
    eventually("some sessions were refused", || {
        refused.load(Ordering::SeqCst) >= 3
    });
    assert!(!proxy.log().join("\n").contains("an origin is down"));
}

#[test]
fn plain_origins_are_checked_without_tls_and_on_another_port() {
    let a = Node::new(Origin::plain(), "a", 204, false);
    let b = Node::new(Origin::plain(), "b", 500, false);
    let check = "{ http: { path: /v1/sys/health, expect: [200, 204-206] } }";
    let proxy = Proxy::builder()
        .forward(&a.origin)
        .origins(&pair(&a.origin, &b.origin))
        .on_upstream(&format!("health: {{ check: {check}, interval: 60ms }}"))
        .start();
    let line = proxy.log_line(|line| line.contains("an origin is down"));
    assert!(
        line.contains("status 500") && line.contains(&b.origin.to_string()),
        "{line}"
    );
    let elsewhere = LetterOrigin::new('c');
    let port = a.origin.listen_addr().port();
    let proxy = Proxy::builder()
        .forward(&elsewhere)
        .on_upstream(&format!(
            "health: {{ check: {check}, port: {port}, interval: 60ms, fall: 1 }}"
        ))
        .start();
    assert_eq!(proxy.letters(2), "cc");
    a.says(500);
    proxy.log_line(|line| line.contains("is down") && line.contains(&elsewhere.to_string()));
    assert!(proxy.try_letter().is_none());
}

#[test]
fn with_all_down_clients_are_refused_at_once_and_served_once_one_is_up() {
    let a = LetterOrigin::new('a');
    let address = a.address();
    let proxy = Proxy::builder()
        .forward(&a)
        .on_upstream("health: { check: tcp, interval: 1s }")
        .start();
    assert_eq!(proxy.letter(), 'a');
    proxy.outcome();
    drop(a);
    proxy.log_line(|line| line.contains("an origin is down") && line.contains("origin_refused"));
    let start = Instant::now();
    let client = proxy.dial("forward");
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    assert!(
        start.elapsed() < Duration::from_millis(900),
        "{:?}",
        start.elapsed()
    );
    proxy
        .outcome_of(&client)
        .must_be("no_origin")
        .must_have("stage", "connect")
        .must_have("fault", "origin")
        .must_have(
            "detail",
            &format!("{address}: down: origin_refused: Connection refused (os error 111)"),
        );
    let _back = LetterOrigin::at(address, 'b');
    let start = Instant::now();
    eventually("it is back", || proxy.try_letter().is_some());
    assert!(
        start.elapsed() < Duration::from_millis(2200),
        "{:?}",
        start.elapsed()
    );
}

/// Clients lose at most the connections that an origin had when it died: later connections detect its end
/// and use another origin.
#[test]
fn origins_that_fail_and_recover_under_load_lose_only_their_own_connections() {
    let mut origins: Vec<_> = "abc"
        .chars()
        .map(|letter| Some(LetterOrigin::new(letter)))
        .collect();
    let addresses: Vec<_> = origins
        .iter()
        .flatten()
        .map(LetterOrigin::address)
        .collect();
    let list: Vec<_> = addresses
        .iter()
        .map(|address| format!("\"{address}\""))
        .collect();
    let proxy = Arc::new(
        Proxy::builder()
            .forward(&addresses[0])
            .origins(&format!("[{}]", list.join(", ")))
            .on_upstream("balance: least_connections")
            .on_upstream(
                "health: { check: tcp, interval: 100ms, passive: { failures: 2, eject: 200ms } }",
            )
            .start(),
    );
    let stop = Arc::new(AtomicU16::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (proxy, stop) = (Arc::clone(&proxy), Arc::clone(&stop));
            thread::spawn(move || {
                let (mut served, mut unserved) = (0, 0);
                while stop.load(Ordering::SeqCst) == 0 {
                    match proxy.try_letter() {
                        Some(_) => served += 1,
                        None => unserved += 1,
                    }
                }
                (served, unserved)
            })
        })
        .collect();
    for round in 0..6 {
        let victim = round % 3;
        origins[victim] = None;
        if round % 2 == 0 {
            proxy.log_line(|line| line.contains("is down") || line.contains("is ejected"));
        }
        let letter = char::from(b"abc"[victim]);
        origins[victim] = Some(LetterOrigin::at(addresses[victim], letter));
    }
    eventually("all origins are in use again", || {
        let letters = proxy.letters(9);
        "abc".chars().all(|letter| letters.contains(letter))
    });
    stop.store(1, Ordering::SeqCst);
    let (mut served, mut unserved) = (0, 0);
    for client in clients {
        let counts = client.join().unwrap();
        served += counts.0;
        unserved += counts.1;
    }
    // A connection to a dying origin may not have received its letter yet: at most one for each client and
    // each death.
    assert!(
        served > 50 && unserved <= 24,
        "{served} served, {unserved} not"
    );
}

#[test]
fn a_stalled_origin_is_down_at_its_check_timeout() {
    let good = Node::with_tls("a", 200);
    let stalling = Origin::plain().silent();
    let proxy = Proxy::builder()
        .reencrypt("a.test", &good.origin)
        .origins(&pair(&stalling, &good.origin))
        .on_upstream("health: { check: tls, interval: 100ms, timeout: 200ms, fall: 2 }")
        .start();
    let line = proxy.log_line(|line| line.contains("an origin is down"));
    assert!(line.contains("origin_tls_timeout"), "{line}");
    let start = Instant::now();
    assert_eq!(
        (0..4).map(|_| request_letter(&proxy)).collect::<Vec<_>>(),
        [Some('a'); 4]
    );
    assert!(start.elapsed() < Duration::from_secs(2));
}

/// U07: one check at a time per origin, at the configured rate, and not all origins at the same moment.
#[test]
fn checks_are_spread_over_the_interval() {
    let origins: Vec<_> = (0..30).map(|_| LetterOrigin::new('x')).collect();
    let list: Vec<_> = origins
        .iter()
        .map(|origin| format!("\"{origin}\""))
        .collect();
    let proxy = Proxy::builder()
        .forward(&origins[0])
        .origins(&format!("[{}]", list.join(", ")))
        // A check that sends nothing is not accepted, and so not counted.
        .on_upstream("health: { check: tcp, send_proxy_protocol: v1, interval: 500ms }")
        .start();
    let start = Instant::now();
    eventually("each was checked four times", || {
        origins.iter().all(|origin| origin.accepts() >= 4)
    });
    let intervals = start.elapsed().as_millis() / 450 + 2;
    for origin in &origins {
        assert!(
            origin.accepts() as u128 <= intervals,
            "{} in {intervals}",
            origin.accepts()
        );
    }
    assert!(!proxy.log().join("\n").contains("down"));
}
