//! Data arrives unchanged in every mode, in both directions at once.

use std::thread;

use aws_lc_rs::digest::{Context, SHA256, digest};

use crate::harness::{End, Origin, Proxy, Report, Stream, TIMEOUT, noise, pki};

/// Bytes sent in each direction in every mode; `RESEAL_BYTES` raises it.
fn size() -> usize {
    std::env::var("RESEAL_BYTES").map_or(32 << 20, |text| text.parse().unwrap())
}

fn sha256(data: &[u8]) -> Vec<u8> {
    digest(&SHA256, data).as_ref().to_vec()
}

/// Sends `size` bytes from the start, and then the hash of the bytes it received.
fn full_duplex(stream: &Stream) {
    let sender = stream.clone();
    let sending = thread::spawn(move || sender.send(noise(size(), 2)));
    let data = stream.receive(size());
    sending.join().unwrap();
    stream.send(sha256(&data));
    stream.end();
    assert_eq!(stream.receive_to_end(), (vec![], End::Clean));
}

#[track_caller]
fn both_ways_at_once(proxy: &Proxy, client: Stream) {
    let data = noise(size(), 1);
    let hash = sha256(&data);
    let sender = client.clone();
    let sending = thread::spawn(move || sender.send(data));
    let received = client.receive(size());
    sending.join().unwrap();
    assert_eq!(
        sha256(&received),
        sha256(&noise(size(), 2)),
        "bytes from the origin"
    );
    assert_eq!(client.receive(32), hash, "bytes from the client");
    client.end();
    assert_eq!(client.receive_to_end(), (vec![], End::Clean));
    proxy.outcome_of(&client).must_be("ok");
}

#[test]
fn large_bodies_cross_both_ways_at_once_in_terminate() {
    let origin = Origin::plain().serve(|stream| full_duplex(&stream));
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    both_ways_at_once(&proxy, proxy.client("a.test").connect());
}

#[test]
fn large_bodies_cross_both_ways_at_once_in_reencrypt() {
    let origin = Origin::with_tls().serve(|stream| full_duplex(&stream));
    let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
    both_ways_at_once(&proxy, proxy.client("a.test").connect());
}

#[test]
fn large_bodies_cross_both_ways_at_once_in_tls_12() {
    let origin = Origin::with_tls()
        .tls12()
        .serve(|stream| full_duplex(&stream));
    let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
    both_ways_at_once(&proxy, proxy.client("a.test").tls12().connect());
}

#[test]
fn large_bodies_cross_both_ways_at_once_in_passthrough() {
    let origin = Origin::with_tls().serve(|stream| full_duplex(&stream));
    let proxy = Proxy::builder().passthrough("a.test", &origin).start();
    both_ways_at_once(&proxy, proxy.client("a.test").connect());
}

#[test]
fn large_bodies_cross_both_ways_at_once_in_forward() {
    let origin = Origin::plain().serve(|stream| full_duplex(&stream));
    let proxy = Proxy::builder().forward(&origin).start();
    both_ways_at_once(&proxy, proxy.dial("forward"));
}

#[test]
fn large_bodies_cross_both_ways_at_once_in_originate() {
    let origin = Origin::with_tls().serve(|stream| full_duplex(&stream));
    let proxy = Proxy::builder().originate(&origin).start();
    both_ways_at_once(&proxy, proxy.dial("originate"));
}

