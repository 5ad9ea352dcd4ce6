//! Leaks: after thousands of connections the process uses no more memory and descriptors.

use crate::harness::{End, Origin, Proxy, Stream, Usage, eventually};

/// How many connections go through each mode; `RESEAL_SOAK` raises it.
fn rounds() -> usize {
    std::env::var("RESEAL_SOAK").map_or(2000, |text| text.parse().unwrap())
}

/// Memory that may remain in use: the allocator does not return all of it to the kernel.
const MEMORY_SLACK: usize = 6 << 20;

#[track_caller]
fn exchange(stream: &Stream) {
    stream.must_echo(b"one of many");
    stream.end();
    assert_eq!(stream.receive_to_end(), (vec![], End::Clean));
}

/// The usage of the proxy once it has recorded this many connections.
fn at_rest(proxy: &Proxy, connections: usize) -> Usage {
    for record in proxy.outcomes(connections) {
        record.must_be("ok");
    }
    proxy.usage_at_rest()
}

#[track_caller]
fn leaves_nothing_behind(proxy: &Proxy, connect: impl Fn() -> Stream) {
    let warm = rounds() / 10;
    for _ in 0..warm {
        exchange(&connect());
    }
    let before = at_rest(proxy, warm);
    for _ in 0..rounds() {
        exchange(&connect());
    }
    let after = at_rest(proxy, rounds());
    assert_eq!(after.descriptors, before.descriptors, "descriptors");
    assert_eq!(after.threads, before.threads, "threads");
    let grown = after.memory.saturating_sub(before.memory);
    assert!(
        grown < MEMORY_SLACK,
        "{} KiB more after {} connections",
        grown / 1024,
        rounds()
    );
}

#[test]
fn terminate_leaves_nothing_behind() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let client = proxy.client("a.test");
    leaves_nothing_behind(&proxy, || client.connect());
}

#[test]
fn reencrypt_leaves_nothing_behind() {
    let origin = Origin::with_tls().echo();
    let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
    let client = proxy.client("a.test");
    leaves_nothing_behind(&proxy, || client.connect());
}

#[test]
fn passthrough_leaves_nothing_behind() {
    let origin = Origin::with_tls().echo();
    let proxy = Proxy::builder().passthrough("a.test", &origin).start();
    let client = proxy.client("a.test");
    leaves_nothing_behind(&proxy, || client.connect());
}

#[test]
fn forward_leaves_nothing_behind() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).start();
    leaves_nothing_behind(&proxy, || proxy.dial("forward"));
}

#[test]
fn originate_leaves_nothing_behind() {
    let origin = Origin::with_tls().echo();
    let proxy = Proxy::builder().originate(&origin).start();
    leaves_nothing_behind(&proxy, || proxy.dial("originate"));
}

#[test]
fn refused_clients_leave_nothing_behind() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("client_auth: { mode: required, ca: client-ca.pem }")
        .start();
    let refuse = |count: usize| {
        for _ in 0..count {
            proxy
                .dial("edge")
                .write_raw(b"GET / HTTP/1.1\r\n\r\n")
                .unwrap();
            drop(proxy.dial("edge"));
            drop(proxy.client("unknown.test").refusal());
            drop(proxy.client("a.test").refusal());
        }
        proxy.outcomes(4 * count);
    };
    refuse(20);
    let before = proxy.usage();
    refuse(rounds() / 10);
    eventually("the descriptors are few again", || {
        proxy.usage().descriptors <= before.descriptors
    });
    let grown = proxy.usage().memory.saturating_sub(before.memory);
    assert!(grown < MEMORY_SLACK, "{} KiB more", grown / 1024);
}
