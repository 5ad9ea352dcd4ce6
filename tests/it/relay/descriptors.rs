//! Descriptor exhaustion: no thread spins, established connections continue, and the process recovers.

use std::collections::HashSet;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::harness::{ConfigCheck, End, Origin, Proxy, Stream, becomes_true, finish_under};

/// Lowers the descriptor limit of a running process to those it uses and a few more.
fn starve(proxy: &Proxy, more: usize) {
    proxy.usage_at_rest();
    let used: HashSet<u64> = std::fs::read_dir(format!("/proc/{}/fd", proxy.pid()))
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    // The limit applies to descriptor numbers, which may have gaps.
    let limit = (0..).filter(|number| !used.contains(number)).nth(more);
    let few = Rlimit {
        current: limit,
        maximum: limit,
    };
    let pid = Pid::from_raw(i32::try_from(proxy.pid()).unwrap());
    prlimit(pid, Resource::Nofile, few).unwrap();
}

/// Clients that the kernel has accepted, whether or not the process has.
fn crowd(proxy: &Proxy, size: usize) -> Vec<TcpStream> {
    let address = proxy.listen_addr("forward").tcp();
    (0..size)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect()
}

/// Waits until a new client is served.
#[track_caller]
fn recovers(proxy: &Proxy) {
    let served = becomes_true(Duration::from_secs(10), || {
        let client: Stream = proxy.dial("forward");
        client.try_send(b"hello again").is_ok()
            && client.read().is_ok_and(|data| data == b"hello again")
    });
    assert!(served, "it never recovered");
}

/// The number of warnings and errors in the log, apart from the one that a configured limit is reached.
fn problems(proxy: &Proxy) -> usize {
    let bad = |line: &&String| {
        (line.contains("\"warn\"") || line.contains("\"error\""))
            && !line.contains("a limit is reached: clients wait")
    };
    proxy.log().iter().filter(bad).count()
}

#[test]
fn promise_8_without_descriptors_no_thread_spins_and_connections_continue() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_upstream("connect: { attempts: 1 }")
        .start();
    let established: Vec<_> = (0..4).map(|_| proxy.dial("forward")).collect();
    for stream in &established {
        stream.must_echo(b"established");
    }
    starve(&proxy, 0);
    let crowd = crowd(&proxy, 50);
    proxy.log_line(|line| line.contains("accepting is paused: out of file descriptors"));
    let before = proxy.usage().cpu;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        for stream in &established {
            stream.must_echo(b"still going");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let used = proxy.usage().cpu - before;
    assert!(
        used < Duration::from_millis(600),
        "{used:?} of processor time in 2 s"
    );
    // One message per worker in five seconds.
    assert!(problems(&proxy) <= 4, "{}", proxy.log().join("\n"));

    // Two of four connections end, which frees four descriptors.
    let mut established = established;
    established.truncate(2);
    drop(crowd);
    let start = Instant::now();
    recovers(&proxy);
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    for stream in &established {
        stream.must_echo(b"to the end");
    }
}

#[test]
fn promise_8_it_recovers_from_descriptor_exhaustion_repeatedly() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_upstream("connect: { attempts: 1 }")
        .start();
    proxy.dial("forward").must_echo(b"its workers have started");
    proxy.outcome();
    starve(&proxy, 10);
    for _ in 0..3 {
        let crowd = crowd(&proxy, 40);
        proxy.log_line(|line| line.contains("accepting is paused: out of file descriptors"));
        drop(crowd);
        recovers(&proxy);
    }
}

#[test]
fn the_admin_socket_answers_while_there_is_no_descriptor() {
    for sandbox in ["off", "required"] {
        admin_answers_without_descriptors(sandbox);
    }
}

fn admin_answers_without_descriptors(sandbox: &str) {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top(&format!("process: {{ sandbox: {sandbox} }}"))
        .forward(&origin)
        .on_upstream("connect: { attempts: 1 }")
        .admin()
        .start();
    let established = proxy.dial("forward");
    established.must_echo(b"established");
    starve(&proxy, 0);
    let _crowd = crowd(&proxy, 20);
    proxy.log_line(|line| line.contains("accepting is paused: out of file descriptors"));
    for _ in 0..5 {
        proxy.admin("/status", &[]).must_be(200);
        proxy.probe("/readyz").must_be(200);
    }
    established.must_echo(b"still going");
}

#[test]
fn a_client_without_a_descriptor_is_reset() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_upstream("connect: { attempts: 1 }")
        .start();
    proxy.dial("forward").must_echo(b"its workers have started");
    proxy.outcome();
    // Enough descriptors to accept, but not to connect.
    starve(&proxy, 1);
    let client = proxy.dial("forward");
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    let record = proxy.outcome_of(&client);
    record
        .must_be("local_descriptors")
        .must_have("stage", "connect")
        .must_have("fault", "proxy");
}

#[test]
fn the_connection_limit_keeps_a_process_within_its_descriptors() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .top("process: { workers: 2 }")
        .under(&["prlimit", "--nofile=48:48"])
        .start();
    let first = proxy.dial("forward");
    first.must_echo(b"established");
    let crowd = crowd(&proxy, 100);
    first.must_echo(b"still going");
    drop(crowd);
    recovers(&proxy);
    first.must_echo(b"to the end");
    assert_eq!(problems(&proxy), 0, "{}", proxy.log().join("\n"));
}

#[test]
fn a_descriptor_limit_without_room_for_a_connection_is_a_start_error() {
    let checked = ConfigCheck::new(
        "process: { workers: 4 }\n\
         endpoints:\n\
         \x20 - { name: e, listen: 127.0.0.1:0, protocol: tcp, routes: [{ name: r, mode: forward, \
         upstream: u }] }\n\
         upstreams: { u: { origins: [\"127.0.0.1:9\"] } }\n",
    );
    let finished = finish_under(&["prlimit", "--nofile=32:32"], &checked.path());
    assert!(
        finished.code.is_some_and(|code| code != 0),
        "{}",
        finished.text()
    );
    finished.must_print("descriptor");
}

#[test]
fn a_connection_limit_above_the_descriptor_limit_is_lowered_with_a_warning() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .top("process: { limits: { connections: 5000 } }")
        .under(&["prlimit", "--nofile=256:256"])
        .start();
    let warning = proxy.log_line(|line| line.contains("process.limits.connections"));
    assert!(
        warning.contains("\"warn\"") && warning.contains("5000"),
        "{warning}"
    );
    proxy.dial("forward").must_echo(b"x");
}

#[test]
fn the_soft_limit_is_raised_to_the_hard_one() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .under(&["prlimit", "--nofile=40:512"])
        .start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", proxy.pid())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    assert_eq!(
        line.split_whitespace()
            .filter(|word| *word == "512")
            .count(),
        2,
        "{line}"
    );
    let streams: Vec<_> = (0..100).map(|_| proxy.dial("forward")).collect();
    for stream in &streams {
        stream.must_echo(b"room for all");
    }
}

#[test]
fn connections_beyond_the_limit_wait_in_the_accept_queue() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .top("process: { limits: { connections: 2 } }")
        .start();
    let first = proxy.dial("forward");
    let second = proxy.dial("forward");
    first.must_echo(b"x");
    second.must_echo(b"x");
    let third = proxy.dial("forward");
    third.send(b"waiting");
    // A waiting client is not visible, but no connection to the origin is made for it.
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(origin.accepts(), 2);
    first.end();
    first.receive_to_end();
    assert_eq!(third.receive(7), b"waiting");
}
