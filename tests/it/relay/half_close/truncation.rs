//! Streams that end without close_notify, with a reset, or in a corrupt record.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use super::{MUCH, in_every_mode, next, of_every_mode_in};
use crate::harness::{End, Origin, OriginBuilder, Proxy, Report, Stream, TIMEOUT, noise};

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
