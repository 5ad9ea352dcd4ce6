//! Signals: how a process stops, and which signals do not stop it.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{End, Origin, Proxy, Stream, TIMEOUT, eventually, output};

/// Whether the endpoint still accepts.
fn is_open(proxy: &Proxy, endpoint: &str) -> bool {
    match TcpStream::connect_timeout(&proxy.listen_addr(endpoint).tcp(), TIMEOUT) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            false
        }
    }
}

#[test]
fn term_stops_accepting_and_lets_connections_finish() {
    let origin = Origin::echo();
    let mut proxy = Proxy::builder().terminate("a.test", &origin).start();
    let client = proxy.client("a.test").connect();
    client.must_echo(b"before");
    proxy.signal(Signal::TERM);
    eventually("it stops listening", || !is_open(&proxy, "edge"));
    client.must_echo(b"while draining");
    assert!(proxy.is_running());
    client.end();
    assert_eq!(client.receive_to_end(), (vec![], End::Clean));
    assert_eq!(proxy.exit_code(), 0);
    let records = proxy.all_records();
    assert_eq!(
        records
            .iter()
            .filter(|record| record.reason() == "ok")
            .count(),
        1,
        "{records:?}"
    );
}

#[test]
fn int_and_quit_drain_like_term() {
    for signal in [Signal::INT, Signal::QUIT] {
        let origin = Origin::echo();
        let mut proxy = Proxy::builder().forward(&origin).start();
        let client = proxy.dial("forward");
        client.must_echo(b"before");
        proxy.signal(signal);
        eventually("it stops listening", || !is_open(&proxy, "forward"));
        client.must_echo(b"while draining");
        client.end();
        assert_eq!(proxy.exit_code(), 0);
    }
}

