//! Ends of streams: each is passed on as what it was, in both directions, after all data before it.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::harness::{
    End, Origin, OriginBuilder, Proxy, ProxyBuilder, Report, Stream, TIMEOUT, noise,
};

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

#[test]
fn promise_3_a_truncated_client_stream_becomes_a_reset_after_its_data() {
    let (plain, plain_reports) = Origin::plain().reporting();
    let (tls_origin, tls_reports) = Origin::with_tls().reporting();
    let proxy = Proxy::builder()
        .terminate("t.test", &plain)
        .reencrypt("r.test", &tls_origin)
        .start();
    for (sni, reports) in [("t.test", &plain_reports), ("r.test", &tls_reports)] {
        for client in [proxy.client(sni).tls12(), proxy.client(sni).tls13()] {
            let client = client.connect();
            client.send(noise(MUCH, 5));
            client.fin();
            let report = next(reports);
            assert!(
                report.data == noise(MUCH, 5),
                "{sni}: {} bytes of {MUCH}",
                report.data.len()
            );
            assert_eq!(report.end, End::Reset, "{sni}");
            let record = proxy.outcome_of(&client);
            record
                .must_be("client_truncated")
                .must_have("stage", "relay")
                .must_have("fault", "client");
        }
    }
}

#[test]
fn promise_3_a_truncated_origin_stream_becomes_a_reset_after_its_data() {
    let origin = Origin::with_tls().serve(|stream| {
        stream.receive(2);
        stream.send(noise(MUCH, 6));
        stream.fin();
        stream.receive_to_end();
    });
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .originate(&origin)
        .start();
    for client in [proxy.client("a.test").connect(), proxy.dial("originate")] {
        client.send(b"go");
        let (data, end) = client.receive_to_end();
        assert!(data == noise(MUCH, 6), "{} bytes of {MUCH}", data.len());
        assert_eq!(end, End::Reset);
        let record = proxy.outcome_of(&client);
        record
            .must_be("origin_truncated")
            .must_have("stage", "relay")
            .must_have("fault", "origin");
    }
}

#[test]
fn an_incomplete_record_at_the_end_is_a_truncation() {
    let (origin, reports) = Origin::plain().reporting();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let client = proxy.client("a.test").connect();
    client.send(b"whole");
    // The header of a record of 100 bytes, and only some of its payload.
    client.write_raw(b"\x17\x03\x03\x00\x64abc").unwrap();
    client.fin();
    let report = next(&reports);
    assert_eq!((report.data, report.end), (b"whole".to_vec(), End::Reset));
    proxy.outcome_of(&client).must_be("client_truncated");
}

#[test]
fn on_truncation_close_turns_a_truncation_into_a_clean_end() {
    let (origin, reports) = Origin::plain().reporting();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("on_truncation: close")
        .start();
    let client = proxy.client("a.test").connect();
    client.send(b"bye");
    client.fin();
    let report = next(&reports);
    assert_eq!((report.data, report.end), (b"bye".to_vec(), End::Clean));
    assert_eq!(client.receive_to_end(), (vec![], End::Clean));
    proxy.outcome_of(&client).must_be("ok");

    let origin = Origin::with_tls().serve(|stream| {
        stream.send(b"bye");
        stream.fin();
        stream.receive_to_end();
    });
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .origin_tls("{ ca: origin-ca.pem, server_name: origin.test, on_truncation: close }")
        .start();
    let client = proxy.client("a.test").connect();
    assert_eq!(client.receive_to_end(), (b"bye".to_vec(), End::Clean));
    client.end();
    proxy.outcome_of(&client).must_be("ok");
}

#[test]
fn promise_3_a_clients_reset_is_passed_on_after_its_data() {
    let (plain, plain_reports) = Origin::plain().reporting();
    let (tls_origin, tls_reports) = Origin::with_tls().reporting();
    let draft = Proxy::builder().top("access_log: { events: [open, close] }");
    let (proxy, clients) = of_every_mode_in(draft, &plain, &tls_origin);
    for (mode, client) in clients {
        let address = client.local();
        // A reset before the origin is connected would not be passed on.
        proxy.outcome_from(address).must_have("event", "open");
        client.send(b"before the reset");
        client.reset();
        let reports = match mode {
            "terminate" | "terminate 1.2" | "forward" => &plain_reports,
            _ => &tls_reports,
        };
        let report = next(reports);
        assert_eq!(
            (report.data, report.end),
            (b"before the reset".to_vec(), End::Reset),
            "{mode}"
        );
        let record = proxy.outcome_from(address);
        // After an answer a short final message is no fault; in passthrough the origin's handshake counts
        // as an answer.
        let fault = if mode == "passthrough" { "" } else { "client" };
        record
            .must_be("client_reset")
            .must_have("stage", "relay")
            .must_have("fault", fault);
    }
}

