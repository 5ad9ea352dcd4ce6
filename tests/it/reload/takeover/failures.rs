//! A takeover that fails leaves the running process as it is.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::{forwarding, served_by};
use crate::harness::{
    ListenAddr, Origin, Proxy, Stream, becomes_true, command, eventually, finish, is_root,
};

/// A program that asks for the sockets as a new process does.
struct Asking(UnixStream);

impl Asking {
    fn connect(proxy: &Proxy) -> Self {
        Self(UnixStream::connect(proxy.admin_socket()).unwrap())
    }

    fn send(&mut self, message: &str) -> &mut Self {
        let len = u32::try_from(message.len()).unwrap().to_be_bytes();
        self.0.write_all(&len).unwrap();
        self.0.write_all(message.as_bytes()).unwrap();
        self
    }

    /// The next message; descriptors that follow it are dropped.
    fn receive(&mut self) -> Value {
        let mut len = [0; 4];
        self.0.read_exact(&mut len).unwrap();
        let mut body = vec![0; u32::from_be_bytes(len) as usize];
        self.0.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }
}

/// Checks that the process serves as before.
#[track_caller]
fn must_go_on(proxy: &mut Proxy) {
    assert!(proxy.is_running());
    assert_eq!(served_by(proxy), u64::from(proxy.pid()));
    for _ in 0..8 {
        proxy.dial("forward").must_echo(b"as before");
    }
}

/// Starts a new process that must fail with this code and message.
#[track_caller]
fn must_fail(proxy: &mut Proxy, text: &str, arguments: &[&str], code: i32, why: &str) {
    let mut new = proxy.starting_successor(text, arguments);
    assert_eq!(new.exit_code(), code);
    new.log_line(|line| line.contains(why));
    let good = proxy.text().to_owned();
    proxy.directory().write("config.yaml", &good);
    must_go_on(proxy);
}

#[test]
fn a_refused_configuration_exits_2_before_anything_is_asked_for() {
    let origin = Origin::echo();
    let mut proxy = forwarding(&origin).start();
    must_fail(
        &mut proxy,
        "endpoints: 7\n",
        &["--takeover"],
        2,
        "endpoints",
    );
    let log = proxy.log();
    assert!(!log.iter().any(|line| line.contains("offering")), "{log:?}");
}

#[test]
fn without_a_process_to_take_over_from_it_exits_3_and_without_its_place_2() {
    let origin = Origin::echo();
    let mut proxy = forwarding(&origin).start();
    let text = proxy.text().to_owned();
    let elsewhere = text.replace("admin.sock", "nobody.sock");
    must_fail(
        &mut proxy,
        &elsewhere,
        &["--takeover"],
        3,
        "no process serves there",
    );
    let none = text.replace("admin: {", "# {");
    must_fail(
        &mut proxy,
        &none,
        &["--takeover"],
        2,
        "--takeover needs `admin.listen",
    );
}

#[test]
fn an_address_in_use_exits_3_and_nothing_is_removed() {
    let origin = Origin::echo();
    let draft = forwarding(&origin);
    let path = draft.path("edge.sock");
    let mut proxy = draft
        .endpoint("unix", "tcp")
        .listen(&format!("\"unix:{path}\""))
        .route("forward", "", &origin)
        .start();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!(
        "endpoints:\n  - {{ name: more, listen: \"{}\", protocol: tcp, routes: [{{ name: r, mode: forward, \
         upstream: upstream-0 }}] }}\n",
        other.local_addr().unwrap()
    );
    let text = proxy.text().replacen("endpoints:\n", &more, 1);
    must_fail(
        &mut proxy,
        &text,
        &["--takeover"],
        3,
        "another process listens there",
    );
    proxy.log_line(|line| line.contains("the takeover has failed; this process continues"));
    let place = ListenAddr::Unix(path.into());
    Stream::dial(&place)
        .unwrap()
        .must_echo(b"its file is there");
}

#[test]
fn while_one_process_asks_another_is_refused_and_reloads_wait() {
    let origin = Origin::echo();
    let mut proxy = forwarding(&origin).start();
    let mut asking = Asking::connect(&proxy);
    let offer = asking.send("{\"takeover\":1}").receive();
    assert_eq!(offer["generation"], 1);
    assert_eq!(offer["sockets"].as_array().unwrap().len(), 3);
    let text = proxy.text().to_owned();
    must_fail(
        &mut proxy,
        &text,
        &["--takeover"],
        3,
        "another takeover is in progress",
    );
    proxy.signal(Signal::HUP);
    // A request that comes later is answered, so the signal was received before.
    must_go_on(&mut proxy);
    assert_eq!(proxy.ctl_json(&["status"])["generation"], 1);
    let lines = proxy.reloads(|| drop(asking));
    super::must_be_reloaded(&lines);
    assert!(lines[0].contains("the new process has ended"), "{lines:?}");
    must_go_on(&mut proxy);
}