/// A proxy with all five modes in front of echo origins, and a client of each.
fn in_every_mode(plain: &Origin, tls_origin: &Origin) -> (Proxy, Vec<(&'static str, Stream)>) {
    let proxy = Proxy::builder()
        .terminate("t.test", plain)
        .reencrypt("r.test", tls_origin)
        .passthrough("origin.test", tls_origin)
        .forward(plain)
        .originate(tls_origin)
        .start();
    let clients = vec![
        ("terminate", proxy.client("t.test").connect()),
        ("reencrypt", proxy.client("r.test").connect()),
        ("passthrough", proxy.client("origin.test").connect()),
        ("forward", proxy.dial("forward")),
        ("originate", proxy.dial("originate")),
    ];
    (proxy, clients)
}

/// Bytes that each mode carries in each direction while all run; `RESEAL_STREAM_BYTES` raises it.
fn stream_size() -> usize {
    std::env::var("RESEAL_STREAM_BYTES").map_or(32 << 20, |text| text.parse().unwrap())
}

/// Sends a long stream to an echo origin while it reads the echo, and compares their hashes, so that
/// neither side needs more than a block in memory.
/// side needs more than a block in memory.
#[track_caller]
fn must_echo_stream(mode: &str, client: &Stream) {
    let blocks = stream_size() >> 20;
    let sender = client.clone();
    let sending = thread::spawn(move || {
        let mut hash = Context::new(&SHA256);
        let mut block = noise(1 << 20, 3);
        for n in 0..blocks {
            block[..8].copy_from_slice(&n.to_le_bytes());
            hash.update(&block);
            sender.send(&block);
        }
        sender.end();
        hash.finish()
    });
    let mut hash = Context::new(&SHA256);
    let mut received = 0;
    let end = loop {
        match client.read() {
            Ok(data) => {
                received += data.len();
                hash.update(&data);
            }
            Err(end) => break end,
        }
    };
    assert_eq!((received, end), (blocks << 20, End::Clean), "{mode}");
    let sent = sending.join().unwrap();
    assert_eq!(hash.finish().as_ref(), sent.as_ref(), "{mode}");
}

#[test]
fn every_mode_at_once_carries_long_streams_both_ways() {
    let (plain, tls_origin) = (Origin::echo(), Origin::with_tls().echo());
    let (proxy, clients) = in_every_mode(&plain, &tls_origin);
    thread::scope(|scope| {
        for (mode, client) in &clients {
            scope.spawn(move || must_echo_stream(mode, client));
        }
    });
    for (_, client) in &clients {
        let record = proxy.outcome_of(client);
        record.must_be("ok");
    }
}

#[test]
fn single_bytes_are_forwarded_at_once() {
    let (plain, tls_origin) = (Origin::echo(), Origin::with_tls().echo());
    let (_proxy, clients) = in_every_mode(&plain, &tls_origin);
    for (mode, client) in clients {
        for byte in 0..200_u8 {
            client.send([byte]);
            assert_eq!(client.receive(1), [byte], "{mode}");
        }
    }
}

#[test]
fn sizes_around_the_edges_of_records_and_reads_survive() {
    let (plain, tls_origin) = (Origin::echo(), Origin::with_tls().echo());
    let (_proxy, clients) = in_every_mode(&plain, &tls_origin);
    for (_, client) in clients {
        for edge in [0, 1 << 14, 1 << 15, 1 << 16, 1 << 17] {
            for size in [edge - edge.min(1), edge + 1, edge + 5, edge + 22] {
                client.must_echo(noise(size, edge as u64));
            }
        }
    }
}

#[test]
fn an_origin_may_speak_first() {
    let greet = |stream: Stream| {
        stream.send(b"220 welcome\r\n");
        crate::harness::echo(&stream);
    };
    let plain = Origin::plain().serve(greet);
    let tls_origin = Origin::with_tls().serve(greet);
    let (_proxy, clients) = in_every_mode(&plain, &tls_origin);
    for (mode, client) in clients {
        assert_eq!(client.receive(13), b"220 welcome\r\n", "{mode}");
        client.must_echo(b"QUIT");
    }
}

#[test]
fn data_that_follows_the_last_handshake_flight_at_once_is_not_lost() {
    // A client of TLS 1.3 sends its Finished and its first data in one segment.
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    for _ in 0..20 {
        let name = rustls::pki_types::ServerName::try_from("a.test").unwrap();
        let config = proxy.client("a.test").tls13().config();
        let mut conn = rustls::ClientConnection::new(config, name).unwrap();
        // Buffered until the handshake is done, then sent.
        std::io::Write::write_all(&mut conn.writer(), b"early bird").unwrap();
        let stream = proxy.dial("edge").handshake(conn.into()).unwrap();
        assert_eq!(stream.receive(10), b"early bird");
    }
}

#[test]
fn a_client_that_ends_with_its_last_handshake_flight_still_gets_its_answer() {
    let (origin, reports) = Origin::plain().reporting();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let name = rustls::pki_types::ServerName::try_from("a.test").unwrap();
    let mut conn = rustls::ClientConnection::new(proxy.client("a.test").config(), name).unwrap();
    std::io::Write::write_all(&mut conn.writer(), b"all there is").unwrap();
    let stream = proxy.dial("edge").handshake(conn.into()).unwrap();
    stream.end();
    let Report { data, end } = reports.recv_timeout(TIMEOUT).unwrap();
    assert_eq!((data, end), (b"all there is".to_vec(), End::Clean));
    assert_eq!(stream.receive_to_end(), (vec![], End::Clean));
    proxy.outcome_of(&stream).must_be("ok");
}

#[test]
fn in_passthrough_bytes_behind_the_hello_are_passed_on() {
    let identity = pki().origin(&["a.test"]);
    let origin = Origin::tls(&identity).echo();
    let echo = Origin::echo();
    let proxy = Proxy::builder()
        .passthrough("a.test", &origin)
        .passthrough("b.test", &echo)
        .start();
    let mut hello = crate::harness::recorded_hello("b.test");
    hello.extend(noise(40_000, 3));
    let client = proxy.dial("edge");
    client.must_echo(hello);
}