#[test]
fn a_process_without_connections_stops_at_once() {
    let origin = Origin::echo();
    let mut proxy = Proxy::builder().terminate("a.test", &origin).start();
    let start = Instant::now();
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit_code(), 0);
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn connections_left_at_the_deadline_are_aborted() {
    let (origin, reports) = Origin::plain().reporting();
    let mut proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .top("process: { drain: { stop: 500ms } }")
        .start();
    let client = proxy.client("a.test").connect();
    client.send(b"not finished");
    let start = Instant::now();
    proxy.signal(Signal::TERM);
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    assert!(
        start.elapsed() > Duration::from_millis(400),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(proxy.exit_code(), 1);
    let report = reports.recv_timeout(TIMEOUT).unwrap();
    assert_eq!(
        (report.data, report.end),
        (b"not finished".to_vec(), End::Reset)
    );
    proxy
        .outcome()
        .must_be("drain")
        .must_have("stage", "relay")
        .must_have("fault", "policy");
}

#[test]
fn a_second_signal_aborts_at_once() {
    let origin = Origin::echo();
    let mut proxy = Proxy::builder().terminate("a.test", &origin).start();
    let client = proxy.client("a.test").connect();
    client.must_echo(b"before");
    proxy.signal(Signal::TERM);
    eventually("it stops listening", || !is_open(&proxy, "edge"));
    let start = Instant::now();
    proxy.signal(Signal::TERM);
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    assert_eq!(proxy.exit_code(), 1);
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    proxy.outcome_of(&client).must_be("drain");
}

#[test]
fn a_handshake_may_finish_in_a_drain_and_is_aborted_at_its_end() {
    let origin = Origin::echo();
    let mut proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .top("process: { drain: { stop: 700ms } }")
        .start();
    let waiting = proxy.dial("edge");
    let half = crate::harness::recorded_hello("a.test");
    waiting.write_raw(&half[..10]).unwrap();
    let served = proxy.client("a.test").connect();
    served.must_echo(b"both are known to the proxy by now");
    proxy.signal(Signal::TERM);
    assert_eq!(waiting.receive_to_end().1, End::Reset);
    assert_eq!(proxy.exit_code(), 1);
    let reasons: Vec<_> = proxy
        .all_records()
        .iter()
        .map(|r| r.reason().to_owned())
        .collect();
    assert_eq!(reasons, ["drain", "drain"]);
}

#[test]
fn a_connection_idle_for_idle_after_ends_first() {
    let origin = Origin::echo();
    let mut proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .top("process: { drain: { stop: 15s, idle_after: 300ms } }")
        .start();
    let client = proxy.client("a.test").connect();
    client.must_echo(b"then idle");
    let start = Instant::now();
    proxy.signal(Signal::TERM);
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(proxy.exit_code(), 0, "nothing was left at the deadline");
    proxy.outcome().must_be("drain");
}

#[test]
fn a_lame_duck_still_accepts() {
    let origin = Origin::echo();
    let mut proxy = Proxy::builder()
        .forward(&origin)
        .top("process: { drain: { lame_duck: 800ms } }")
        .start();
    let start = Instant::now();
    proxy.signal(Signal::TERM);
    let client = proxy.dial("forward");
    client.must_echo(b"not gone yet");
    client.end();
    assert_eq!(proxy.exit_code(), 0);
    assert!(
        start.elapsed() > Duration::from_millis(700),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn hup_does_not_end_it() {
    let origin = Origin::echo();
    let mut proxy = Proxy::builder().forward(&origin).start();
    let client = proxy.dial("forward");
    client.must_echo(b"before");
    proxy.signal(Signal::HUP);
    client.must_echo(b"after");
    proxy.dial("forward").must_echo(b"a new one");
    assert!(proxy.is_running());
}

#[test]
fn usr1_reopens_both_logs() {
    let origin = Origin::echo();
    let draft = Proxy::builder();
    let (log, access_log) = (draft.path("reseal.log"), draft.path("access.log"));
    let text = format!(
        "log: {{ format: json, output: \"{log}\" }}\n\
         access_log: {{ output: \"{access_log}\" }}\n\
         endpoints:\n\
         \x20 - {{ name: plain, listen: \"unix:{}\", protocol: tcp, routes: [{{ name: r, mode: forward, \
         upstream: u }}] }}\n\
         upstreams: {{ u: {{ origins: [\"{origin}\"] }} }}\n",
        draft.path("edge.sock"),
    );
    let place = crate::harness::ListenAddr::Unix(draft.path("edge.sock").into());
    let mut proxy = draft.yaml(&text).without_waiting().start();
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    eventually("it listens", || read(&log).contains("listening"));
    let exchange = || {
        let client = Stream::dial(&place).unwrap();
        client.must_echo(b"x");
        client.end();
        client.receive_to_end();
    };
    exchange();
    eventually("the first record", || {
        read(&access_log).lines().count() == 1
    });
    let moved = [format!("{log}.1"), format!("{access_log}.1")];
    fs::rename(&log, &moved[0]).unwrap();
    fs::rename(&access_log, &moved[1]).unwrap();
    exchange();
    eventually(
        "without a signal it keeps writing to the renamed file",
        || read(&moved[1]).lines().count() == 2,
    );
    proxy.signal(Signal::USR1);
    eventually("both files exist again", || {
        fs::metadata(&log).is_ok() && fs::metadata(&access_log).is_ok()
    });
    exchange();
    eventually("the next record is in the new file", || {
        read(&access_log).lines().count() == 1
    });
    assert_eq!(read(&moved[1]).lines().count(), 2);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn a_failed_reopen_is_reported_without_further_events() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .top("access_log: { output: logs/access.log }")
        .file("logs/access.log", "")
        .start();
    fs::remove_dir_all(proxy.directory().join("logs")).unwrap();
    proxy.signal(Signal::USR1);
    proxy.log_line(|line| line.contains("the log cannot be written"));
}

/// A proxy in the middle of its start: it waits for a reader of its access log, which is a pipe.
fn starting(origin: &Origin) -> (Proxy, String) {
    let draft = Proxy::builder()
        .forward(origin)
        .top("access_log: { output: pipe }")
        .without_waiting();
    let pipe = draft.path("pipe");
    output("mkfifo", &[&pipe], "").must_exit_with(0);
    let proxy = draft.start();
    proxy.log_line(|line| line.contains("\"message\":\"starting\""));
    (proxy, pipe)
}

#[test]
fn a_reload_requested_during_the_start_follows_it() {
    let origin = Origin::echo();
    let (mut proxy, pipe) = starting(&origin);
    for signal in [Signal::HUP, Signal::USR1, Signal::HUP] {
        proxy.signal(signal);
    }
    let _reader = fs::File::open(&pipe).unwrap();
    proxy.log_line(|line| line.contains("\"message\":\"reloaded\""));
    let place = proxy.new_listen_addr("forward");
    let client = crate::harness::Stream::dial(&place).unwrap();
    client.must_echo(b"x");
    drop(client);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn term_during_the_start_ends_it() {
    let origin = Origin::echo();
    let (mut proxy, _) = starting(&origin);
    proxy.signal(Signal::TERM);
    eventually("it has ended", || !proxy.is_running());
}

#[test]
fn hangup_ends_a_command_that_does_not_serve() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("http://{}", listener.local_addr().unwrap());
    // A parent that ignores the signal, as nohup does, would have its children ignore it, too.
    let mut child = std::process::Command::new("env")
        .args(["--default-signal=HUP", env!("CARGO_BIN_EXE_reseal")])
        .args(["ctl", "--admin", &admin, "status"])
        .spawn()
        .unwrap();
    let _waiting = listener.accept().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::HUP).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(1)
    );
}
