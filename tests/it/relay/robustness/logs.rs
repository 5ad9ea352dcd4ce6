//! The access log under load, and which events it records.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::took_less_than;
use crate::harness::{Directory, End, Origin, Proxy, eventually, output, recorded_hello};

/// The number of connections whose records go to a pipe without a reader: more than the queue, the buffer and
/// a small pipe hold together.
const UNLOGGED: usize = 18_000;

#[test]
fn a_log_pipe_without_a_reader_delays_neither_clients_nor_the_shutdown() {
    let directory = Directory::new();
    let fifo = directory.join("access.fifo");
    output("mkfifo", &[&fifo], "").must_exit_with(0);
    // A reader has opened the pipe and does not read.
    let reader = rustix::fs::open(
        &fifo,
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    rustix::pipe::fcntl_setpipe_size(&reader, 4096).unwrap();
    let origin = Origin::echo();
    let mut proxy = Proxy::builder()
        .top("process: { workers: 1 }")
        .top(&format!("access_log: {{ output: \"{}\" }}", fifo.display()))
        .passthrough("a.test", &origin)
        // A unix socket does not run out of ports.
        .listen(&format!(
            "\"unix:{}\"",
            directory.join("edge.sock").display()
        ))
        .forward(&origin)
        .admin()
        .start();
    let first = proxy.dial("forward");
    first.must_echo(b"the worker serves");
    let before = proxy.usage_at_rest().descriptors;
    for _ in 0..UNLOGGED {
        // The client closes before it sends data, which is recorded like any other connection.
        drop(proxy.dial("edge"));
    }
    // Its record is behind all others in the queue.
    let last = proxy.dial("edge");
    last.must_echo(recorded_hello("a.test"));
    drop(last);
    eventually("all of them have ended", || {
        proxy.usage().descriptors <= before
    });
    first.must_echo(b"not delayed");
    proxy.admin("/status", &[]).must_be(200);
    let lost = proxy
        .metrics()
        .count("reseal_log_dropped_total", &[("log", "access")]);
    assert!(lost > 0.0, "lines are lost and not counted");
    drop(first);
    proxy.signal(Signal::USR1);
    proxy.dial("forward").must_echo(b"nor after a rotation");
    let start = Instant::now();
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit_code(), 0);
    took_less_than(Duration::from_secs(10), start);
    // The queue was full: no more records left the process than the pipe holds.
    let mut written = 0;
    let mut page = vec![0; 4096];
    while let Ok(len @ 1..) = rustix::io::read(&reader, &mut page) {
        written += len;
    }
    assert!((1..=4096).contains(&written), "{written}");
}

#[track_caller]
fn one_exchange(proxy: &Proxy) -> SocketAddr {
    let client = proxy.dial("forward");
    client.must_echo(b"x");
    client.end();
    assert_eq!(client.receive_to_end(), (vec![], End::Clean));
    client.local()
}

/// The `event` of every record of one connection, in order.
#[track_caller]
fn events(configured: &str) -> Vec<String> {
    let origin = Origin::echo();
    let mut proxy = Proxy::builder()
        .top(&format!("access_log: {{ events: {configured} }}"))
        .forward(&origin)
        .start();
    let address = one_exchange(&proxy).to_string();
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit_code(), 0);
    let records = proxy.all_records();
    for record in &records {
        record.must_have("client", &address);
        let closes = record.text("event") != "open";
        assert_eq!(record.has("reason"), closes, "{record:?}");
    }
    records
        .iter()
        .map(|record| record.text("event").to_owned())
        .collect()
}

#[test]
fn only_the_configured_events_are_recorded() {
    assert_eq!(events("[open]"), ["open"]);
    assert_eq!(events("[open, close]"), ["open", "close"]);
    // A log with only one kind of record does not name the event.
    assert_eq!(events("close"), [""]);
}
