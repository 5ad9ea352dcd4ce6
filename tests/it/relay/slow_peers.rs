//! Peers that do not read cost bounded memory and lose no data.

use std::time::{Duration, Instant};

use crate::harness::{Client, End, Origin, Proxy, Stream, becomes_true, eventually, noise, queued};

/// Bytes that an origin sends to each client.
const FLOOD: usize = 48 << 20;

/// The most memory of a connection whose peer does not read: twice the ciphertext of one read.
const MEMORY_MAX: usize = 512 << 10;

const CLIENTS: usize = 12;

/// Clients do not read while their origins send as much as they can.
#[track_caller]
fn memory_is_bounded(proxy: &Proxy, connect: impl Fn() -> Stream) {
    // Memory that only the first connection allocates is not counted.
    connect().receive(1);
    let before = proxy.usage().memory;
    let clients: Vec<_> = (0..CLIENTS).map(|_| connect()).collect();
    for client in &clients {
        client.receive(1);
    }
    come_to_rest(proxy);
    let grown = proxy.usage().memory.saturating_sub(before);
    assert!(
        grown < CLIENTS * MEMORY_MAX,
        "{} KiB for each slow client",
        grown / CLIENTS / 1024
    );
    // Once the client reads, it gets the buffered bytes and the rest.
    let (data, end) = clients[0].receive_to_end();
    assert_eq!((data.len(), end), (FLOOD - 1, End::Clean));
}

/// The kernel has no event for the moment at which all bytes are queued; the process then uses no CPU time.
#[track_caller]
fn come_to_rest(proxy: &Proxy) {
    eventually("everything is full", || {
        let cpu = proxy.usage().cpu;
        std::thread::sleep(Duration::from_millis(120));
        proxy.usage().cpu == cpu
    });
}

fn flood(stream: Stream) {
    if stream.try_send(vec![7; FLOOD]).is_ok() {
        stream.end();
    }
}

#[test]
fn promise_7_slow_readers_of_terminate_cost_little_memory() {
    let origin = Origin::plain().serve(flood);
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    memory_is_bounded(&proxy, || proxy.client("a.test").small_window().connect());
}

#[test]
fn promise_7_slow_readers_of_reencrypt_cost_little_memory() {
    let origin = Origin::with_tls().serve(flood);
    let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
    memory_is_bounded(&proxy, || proxy.client("a.test").small_window().connect());
}

#[test]
fn promise_7_slow_readers_of_forward_cost_little_memory() {
    let origin = Origin::plain().serve(flood);
    let proxy = Proxy::builder().forward(&origin).start();
    memory_is_bounded(&proxy, || proxy.dial("forward").with_small_window());
}

#[test]
fn promise_7_idle_connections_hold_no_buffers() {
    const IDLE: usize = 200;
    /// The TLS state of one side takes 4 KB; the rest is the task, and rounding by the allocator.
    const IDLE_MAX: usize = 24 << 10;
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let place = proxy.listen_addr("edge").clone();
    let connect = || {
        let stream = Client::new(&place, "a.test").connect();
        stream.must_echo(noise(100_000, 4));
        stream
    };
    let _warm: Vec<_> = (0..20).map(|_| connect()).collect();
    let before = proxy.usage().memory;
    let idle: Vec<_> = (0..IDLE).map(|_| connect()).collect();
    let grown = proxy.usage().memory.saturating_sub(before);
    assert!(
        grown < IDLE * IDLE_MAX,
        "{} bytes for each idle connection",
        grown / IDLE
    );
    assert!(
        idle.iter()
            .all(|stream| stream.try_send(b"still there").is_ok())
    );
}

#[test]
fn a_slow_reader_does_not_delay_other_connections() {
    let flooding = Origin::plain().serve(flood);
    let echoing = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("slow.test", &flooding)
        .terminate("quick.test", &echoing)
        .top("process: { workers: 1 }")
        .start();
    let _slow: Vec<_> = (0..4)
        .map(|_| proxy.client("slow.test").small_window().connect())
        .collect();
    let quick = proxy.client("quick.test").connect();
    for _ in 0..50 {
        quick.must_echo(b"not delayed");
    }
}

