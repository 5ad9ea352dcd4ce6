//! Ends of streams: each is passed on as what it was, in both directions, after all data before it.

mod truncation;

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::harness::{End, Origin, Proxy, ProxyBuilder, Report, Stream, TIMEOUT, noise};

/// More bytes than the kernel's buffers hold, so that data is in flight when the end comes.
const MUCH: usize = 3 << 20;

/// A proxy of every mode in front of these origins, and a client of each.
fn in_every_mode(plain: &Origin, tls_origin: &Origin) -> (Proxy, Vec<(&'static str, Stream)>) {
    of_every_mode_in(Proxy::builder(), plain, tls_origin)
}

fn of_every_mode_in(
    draft: ProxyBuilder,
    plain: &Origin,
    tls_origin: &Origin,
) -> (Proxy, Vec<(&'static str, Stream)>) {
    let proxy = draft
        .terminate("t.test", plain)
        .reencrypt("r.test", tls_origin)
        .passthrough("origin.test", tls_origin)
        .forward(plain)
        .originate(tls_origin)
        .start();
    let clients = vec![
        ("terminate", proxy.client("t.test").connect()),
        ("terminate 1.2", proxy.client("t.test").tls12().connect()),
        ("reencrypt", proxy.client("r.test").connect()),
        ("passthrough", proxy.client("origin.test").connect()),
        ("forward", proxy.dial("forward")),
        ("originate", proxy.dial("originate")),
    ];
    (proxy, clients)
}

fn next(reports: &Receiver<Report>) -> Report {
    reports.recv_timeout(TIMEOUT).expect("the origin's report")
}

#[test]
fn promise_3_a_client_that_ends_first_still_gets_the_whole_answer() {
    let answer = |stream: Stream| {
        let (question, end) = stream.receive_to_end();
        assert_eq!((question, end), (b"question".to_vec(), End::Clean));
        stream.send(noise(MUCH, 7));
        stream.end();
    };
    let plain = Origin::plain().serve(answer);
    let tls_origin = Origin::with_tls().serve(answer);
    let (proxy, clients) = in_every_mode(&plain, &tls_origin);
    for (mode, client) in clients {
        client.send(b"question");
        client.end();
        let (data, end) = client.receive_to_end();
        assert!(
            data == noise(MUCH, 7),
            "{mode}: {} bytes of {MUCH}",
            data.len()
        );
        assert_eq!(end, End::Clean, "{mode}");
        proxy.outcome_of(&client).must_be("ok");
    }
}

#[test]
fn promise_3_an_origin_that_ends_first_still_gets_the_rest() {
    for with_tls in [false, true] {
        let (sender, reports) = channel();
        let sender = Mutex::new(sender);
        let serve = move |stream: Stream| {
            stream.send(b"that is all from me");
            stream.end();
            let (data, end) = stream.receive_to_end();
            let _ = sender.lock().unwrap().send(Report { data, end });
        };
        let draft = if with_tls {
            Origin::with_tls()
        } else {
            Origin::plain()
        };
        let origin = draft.serve(serve);
        let builder = Proxy::builder();
        let builder = match with_tls {
            true => builder
                .reencrypt("a.test", &origin)
                .passthrough("origin.test", &origin)
                .originate(&origin),
            false => builder.terminate("a.test", &origin).forward(&origin),
        };
        let proxy = builder.start();
        let clients = match with_tls {
            true => vec![
                proxy.client("a.test").connect(),
                proxy.client("origin.test").connect(),
                proxy.dial("originate"),
            ],
            false => vec![proxy.client("a.test").connect(), proxy.dial("forward")],
        };
        for client in clients {
            assert_eq!(
                client.receive_to_end(),
                (b"that is all from me".to_vec(), End::Clean)
            );
            client.send(noise(MUCH, 9));
            client.end();
            let report = next(&reports);
            assert!(
                report.data == noise(MUCH, 9),
                "{} bytes of {MUCH}",
                report.data.len()
            );
            assert_eq!(report.end, End::Clean);
            proxy.outcome_of(&client).must_be("ok");
        }
    }
}

#[test]
fn promise_3_close_notify_becomes_fin_and_fin_becomes_close_notify() {
    let (plain, plain_reports) = Origin::plain().reporting();
    let (tls_origin, tls_reports) = Origin::with_tls().reporting();
    let proxy = Proxy::builder()
        .terminate("a.test", &plain)
        .originate(&tls_origin)
        .start();

    let client = proxy.client("a.test").connect();
    client.send(b"over tls");
    client.close_notify();
    let report = next(&plain_reports);
    assert_eq!(
        (report.data, report.end),
        (b"over tls".to_vec(), End::Clean),
        "close_notify alone ends it"
    );
    assert_eq!(
        client.receive_to_end(),
        (vec![], End::Clean),
        "the origin's FIN"
    );

    let client = proxy.dial("originate");
    client.send(b"in the clear");
    client.fin();
    let report = next(&tls_reports);
    assert_eq!(
        (report.data, report.end),
        (b"in the clear".to_vec(), End::Clean),
        "FIN is close_notify"
    );
    assert_eq!(
        client.receive_to_end(),
        (vec![], End::Clean),
        "the origin's close_notify"
    );
}

/// Reads this many bytes slowly: the data in the kernel lasts longer than any limit of these tests.
fn read_slowly(client: &Stream, len: usize) -> Vec<u8> {
    let mut data = Vec::new();
    while data.len() < len {
        data.extend(client.receive((64 << 10).min(len - data.len())));
        std::thread::sleep(Duration::from_millis(40));
    }
    data
}

#[test]
fn promise_3_a_slow_reader_gets_all_bytes_in_the_kernel_after_the_other_side_ended() {
    let answer = |stream: Stream| {
        stream.send(noise(MUCH, 3));
        stream.end();
    };
    let (plain, tls_origin) = (
        Origin::plain().serve(answer),
        Origin::with_tls().serve(answer),
    );
    let proxy = Proxy::builder()
        .terminate("t.test", &plain)
        .reencrypt("r.test", &tls_origin)
        .on_endpoint("timeouts: { half_close: 1s }")
        .forward(&plain)
        .on_endpoint("timeouts: { half_close: 1s }")
        .start();
    let clients = [
        proxy.client("t.test").small_window().connect(),
        proxy.client("r.test").small_window().connect(),
        proxy.dial("forward").with_small_window(),
    ];
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| {
                assert!(read_slowly(client, MUCH) == noise(MUCH, 3));
                client.end();
                assert_eq!(client.receive_to_end().1, End::Clean);
            });
        }
    });
    for client in &clients {
        proxy.outcome_of(client).must_be("ok");
    }
}

#[test]
fn a_drain_does_not_treat_a_slow_reader_as_idle() {
    let origin = Origin::plain().serve(|stream| {
        stream.send(noise(MUCH, 4));
        let _ = stream.read();
    });
    let proxy = Proxy::builder()
        .forward(&origin)
        .top("process: { drain: { idle_after: 500ms } }")
        .admin()
        .start();
    let client = proxy.dial("forward").with_small_window();
    let begun = client.receive(1);
    proxy
        .ctl(&["drain", "--endpoint", "forward"])
        .must_exit_with(0);
    let rest = read_slowly(&client, MUCH - begun.len());
    assert!([begun, rest].concat() == noise(MUCH, 4));
    client.receive_to_end();
    proxy.outcome_of(&client).must_be("drain");
}
