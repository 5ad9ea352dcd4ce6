//! A ClientHello may be split anywhere, into records and into segments: the decision is the same.

use std::thread;

use crate::harness::{End, ForgedHello, Origin, Proxy, Stream, record, recorded_hello};

/// How many clients work at once.
const CLIENTS: usize = 4;

/// The writes of a client, each a segment of its own if the kernel permits.
type Segments = Vec<Vec<u8>>;

/// The hello split into two TLS records at this byte of its message.
fn two_records(hello: &[u8], at: usize) -> Segments {
    let (first, second) = hello[5..].split_at(at);
    vec![[record(first), record(second)].concat()]
}

/// The hello split into two TCP segments at this byte.
fn two_segments(hello: &[u8], at: usize) -> Segments {
    let (first, second) = hello.split_at(at);
    vec![first.to_vec(), second.to_vec()]
}

fn every_fragmentation(hello: &[u8]) -> Vec<Segments> {
    let message = hello.len() - 5;
    let records = (1..message).map(|at| two_records(hello, at));
    let segments = (1..hello.len()).map(|at| two_segments(hello, at));
    let mut cuts: Vec<_> = records.chain(segments).collect();
    let bytes: Vec<_> = hello[5..]
        .iter()
        .flat_map(|byte| record(&[*byte]))
        .collect();
    cuts.push(vec![bytes.clone()]);
    cuts.push(bytes.chunks(1).map(<[u8]>::to_vec).collect());
    cuts
}

fn write(client: &Stream, segments: &Segments) {
    for segment in segments {
        client.write_raw(segment).unwrap();
    }
}

/// Calls `try_one` with every fragmentation, a few at a time.
fn for_every_fragmentation(hello: &[u8], try_one: impl Fn(&Segments) + Sync) {
    let cuts = every_fragmentation(hello);
    assert!(cuts.len() > 2 * 1400, "{} cuts", cuts.len());
    let share = cuts.len().div_ceil(CLIENTS);
    thread::scope(|scope| {
        for cuts in cuts.chunks(share) {
            let try_one = &try_one;
            scope.spawn(move || cuts.iter().for_each(try_one));
        }
    });
}

/// Takes the records of all clients and checks that their decisions agree.
#[track_caller]
fn all_decided_alike(proxy: &Proxy, reason: &str) {
    let records = proxy.outcomes(2);
    for record in records {
        record
            .must_be(reason)
            .must_have("sni", "a.test")
            .must_have("route", "a.test");
    }
    for line in proxy.records_left() {
        let record: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (record["reason"].as_str(), record["route"].as_str()),
            (Some(reason), Some("a.test"))
        );
    }
}

#[test]
fn promise_11_a_fragmented_hello_is_passed_through_unchanged() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .passthrough("a.test", &origin)
        .terminate("b.test", &origin)
        .start();
    for_every_fragmentation(&recorded_hello("a.test"), |segments| {
        let client = proxy.dial("edge");
        write(&client, segments);
        let sent = segments.concat();
        assert_eq!(
            client.receive(sent.len()),
            sent,
            "the origin must see exactly what was sent"
        );
        client.end();
        assert_eq!(client.receive_to_end(), (vec![], End::Clean));
    });
    all_decided_alike(&proxy, "ok");
}

/// Every fragmentation gets a ServerHello, and no origin gets a connection for a client that sends no more.
#[track_caller]
fn every_fragmentation_is_answered(proxy: &Proxy, origin: &Origin) {
    for_every_fragmentation(&recorded_hello("a.test"), |segments| {
        let client = proxy.dial("edge");
        write(&client, segments);
        let answer = client.receive(6);
        assert_eq!((answer[0], answer[5]), (22, 2), "not a ServerHello");
        client.reset();
    });
    all_decided_alike(proxy, "client_reset");
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn promise_11_a_fragmented_hello_is_answered_like_a_whole_one_in_terminate() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .passthrough("b.test", &origin)
        .start();
    every_fragmentation_is_answered(&proxy, &origin);
}

#[test]
fn promise_11_a_fragmented_hello_is_answered_like_a_whole_one_in_reencrypt() {
    let origin = Origin::with_tls().echo();
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .passthrough("b.test", &origin)
        .start();
    every_fragmentation_is_answered(&proxy, &origin);
}

#[test]
fn promise_11_a_fragmented_hello_is_refused_like_a_whole_one() {
    const UNRECOGNIZED_NAME_RECORD: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
    let origin = Origin::echo();
    let proxy = Proxy::builder().passthrough("b.test", &origin).start();
    let hello = ForgedHello::new(b"a.test").bytes();
    for segments in every_fragmentation(&hello) {
        let client = proxy.dial("edge");
        write(&client, &segments);
        let (data, end) = client.receive_to_end();
        assert_eq!(
            (data.as_slice(), end),
            (&UNRECOGNIZED_NAME_RECORD[..], End::Clean)
        );
    }
    assert_eq!(proxy.outcome().must_be("unknown_sni").text("sni"), "a.test");
}

#[test]
fn promise_11_a_real_client_with_a_hello_in_many_records_completes_its_handshake() {
    use crate::harness::Client;
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = Client::new(proxy.listen_addr("edge"), "a.test").version(version);
        let mut config = (*client.config()).clone();
        config.max_fragment_size = Some(64);
        let stream = client
            .connect_with(&std::sync::Arc::new(config), "a.test")
            .unwrap();
        stream.must_echo(b"in small pieces");
    }
}
