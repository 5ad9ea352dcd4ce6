//! Fairness: connections that keep a worker busy do not starve others on it, and their own data arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::harness::{End, Origin, Proxy, Stream, noise};

/// Sends and receives at once, so that each side decrypts and encrypts records in turn.
#[track_caller]
fn small_records_cross(proxy: &Proxy, client: &Stream) {
    let data = noise(60_000, 1);
    let (sender, sent) = (client.clone(), data.clone());
    let sending = thread::spawn(move || {
        for (n, part) in sent.chunks(20).enumerate() {
            sender.send_in_records(part, 1, n % 3);
        }
    });
    assert!(client.receive(data.len()) == data, "what came back differs");
    sending.join().unwrap();
    client.end();
    assert_eq!(client.receive_to_end(), (vec![], End::Clean));
    proxy.outcome_of(client).must_be("ok");
}

#[test]
fn one_byte_records_between_key_updates_arrive_complete() {
    let (plain, tls_origin) = (Origin::echo(), Origin::with_tls().echo());
    let proxy = Proxy::builder()
        .terminate("a.test", &plain)
        .reencrypt("b.test", &tls_origin)
        .start();
    for name in ["a.test", "b.test"] {
        small_records_cross(&proxy, &proxy.client(name).tls13().connect());
    }
}

/// How many echoes another connection of the same worker gets while the origin receives `flood` as `data`
/// bytes.
fn answered_during(flood: impl FnOnce(&Stream) -> Vec<u8>, data: usize) -> usize {
    let received = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&received);
    let sink = Origin::plain().serve(move |stream| {
        while let Ok(data) = stream.read() {
            counter.fetch_add(data.len(), Ordering::SeqCst);
        }
    });
    let echo = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { workers: 1 }")
        .terminate("sink.test", &sink)
        .terminate("echo.test", &echo)
        .start();
    let other = proxy.client("echo.test").connect();
    let busy = proxy.client("sink.test").tls13().connect();
    let wire = flood(&busy);
    let sender = busy.clone();
    let sending = thread::spawn(move || sender.write_raw(&wire).unwrap());
    let mut answered = 0;
    while received.load(Ordering::SeqCst) < data {
        other.must_echo(b"x");
        answered += 1;
    }
    sending.join().unwrap();
    answered
}

#[test]
fn one_byte_records_do_not_delay_other_connections() {
    let data = noise(200_000, 1);
    let answered = answered_during(|busy| busy.records(&data, 1), data.len());
    assert!(
        answered >= 10,
        "answered {answered} times in 200 000 records"
    );
}

#[test]
fn key_updates_do_not_delay_other_connections() {
    let flood = |busy: &Stream| {
        let mut wire = Vec::new();
        for _ in 0..1000 {
            // More key updates in a row, without data between them, are an error.
            wire.extend(busy.key_updates(30));
            wire.extend(busy.records(b"x", 1));
        }
        wire
    };
    let answered = answered_during(flood, 1000);
    assert!(
        answered >= 10,
        "answered {answered} times in 30 000 key updates"
    );
}
