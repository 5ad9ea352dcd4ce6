//! Sessions that origins are offered: a handshake that fails over one is repeated in full.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::harness::{
    HelloReaction, Origin, OriginBuilder, Proxy, Record, at_once, offers_session,
};

const INTERNAL_ERROR: &[u8] = &[21, 3, 3, 0, 2, 2, 80];
const HANDSHAKE_FAILURE: &[u8] = &[21, 3, 3, 0, 2, 2, 40];
/// An invalid ServerHello.
const BROKEN: &[u8] = &[22, 3, 3, 0, 4, 2, 0, 0, 0];
const NO_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";

const ANSWERS: [HelloReaction; 7] = [
    HelloReaction::Sends(INTERNAL_ERROR),
    HelloReaction::Sends(HANDSHAKE_FAILURE),
    HelloReaction::Sends(BROKEN),
    HelloReaction::Sends(NO_TLS),
    HelloReaction::Sends(b""),
    HelloReaction::Reset,
    HelloReaction::Silence,
];

/// An origin that reacts like this to every offered session.
fn refusing(draft: OriginBuilder, answer: HelloReaction) -> (Origin, Arc<AtomicUsize>) {
    let refused = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&refused);
    let origin = draft.screening(move |hello| {
        if !offers_session(hello) {
            return HelloReaction::Handshake;
        }
        count.fetch_add(1, Ordering::SeqCst);
        answer
    });
    (origin.echo(), refused)
}

fn exchange(proxy: &Proxy) -> Record {
    let client = proxy.client("a.test").connect();
    client.must_echo(b"x");
    client.end();
    client.receive_to_end();
    proxy.outcome_of(&client)
}

#[test]
fn an_origin_that_fails_offered_sessions_gets_a_full_handshake_at_once() {
    let cases = ANSWERS
        .into_iter()
        .flat_map(|answer| [(answer, false), (answer, true)]);
    at_once(cases, |(answer, is_tls12)| {
        let draft = match is_tls12 {
            true => Origin::with_tls().tls12().ticketing(),
            false => Origin::with_tls(),
        };
        let (origin, refused) = refusing(draft, answer);
        let proxy = Proxy::builder()
            .reencrypt("a.test", &origin)
            .on_upstream("connect: { attempts: 1, timeout: 500ms }")
            .on_upstream("health: { passive: { failures: 1 } }")
            .start();
        for _ in 0..6 {
            let record = exchange(&proxy);
            record.must_be("ok");
            assert_eq!(record["origin_tls_resumed"], false, "{answer:?}");
        }
        // An origin that resumes nothing is no longer offered sessions in the end.
        assert_eq!(refused.load(Ordering::SeqCst), 3, "{answer:?}");
        assert_eq!(origin.accepts(), 6 + 3, "{answer:?}");
    });
}

#[test]
fn a_failed_resumption_is_reported_when_the_full_handshake_fails_too() {
    let hellos = AtomicUsize::new(0);
    let origin = Origin::with_tls().screening(move |hello| {
        match (hellos.fetch_add(1, Ordering::SeqCst), offers_session(hello)) {
            (0, false) => HelloReaction::Handshake,
            (_, true) => HelloReaction::Sends(INTERNAL_ERROR),
            (_, false) => HelloReaction::Sends(HANDSHAKE_FAILURE),
        }
    });
    let origin = origin.echo();
    let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
    exchange(&proxy).must_be("ok");
    let client = proxy.client("a.test").connect();
    client.receive_to_end();
    let record = proxy.outcome_of(&client);
    record
        .must_be("origin_tls_error")
        .must_have("stage", "origin_tls");
    let detail = record.text("detail");
    assert!(
        detail.contains("while a session was offered: origin_tls_error"),
        "{detail}"
    );
    assert_eq!(origin.accepts(), 3, "exactly one full handshake");
}

#[test]
fn sessions_that_an_origin_accepts_are_resumed() {
    for draft in [Origin::with_tls(), Origin::with_tls().tls12()] {
        let origin = draft.echo();
        let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
        let resumed: Vec<_> = (0..3)
            .map(|_| exchange(&proxy)["origin_tls_resumed"] == true)
            .collect();
        assert_eq!(resumed, [false, true, true]);
        assert_eq!(origin.accepts(), 3);
    }
}

/// A session of one origin is useless to another: a failure there is that origin's fault.
#[test]
fn a_session_is_offered_only_to_the_origin_that_issued_it() {
    let (sender, offers) = std::sync::mpsc::channel();
    let origins = [(); 2].map(|()| {
        let sender = sender.clone();
        let watch = move |hello: &[u8]| {
            let _ = sender.send(offers_session(hello));
            HelloReaction::Handshake
        };
        Origin::with_tls().screening(watch).echo()
    });
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origins[0])
        .origins(&format!("[\"{}\", \"{}\"]", origins[0], origins[1]))
        .start();
    let offers: Vec<_> = (0..4)
        .map(|_| {
            exchange(&proxy).must_be("ok");
            offers.recv().unwrap()
        })
        .collect();
    assert_eq!(offers, [false, false, true, true]);
    assert_eq!(origins.map(|origin| origin.accepts()), [2, 2]);
}

#[test]
fn clients_that_reset_during_an_origins_handshake_do_not_end_resumption_with_it() {
    for tls12 in [false, true] {
        let (sender, offers) = std::sync::mpsc::channel();
        let hangs = Arc::new(AtomicBool::new(false));
        let hanging = Arc::clone(&hangs);
        let draft = match tls12 {
            true => Origin::with_tls().tls12().ticketing(),
            false => Origin::with_tls(),
        };
        let origin = draft.screening(move |hello| {
            if !hanging.load(Ordering::SeqCst) {
                return HelloReaction::Handshake;
            }
            let _ = sender.send(offers_session(hello));
            HelloReaction::Silence
        });
        let origin = origin.echo();
        let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
        let resumes = |proxy| exchange(proxy)["origin_tls_resumed"] == true;
        assert!(!resumes(&proxy));
        for _ in 0..4 {
            hangs.store(true, Ordering::SeqCst);
            let client = proxy.client("a.test").connect();
            assert!(offers.recv().unwrap(), "a session is offered");
            client.reset();
            proxy.outcome().must_have("fault", "client");
            hangs.store(false, Ordering::SeqCst);
            // The abandoned handshake used up its session, and TLS 1.2 has only one.
            assert_eq!(resumes(&proxy), !tls12);
        }
        assert!(resumes(&proxy));
    }
}
