//! An abort is a fault only if it may have lost data. The opposite side gets a reset in any case.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use crate::harness::{End, Origin, Proxy, Record, Stream, TIMEOUT, eventually, noise};

/// More bytes than the kernel's buffers hold.
const MUCH: usize = 3 << 20;

/// An origin that answers the first bytes with `ready`, then reads on and reports how the stream ended.
fn answering_once() -> (Origin, Receiver<End>) {
    let (sender, ends) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::plain().serve(move |stream| {
        stream.receive(2);
        stream.send(b"ready");
        let _ = sender.lock().unwrap().send(stream.receive_to_end().1);
    });
    (origin, ends)
}

#[track_caller]
fn connect_and_exchange(proxy: &Proxy) -> Stream {
    let client = proxy.client("a.test").connect();
    client.send(b"go");
    assert_eq!(client.receive(5), b"ready");
    client
}

#[track_caller]
fn is_no_fault(record: &Record, reason: &str) {
    record.must_be(reason).must_have("after", "relay");
    assert!(!record.has("fault"), "{record:?}");
}

#[track_caller]
fn is_fault_of(record: &Record, reason: &str, side: &str) {
    record
        .must_be(reason)
        .must_have("after", "relay")
        .must_have("fault", side);
}

#[test]
fn a_client_that_aborts_after_its_answer_is_no_fault() {
    let (origin, ends) = answering_once();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    for goodbye in [b"".as_slice(), b"goodbye"] {
        let client = connect_and_exchange(&proxy);
        client.send(goodbye);
        client.fin();
        assert_eq!(ends.recv_timeout(TIMEOUT).unwrap(), End::Reset);
        is_no_fault(&proxy.outcome_of(&client), "client_truncated");

        let client = connect_and_exchange(&proxy);
        client.send(goodbye);
        let address = client.local();
        client.reset();
        assert_eq!(ends.recv_timeout(TIMEOUT).unwrap(), End::Reset);
        is_no_fault(&proxy.outcome_from(address), "client_reset");
    }
}

#[test]
fn a_client_that_aborts_during_an_upload_is_a_fault() {
    let (origin, ends) = answering_once();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let client = connect_and_exchange(&proxy);
    client.send(noise(MUCH, 1));
    client.fin();
    assert_eq!(ends.recv_timeout(TIMEOUT).unwrap(), End::Reset);
    is_fault_of(&proxy.outcome_of(&client), "client_truncated", "client");

    let client = connect_and_exchange(&proxy);
    client.send(noise(MUCH, 2));
    let address = client.local();
    client.reset();
    assert_eq!(ends.recv_timeout(TIMEOUT).unwrap(), End::Reset);
    is_fault_of(&proxy.outcome_from(address), "client_reset", "client");
}

/// The first half of a record of 8 KiB.
fn half_a_record(stream: &Stream) -> Vec<u8> {
    let mut record = stream.records(&noise(8 << 10, 8), 8 << 10);
    record.truncate(4 << 10);
    record
}

#[test]
fn a_client_that_aborts_within_a_record_is_a_fault() {
    let (origin, ends) = answering_once();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    for reason in ["client_truncated", "client_reset"] {
        let client = connect_and_exchange(&proxy);
        client.write_raw(&half_a_record(&client)).unwrap();
        let address = client.local();
        match reason {
            "client_reset" => client.reset(),
            _ => client.fin(),
        }
        assert_eq!(ends.recv_timeout(TIMEOUT).unwrap(), End::Reset);
        is_fault_of(&proxy.outcome_from(address), reason, "client");
    }
}

#[test]
fn a_client_that_resets_while_a_record_for_it_is_incomplete_is_a_fault() {
    let origin = Origin::with_tls().serve(|stream| {
        stream.receive(2);
        let mut records = stream.records(b"ready", 5);
        records.extend(half_a_record(&stream));
        stream.write_raw(&records).unwrap();
        stream.receive_to_end();
    });
    let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
    let client = connect_and_exchange(&proxy);
    let address = client.local();
    client.reset();
    is_fault_of(&proxy.outcome_from(address), "client_reset", "client");
}

#[test]
fn an_origin_that_aborts_within_a_record_for_an_ended_client_is_a_fault() {
    let origin = Origin::with_tls().serve(|stream| {
        stream.receive(2);
        stream.send(b"ready");
        stream.receive_to_end();
        stream.write_raw(&half_a_record(&stream)).unwrap();
        stream.reset();
    });
    let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
    let client = connect_and_exchange(&proxy);
    client.end();
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    is_fault_of(&proxy.outcome_of(&client), "origin_reset", "origin");
}