#[test]
fn a_busy_connection_does_not_starve_others_on_its_worker() {
    let flooding =
        Origin::plain().serve(|stream| while stream.try_send(vec![1; 1 << 20]).is_ok() {});
    let echoing = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&flooding)
        .endpoint("quick", "tcp")
        .route("forward", "", &echoing)
        .top("process: { workers: 1 }")
        .start();
    let busy = proxy.dial("forward");
    std::thread::spawn(move || while busy.read().is_ok() {});
    let quick = proxy.dial("quick");
    let done = becomes_true(Duration::from_secs(10), || {
        quick.must_echo(b"my turn");
        true
    });
    assert!(done);
}

#[test]
fn a_reset_waits_until_a_slow_reader_has_the_bytes_before_it() {
    let origin = Origin::with_tls().serve(|stream| {
        stream.send(noise(2 << 20, 8));
        // An end without close_notify.
        stream.fin();
        stream.receive_to_end();
    });
    let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
    let client = proxy.client("a.test").small_window().connect();
    // The origin has ended long before we begin to read.
    eventually("the origin has been served", || origin.accepts() == 1);
    std::thread::sleep(Duration::from_millis(300));
    let (data, end) = client.receive_to_end();
    assert!(
        data == noise(2 << 20, 8),
        "{} bytes of {}",
        data.len(),
        2 << 20
    );
    assert_eq!(end, End::Reset);
    proxy.outcome_of(&client).must_be("origin_truncated");
}

#[test]
fn a_reset_does_not_wait_for_a_reader_that_has_reset() {
    let (now, signal) = std::sync::mpsc::channel::<()>();
    let signal = std::sync::Mutex::new(signal);
    let origin = Origin::plain().serve(move |stream| {
        assert_eq!(stream.receive_to_end(), (b"bye".to_vec(), End::Clean));
        stream.send(b"too late");
        let _ = signal.lock().unwrap().recv();
        stream.reset();
    });
    let proxy = Proxy::builder().forward(&origin).start();
    let client = proxy.dial("forward");
    client.send(b"bye");
    let address = client.local();
    // The client is gone, so the bytes that the origin still sends are never acknowledged.
    drop(client);
    come_to_rest(&proxy);
    now.send(()).unwrap();
    // A client that is only slow would have `half_close`, a minute, to take them.
    let start = Instant::now();
    let record = proxy.outcome_from(address);
    record.must_have("stage", "relay");
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}: {record:?}",
        start.elapsed()
    );
}

#[test]
fn sockets_of_a_configured_size_queue_little_for_a_slow_reader() {
    // Twice the size (the kernel doubles it), and one segment.
    const QUEUED_MAX: u64 = (2 * 16 + 64) << 10;
    let tcp = "tcp: { send_buffer: 16KiB, receive_buffer: 16KiB }";
    let origin = Origin::plain().serve(flood);
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_endpoint(tcp)
        .on_upstream(tcp)
        .start();
    let client = proxy.dial("forward").with_small_window();
    client.receive(1);
    let (port, from) = (
        proxy.listen_addr("forward").tcp(),
        origin.listen_addr().tcp(),
    );
    let to_client = || queued(|local, _| local == port).0;
    let to_read = || queued(|_, peer| peer == from).1;
    // The test checks the queues, because on a busy machine the process may use no CPU time for a while.
    eventually("the queues are in use", || to_client() > 0 && to_read() > 0);
    come_to_rest(&proxy);
    let (to_client, to_read) = (to_client(), to_read());
    assert!(to_client <= QUEUED_MAX, "{to_client} bytes for the client");
    assert!(to_read <= QUEUED_MAX, "{to_read} bytes of the origin");
    let (data, end) = client.receive_to_end();
    assert_eq!((data.len(), end), (FLOOD - 1, End::Clean));
}

#[test]
fn a_buffer_size_that_the_kernel_caps_is_a_warning() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_endpoint("tcp: { send_buffer: 1023MiB }")
        .on_upstream("tcp: { receive_buffer: 1023MiB }")
        .start();
    proxy.log_line(|line| line.contains("endpoint `forward`") && line.contains("wmem_max"));
    proxy.log_line(|line| line.contains("upstream `") && line.contains("rmem_max"));
    proxy.dial("forward").must_echo(b"and serves");
}