#[test]
fn promise_3_an_origins_reset_is_passed_on_after_its_data() {
    let serve = |stream: Stream| {
        stream.receive(2);
        stream.send(b"before the reset");
        stream.reset();
    };
    let plain = Origin::plain().serve(serve);
    let tls_origin = Origin::with_tls().serve(serve);
    let (proxy, clients) = in_every_mode(&plain, &tls_origin);
    for (mode, client) in clients {
        client.send(b"go");
        assert_eq!(
            client.receive_to_end(),
            (b"before the reset".to_vec(), End::Reset),
            "{mode}"
        );
        let record = proxy.outcome_of(&client);
        record
            .must_be("origin_reset")
            .must_have("stage", "relay")
            .must_have("fault", "origin");
    }
}

#[test]
fn a_unix_origin_is_closed_when_its_client_aborts_as_unix_sockets_have_no_reset() {
    let builder = Proxy::builder();
    let path = builder.path("origin.sock");
    let (origin, reports) = Origin::plain().at(path.as_ref()).reporting();
    let proxy = builder.terminate("a.test", &origin).start();
    let client = proxy.client("a.test").connect();
    client.send(b"cut");
    client.fin();
    let report = next(&reports);
    assert_eq!(report.data, b"cut");
    proxy.outcome_of(&client).must_be("client_truncated");
}

/// A record that fails authentication.
const CORRUPT: &[u8] = b"\x17\x03\x03\x00\x20xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// An origin that sends a greeting, so that the relay has begun, and reports the bytes it then receives.
fn greeting(draft: OriginBuilder) -> (Origin, Receiver<Report>) {
    let (sender, reports) = channel();
    let sender = Mutex::new(sender);
    let origin = draft.serve(move |stream| {
        stream.send(b"ready");
        let (data, end) = stream.receive_to_end();
        let _ = sender.lock().unwrap().send(Report { data, end });
    });
    (origin, reports)
}

#[test]
fn a_corrupt_record_of_the_client_resets_the_origin_and_alerts_the_client() {
    const BAD_RECORD_MAC: u8 = 20;
    let (origin, reports) = greeting(Origin::plain());
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    for client in [
        proxy.client("a.test").tls12(),
        proxy.client("a.test").tls13(),
    ] {
        let client = client.connect();
        assert_eq!(client.receive(5), b"ready");
        client.send(b"good so far");
        client.write_raw(CORRUPT).unwrap();
        assert_eq!(
            client.receive_to_end(),
            (vec![], End::Alert(BAD_RECORD_MAC))
        );
        let report = next(&reports);
        assert_eq!(
            (report.data, report.end),
            (b"good so far".to_vec(), End::Reset)
        );
        proxy
            .outcome_of(&client)
            .must_be("client_tls_error")
            .must_have("stage", "relay");
    }
}

#[test]
fn a_corrupt_record_of_the_origin_resets_the_client_and_alerts_the_origin() {
    let (sender, ends) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::with_tls().serve(move |stream| {
        stream.receive(2);
        stream.send(b"good so far");
        let _ = stream.write_raw(CORRUPT);
        let _ = sender.lock().unwrap().send(stream.receive_to_end().1);
    });
    let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
    let client = proxy.client("a.test").connect();
    client.send(b"go");
    assert_eq!(
        client.receive_to_end(),
        (b"good so far".to_vec(), End::Reset)
    );
    assert!(matches!(ends.recv_timeout(TIMEOUT).unwrap(), End::Alert(_)));
    proxy
        .outcome_of(&client)
        .must_be("origin_tls_error")
        .must_have("stage", "relay");
}

/// Reads this many bytes slowly: the data in the kernel lasts longer than any limit of these tests.
fn read_slowly(client: &Stream, len: usize) -> Vec<u8> {
    let mut data = Vec::new();
    while data.len() < len {
        data.extend(client.receive((64 << 10).min(len - data.len())));
        std::thread::sleep(Duration::from_millis(30));
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
        .on_endpoint("timeouts: { half_close: 500ms }")
        .forward(&plain)
        .on_endpoint("timeouts: { half_close: 500ms }")
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

/// Both sides send at once: no record may be encrypted for the side that violated TLS.
#[test]
fn a_client_that_violates_tls_while_its_origin_sends_gets_an_alert() {
    const BAD_RECORD_MAC: u8 = 20;
    let forged = [&[23, 3, 3, 0, 32][..], &[0; 32]].concat();
    let origin = Origin::plain().serve(|stream| while stream.try_send(noise(1024, 3)).is_ok() {});
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    for client in [
        proxy.client("a.test").tls13(),
        proxy.client("a.test").tls12(),
    ] {
        for _ in 0..20 {
            let client = client.connect();
            client.receive(64 * 1024);
            client.write_raw(&forged).unwrap();
            let end = client.receive_to_end().1;
            assert!(
                matches!(end, End::Alert(BAD_RECORD_MAC) | End::Reset),
                "{end:?}"
            );
            let record = proxy.outcome_of(&client);
            record
                .must_be("client_tls_error")
                .must_have("fault", "client");
        }
    }
}
