//! Origins that fail connections are ejected.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Node, pair, request_letter};
use crate::harness::{Client, End, HelloReaction, Origin, Proxy, Stream, dead_address, pki};

#[test]
fn an_origin_that_fails_connections_is_ejected() {
    let good = Node::with_tls("a", 200);
    let failing = Origin::plain().serve(|stream| {
        let _ = stream.read();
        stream.reset();
    });
    let proxy = Proxy::builder()
        .reencrypt("a.test", &good.origin)
        .origins(&pair(&failing, &good.origin))
        .on_upstream("health: { passive: { failures: 3, eject: 1h } }")
        .start();
    for _ in 0..12 {
        assert_eq!(request_letter(&proxy), Some('a'), "clients do not notice");
    }
    assert_eq!(failing.accepts(), 3);
    proxy.log_line(|line| line.contains("is ejected") && line.contains(&failing.to_string()));
}

/// A failure of trust ends the connection, and counts as well.
#[test]
fn an_origin_with_a_wrong_certificate_is_ejected_too() {
    let good = Node::with_tls("a", 200);
    let wrong = Origin::tls(&pki().edge(&["origin.test"])).echo();
    let proxy = Proxy::builder()
        .reencrypt("a.test", &good.origin)
        .origins(&pair(&wrong, &good.origin))
        .on_upstream("health: { passive: { failures: 2 } }")
        .start();
    let letters: Vec<_> = (0..8).map(|_| request_letter(&proxy)).collect();
    assert_eq!(letters.iter().filter(|letter| letter.is_none()).count(), 2);
    assert_eq!(letters[4..], [Some('a'); 4]);
    assert_eq!(wrong.bytes(), 0);
}

/// The name that a client sends must not get an origin ejected.
#[test]
fn a_client_cannot_get_an_origin_ejected_by_its_server_name() {
    let identity = pki().origin(&["origin.test", "good.wild.test"]);
    let [one, other] = [(); 2].map(|()| Origin::tls(&identity).alpn(&["http/1.1"]).echo());
    let proxy = Proxy::builder()
        .reencrypt("a.test", &one)
        .on_tls("alpn: [h2, http/1.1]")
        .origins(&pair(&one, &other))
        .on_upstream("health: { passive: { failures: 1, max_ejected: 100% } }")
        .endpoint("second", "tls")
        .route("reencrypt", "*.wild.test", &one)
        .certificate_for(&["*.wild.test"])
        .origins(&pair(&one, &other))
        .origin_tls("{ ca: origin-ca.pem, sni: client }")
        .on_upstream("health: { passive: { failures: 1, max_ejected: 100% } }")
        .start();
    let client = proxy.client("a.test").alpn(&["h2"]).connect();
    client.receive_to_end();
    proxy.outcome_of(&client).must_be("origin_alpn");
    let client = Client::new(proxy.listen_addr("second"), "stranger.wild.test").connect();
    client.receive_to_end();
    proxy.outcome_of(&client).must_be("origin_tls_name");
    assert!(!proxy.log().join("\n").contains("ejected"));
    for _ in 0..2 {
        proxy
            .client("a.test")
            .alpn(&["http/1.1"])
            .connect()
            .must_echo(b"x");
        Client::new(proxy.listen_addr("second"), "good.wild.test")
            .connect()
            .must_echo(b"x");
    }
    assert_eq!((one.accepts(), other.accepts()), (4, 2), "both are used");
}

/// Some origins close the connection for a name that they do not know.
#[test]
fn failures_eject_an_origin_only_for_names_that_it_has_served() {
    let identity = pki().origin(&["good.wild.test"]);
    let is_ill = Arc::new(AtomicBool::new(false));
    let [one, other] = [(); 2].map(|()| {
        let is_ill = Arc::clone(&is_ill);
        let knows = move |hello: &[u8]| {
            let name: &[u8] = b"good.wild.test";
            match hello.windows(name.len()).any(|part| part == name) {
                true if !is_ill.load(Ordering::SeqCst) => HelloReaction::Handshake,
                _ => HelloReaction::Sends(b""),
            }
        };
        Origin::tls(&identity).screening(knows).echo()
    });
    let proxy = Proxy::builder()
        .route("reencrypt", "*.wild.test", &one)
        .certificate_for(&["*.wild.test"])
        .origins(&pair(&one, &other))
        .origin_tls("{ ca: origin-ca.pem, sni: client, resumption: off }")
        .on_upstream("health: { passive: { failures: 2, max_ejected: 50% } }")
        .start();
    let fails = |name: &str| {
        let client = proxy.client(name).connect();
        client.receive_to_end();
        proxy.outcome_of(&client).must_be("origin_closed");
    };
    let ejections = || {
        proxy
            .log()
            .iter()
            .filter(|line| line.contains("is ejected"))
            .count()
    };
    for _ in 0..2 {
        let client = proxy.client("good.wild.test").connect();
        client.must_echo(b"x");
        client.end();
        client.receive_to_end();
    }
    for n in 0..6 {
        fails(&format!("stranger-{n}.wild.test"));
    }
    assert_eq!(ejections(), 0);
    is_ill.store(true, Ordering::SeqCst);
    fails("good.wild.test");
    fails("good.wild.test");
    proxy.log_line(|line| line.contains("is ejected"));
}

#[test]
fn the_only_origin_is_never_ejected() {
    let (dead, _held) = dead_address();
    let proxy = Proxy::builder()
        .forward(&dead)
        .on_upstream("connect: { attempts: 1 }")
        .on_upstream("health: { passive: { failures: 1, max_ejected: 100% } }")
        .start();
    for _ in 0..4 {
        let client: Stream = proxy.dial("forward");
        assert_eq!(client.receive_to_end(), (vec![], End::Reset));
        proxy.outcome_of(&client).must_be("origin_refused");
    }
}
