//! Metrics of the process: its use of the machine, its workers, reloads and tickets.

use crate::harness::{NamelessSessions, Origin, Proxy, eventually};

#[test]
fn the_process_shows_its_cpu_time_memory_and_descriptors() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let before = proxy.metrics();
    let count = |name: &str| before.count(name, &[]);
    let (resident, all) = (
        count("process_resident_memory_bytes"),
        count("process_virtual_memory_bytes"),
    );
    assert!(1e6 < resident && resident < all, "{resident} {all}");
    assert!(count("process_cpu_seconds_total") > 0.0);
    let open = count("process_open_fds");
    assert!(0.0 < open && open < count("process_max_fds"), "{open}");
    let clients: Vec<_> = (0..5).map(|_| proxy.dial("forward")).collect();
    for client in &clients {
        client.must_echo(b"x");
    }
    let during = proxy.metrics();
    assert!(during.count("process_open_fds", &[]) >= open + 10.0);
    assert!(during.count("process_cpu_seconds_total", &[]) > count("process_cpu_seconds_total"));
}

#[test]
fn workers_show_their_share_of_connections_and_their_busy_time() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { workers: 2 }")
        .forward(&origin)
        .admin()
        .start();
    let clients: Vec<_> = (0..20).map(|_| proxy.dial("forward")).collect();
    for client in &clients {
        client.must_echo(b"x");
    }
    let metrics = proxy.metrics();
    let of = |worker: &'static str| {
        let labels = [("worker", worker)];
        (
            metrics.sum("reseal_worker_connections", &labels).unwrap(),
            metrics
                .sum("reseal_worker_busy_seconds_total", &labels)
                .unwrap(),
        )
    };
    let (first, second) = (of("0"), of("1"));
    assert_eq!(first.0 + second.0, 20.0);
    assert!(first.1 > 0.0 && second.1 > 0.0, "{first:?} {second:?}");
    drop(clients);
    eventually("no worker has a connection", || {
        proxy.metrics().sum("reseal_worker_connections", &[]) == Some(0.0)
    });
}

#[test]
fn a_refused_reload_shows_until_it_is_mended() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let last = || {
        let metrics = proxy.metrics();
        (
            metrics.count("reseal_last_reload_successful", &[]),
            metrics.count("reseal_last_reload_success_timestamp_seconds", &[]),
        )
    };
    let (well, loaded) = last();
    assert_eq!(well, 1.0);
    let start = proxy.metrics().count("process_start_time_seconds", &[]);
    // One is rounded to a millisecond, the other truncated.
    assert!((loaded - start).abs() < 0.002, "{loaded} {start}");
    let text = proxy.text().to_owned();
    proxy.reload("nonsense: true\n");
    assert_eq!(last(), (0.0, loaded));
    proxy.reload(&text);
    let (well, again) = last();
    assert_eq!(well, 1.0);
    assert!(again > loaded, "{again} {loaded}");
}

#[test]
fn tickets_are_counted_as_issued_accepted_and_refused() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .admin()
        .start();
    let client = proxy.client("a.test").sessions(NamelessSessions::new());
    let sessions = client.config();
    let exchange = || {
        let stream = client.connect_with(&sessions, "a.test").unwrap();
        stream.must_echo(b"x");
        stream.end();
        stream.receive_to_end();
    };
    let offered = |result: &'static str| {
        let labels = [("result", result)];
        let metrics = proxy.metrics();
        metrics
            .sum("reseal_tickets_offered_total", &labels)
            .unwrap()
    };
    exchange();
    let issued = proxy.metrics().count("reseal_tickets_issued_total", &[]);
    assert!(issued >= 1.0);
    assert_eq!((offered("accepted"), offered("refused")), (0.0, 0.0));
    exchange();
    assert_eq!((offered("accepted"), offered("refused")), (1.0, 0.0));
    // Another policy on clients does not resume the sessions of the old one.
    let text = proxy.text();
    let policy = "client_auth: { mode: optional, ca: client-ca.pem }";
    let changed = text.replacen("    tls:\n", &format!("    tls:\n      {policy}\n"), 1);
    assert_ne!(changed, text);
    proxy.reload(&changed);
    exchange();
    assert_eq!((offered("accepted"), offered("refused")), (1.0, 1.0));
}