#[test]
fn a_client_that_aborts_a_download_is_a_fault() {
    let origin = Origin::plain().serve(|stream| {
        stream.receive(2);
        let _ = stream.try_send(noise(2 * MUCH, 3));
    });
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .admin()
        .start();
    let client = proxy.client("a.test").small_window().connect();
    client.send(b"go");
    client.receive(1);
    eventually("more was read for it than it has room for", || {
        let connections = proxy.ctl_json(&["connections"]);
        connections["connections"][0]["bytes_down"].as_u64() > Some(600_000)
    });
    let address = client.local();
    client.reset();
    is_fault_of(&proxy.outcome_from(address), "client_reset", "client");
}

#[test]
fn a_probe_that_connects_and_resets_is_no_fault() {
    let origin = Origin::plain().silent();
    let proxy = Proxy::builder()
        .forward(&origin)
        .top("access_log: { events: [open, close] }")
        .start();
    let probe = proxy.dial("forward");
    let address = probe.local();
    proxy.outcome_from(address).must_have("event", "open");
    probe.reset();
    is_no_fault(&proxy.outcome_from(address), "client_reset");
}

#[test]
fn an_origin_that_resets_after_the_clients_end_is_no_fault() {
    let serve = |stream: Stream| {
        stream.receive(2);
        stream.send(b"ready");
        stream.receive_to_end();
        stream.reset();
    };
    let (plain, tls_origin) = (
        Origin::plain().serve(serve),
        Origin::with_tls().serve(serve),
    );
    let truncating = Origin::with_tls().serve(|stream| {
        stream.receive(2);
        stream.send(b"ready");
        stream.receive_to_end();
        stream.fin();
    });
    for (origin, reason, mode) in [
        (&plain, "origin_reset", "terminate"),
        (&tls_origin, "origin_reset", "reencrypt"),
        (&truncating, "origin_truncated", "reencrypt"),
    ] {
        let proxy = match mode {
            "terminate" => Proxy::builder().terminate("a.test", origin),
            _ => Proxy::builder().reencrypt("a.test", origin),
        };
        let proxy = proxy.start();
        let client = connect_and_exchange(&proxy);
        client.end();
        assert_eq!(client.receive_to_end(), (vec![], End::Reset));
        is_no_fault(&proxy.outcome_of(&client), reason);
    }
}

#[test]
fn an_origin_that_aborts_its_answer_to_an_ended_client_is_a_fault() {
    for reason in ["origin_reset", "origin_truncated"] {
        let origin = Origin::with_tls().serve(move |stream| {
            stream.receive_to_end();
            stream.send(noise(MUCH, 4));
            if reason == "origin_reset" {
                return stream.reset();
            }
            stream.fin();
            stream.receive_to_end();
        });
        let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
        let client = proxy.client("a.test").connect();
        client.send(b"go");
        client.end();
        assert_eq!(client.receive_to_end().1, End::Reset);
        is_fault_of(&proxy.outcome_of(&client), reason, "origin");
    }
}

#[test]
fn an_origin_that_resets_without_an_answer_to_an_ended_client_is_a_fault() {
    let origin = Origin::plain().serve(|stream| {
        stream.receive_to_end();
        stream.reset();
    });
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let client = proxy.client("a.test").connect();
    client.send(b"go");
    client.end();
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    is_fault_of(&proxy.outcome_of(&client), "origin_reset", "origin");
}

#[test]
fn an_origin_that_aborts_after_an_answer_is_a_fault_while_its_client_is_open() {
    let origin = Origin::with_tls().serve(|stream| {
        stream.receive(2);
        stream.send(b"ready");
        stream.fin();
        stream.receive_to_end();
    });
    let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
    let client = connect_and_exchange(&proxy);
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    is_fault_of(&proxy.outcome_of(&client), "origin_truncated", "origin");
}

#[test]
fn a_client_that_resets_after_the_origins_end_is_no_fault() {
    let (sender, ends) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::plain().serve(move |stream| {
        stream.receive(2);
        stream.send(b"ready");
        stream.end();
        let _ = sender.lock().unwrap().send(stream.receive_to_end().1);
    });
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let client = connect_and_exchange(&proxy);
    assert_eq!(client.receive_to_end(), (vec![], End::Clean));
    let address = client.local();
    client.reset();
    assert_eq!(ends.recv_timeout(TIMEOUT).unwrap(), End::Reset);
    is_no_fault(&proxy.outcome_from(address), "client_reset");
}

#[test]
fn an_origin_that_ends_and_closes_during_an_upload_is_a_fault() {
    let origin = Origin::plain().serve(|stream| {
        stream.receive(2);
        stream.send(b"ready");
        stream.end();
    });
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let client = connect_and_exchange(&proxy);
    assert_eq!(client.receive_to_end(), (vec![], End::Clean));
    while client.try_send(noise(64 << 10, 7)).is_ok() {}
    is_fault_of(&proxy.outcome_of(&client), "origin_reset", "origin");
}