/// It takes half a minute: `scripts/takeover.sh` runs it.
#[test]
#[ignore = "waits for the limit of 30 s"]
fn a_process_that_asks_and_is_silent_changes_nothing() {
    let origin = Origin::echo();
    let mut proxy = forwarding(&origin).start();
    let mut asking = Asking::connect(&proxy);
    asking.send("{\"takeover\":1}").receive();
    let has_failed = || {
        let log = proxy.log();
        log.iter()
            .any(|line| line.contains("the new process was not ready within 30 s"))
    };
    assert!(
        becomes_true(Duration::from_secs(60), has_failed),
        "{:?}",
        proxy.log()
    );
    must_go_on(&mut proxy);
    let _new = proxy.successor(proxy.text());
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn a_process_that_stops_is_not_taken_over() {
    let origin = Origin::echo();
    let mut proxy = forwarding(&origin).start();
    let client = proxy.dial("forward");
    client.must_echo(b"keeps it");
    let mut early = Asking::connect(&proxy);
    early.send("{\"takeover\":1}").receive();
    proxy.signal(Signal::TERM);
    proxy.log_line(|line| line.contains("\"message\":\"draining\""));
    let mut new = proxy.starting_successor(proxy.text(), &["--takeover"]);
    assert_eq!(new.exit_code(), 3);
    new.log_line(|line| line.contains("the process stops"));
    client.must_echo(b"drains");
    drop(client);
    assert_eq!(proxy.exit_code(), 0);
    // It was told to end, not that it serves.
    let mut rest = Vec::new();
    let _ = early.0.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("released"));
}

#[test]
fn another_version_is_refused() {
    let origin = Origin::echo();
    let mut proxy = forwarding(&origin).start();
    let mut asking = Asking::connect(&proxy);
    let answer = asking.send("{\"takeover\":2}").receive();
    let why = answer["refused"].as_str().unwrap();
    assert!(
        why.contains("different versions of the takeover protocol (1 and 2)"),
        "{why}"
    );
    must_go_on(&mut proxy);
}

#[test]
fn another_user_who_may_connect_gets_no_socket() {
    if !is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let origin = Origin::echo();
    let mut proxy = Proxy::builder()
        .forward(&origin)
        .top("admin: { listen: \"unix:admin.sock\", permissions: 0666 }")
        .start();
    let config = proxy.directory().join("config.yaml");
    std::fs::set_permissions(&config, PermissionsExt::from_mode(0o644)).unwrap();
    let mut other = as_nobody();
    other
        .arg(env!("CARGO_BIN_EXE_reseal"))
        .args(["run", "--takeover", "--config"])
        .arg(&config);
    let finished = finish(other, b"");
    finished
        .must_exit_with(3)
        .must_print("user 65534 may not have the sockets of user 0");
    must_go_on(&mut proxy);
}

#[test]
fn root_takes_no_socket_from_another_user() {
    if !is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let origin = Origin::echo();
    let proxy = forwarding(&origin).start();
    let directory = proxy.directory().path();
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o777)).unwrap();
    let path = proxy.directory().join("foreign.sock");
    let text = proxy.text().replace("admin.sock", "foreign.sock");
    let config = proxy
        .directory()
        .write_with_mode("foreign.yaml", text, 0o644);
    let mut foreign = as_nobody()
        .arg(env!("CARGO_BIN_EXE_reseal"))
        .args(["run", "--config"])
        .arg(config)
        .spawn()
        .unwrap();
    eventually("it listens", || UnixStream::connect(&path).is_ok());
    let arguments = format!("--takeover=unix:{}", path.display());
    let mut new = proxy.starting_successor(proxy.text(), &[&arguments]);
    assert_eq!(new.exit_code(), 3);
    new.log_line(|line| {
        line.contains("the process there is of user 65534, and this one of user 0")
    });
    foreign.kill().unwrap();
    foreign.wait().unwrap();
}

fn as_nobody() -> Command {
    let mut command = command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command
}
