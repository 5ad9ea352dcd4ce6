//! Addresses and files that cannot be used: what `check` finds before `run` does.

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use socket2::{Domain, Socket, Type};

use super::with;
use crate::harness::{ConfigCheck, Directory, Origin, Proxy, finish, is_root, reseal};

/// Runs a file that listens on this address.
#[track_caller]
fn cannot_bind(listen: &str) {
    let finished = with("127.0.0.1:0", listen).run();
    finished.must_exit_with(3);
    finished
        .must_print("edge")
        .must_print("cannot listen on")
        .must_print("another process listens there");
    // It is in the log, in the log's format, and nothing else is on standard error.
    for line in finished.stderr.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(["info", "error"].contains(&line["level"].as_str().unwrap()));
    }
}

#[test]
fn a_port_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    cannot_bind(&taken.local_addr().unwrap().to_string());
    cannot_bind(&format!("\"*:{}\"", taken.local_addr().unwrap().port()));
}

#[test]
fn a_port_in_use_with_reuseport_is_refused() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket
        .bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    socket.listen(1).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    cannot_bind(&address.to_string());
    // A second instance of Reseal is such a process.
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).start();
    cannot_bind(&proxy.listen_addr("forward").to_string());
    proxy.dial("forward").must_echo(b"not disturbed");
}

#[test]
fn a_live_unix_socket_is_refused_and_not_removed() {
    let directory = Directory::new();
    let path = directory.join("taken.sock");
    let _taken = std::os::unix::net::UnixListener::bind(&path).unwrap();
    cannot_bind(&format!("\"unix:{}\"", path.display()));
    assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    let file = directory.write("file", "precious");
    let listen = format!("\"unix:{}\"", file.display());
    with("127.0.0.1:0", &listen)
        .run()
        .must_exit_with(3)
        .must_print("is not a socket");
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
}

#[test]
fn every_port_in_use_is_named() {
    let (one, two) = (
        TcpListener::bind("127.0.0.1:0").unwrap(),
        TcpListener::bind("127.0.0.1:0").unwrap(),
    );
    let text = format!(
        "endpoints:\n\
         \x20 - {{ name: one, listen: \"{}\", protocol: tcp, routes: [{{ name: r, mode: forward, upstream: \
         u }}] }}\n\
         \x20 - {{ name: two, listen: \"{}\", protocol: tcp, routes: [{{ name: r, mode: forward, upstream: \
         u }}] }}\n\
         upstreams: {{ u: {{ origins: [\"127.0.0.1:9\"] }} }}\n",
        one.local_addr().unwrap(),
        two.local_addr().unwrap()
    );
    let finished = ConfigCheck::new(&text).run();
    finished
        .must_exit_with(3)
        .must_print("`one`")
        .must_print("`two`");
}

#[test]
fn a_missing_private_key_is_not_reported_as_exposed() {
    with("{ cert: good.pem, key: good.key }", "{ cert: good.pem }")
        .must_report("good.pem", &["holds no private key", "key: FILE"]);
}

#[test]
fn a_log_that_cannot_be_opened_is_found_by_check() {
    for key in ["log", "access_log"] {
        for (path, words) in [
            ("/nowhere/x.log", "the directory /nowhere does not exist"),
            ("good.pem/x.log", "Not a directory"),
            (".", "is a directory"),
        ] {
            let line = format!("{key}: {{ output: {path} }}\nendpoints:");
            with("endpoints:", &line).must_report(path, &[words]);
        }
    }
}

#[test]
fn a_check_follows_the_links_of_a_log_and_notes_a_pipe() {
    let draft = with("endpoints:", "access_log: { output: a.log }\nendpoints:");
    let log = draft.path().parent().unwrap().join("a.log");
    for (target, code, words) in [
        ("a.log", 1, "Too many levels of symbolic links"),
        ("gone/b.log", 1, "gone does not exist"),
        ("b.log", 0, "good"),
    ] {
        let _ = std::fs::remove_file(&log);
        symlink(target, &log).unwrap();
        let checked = draft.check(&["--strict"]);
        checked.must_exit_with(code).must_print(words);
    }
    std::fs::remove_file(&log).unwrap();
    mknodat(CWD, &log, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let checked = draft.check(&["--strict"]);
    checked.must_exit_with(0).must_print("a.log is a pipe");
}

#[test]
fn a_check_reports_sockets_that_cannot_be_made() {
    for (listen, about, words) in [
        ("unix:gone/x.sock", "\"unix:gone", "gone does not exist"),
        ("unix:good.pem", "\"unix:good", "is not a socket"),
    ] {
        let checked = with("127.0.0.1:0", &format!("\"{listen}\"")).check(&[]);
        checked
            .must_exit_with(1)
            .must_print(about)
            .must_print(words);
    }
    for (key, name) in [
        ("owner", "user `nobody-of-that-name`"),
        ("group", "group `nobody-of-that-name`"),
    ] {
        let listen = format!("{{ unix: x.sock, {key}: nobody-of-that-name }}");
        let checked = with("127.0.0.1:0", &listen).check(&[]);
        checked
            .must_exit_with(1)
            .must_print(&format!("there is no {name}"));
    }
}

/// systemd makes it with the service: a check comes before, and is good.
#[test]
fn a_check_notes_a_runtime_directory_that_is_not_there_yet() {
    let listen = "\"unix:/run/reseal-of-no-test/x.sock\"";
    let checked = with("127.0.0.1:0", listen).check(&["--strict"]);
    checked
        .must_exit_with(0)
        .must_print("notice: ")
        .must_print("RuntimeDirectory=");
}

#[test]
fn a_check_notes_an_address_that_the_machine_does_not_have() {
    let checked = with("127.0.0.1:0", "192.0.2.77:4430").check(&["--strict"]);
    checked
        .must_exit_with(0)
        .must_print("notice: ")
        .must_print("this machine does not have that address");
}

/// What an ordinary user may not do, as one who checks and runs.
#[test]
fn a_check_by_a_user_without_rights_names_them() {
    if !is_root() {
        return;
    }
    let line = "access_log: { output: private/a.log }\nendpoints:";
    let text = with("endpoints:", line).with_file("private/other", "", 0o600);
    let directory = text.path().parent().unwrap().to_owned();
    let binary = directory.join("reseal");
    std::fs::copy(env!("CARGO_BIN_EXE_reseal"), &binary).unwrap();
    let checked = |arguments: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&binary)
            .args(arguments)
            .current_dir(&directory);
        finish(command, b"")
    };
    for name in ["", "good.pem", "good.key", "config.yaml"] {
        std::os::unix::fs::chown(directory.join(name), Some(65534), None).unwrap();
    }
    for command in [["check", "--strict"], ["run", "--config=config.yaml"]] {
        let code = if command[0] == "check" { 1 } else { 2 };
        let refused = checked(&command);
        refused
            .must_exit_with(code)
            .must_print("private/a.log")
            .must_print("may not create files in");
    }
    let low = text_of_port(&directory);
    let ways = [
        "CAP_NET_BIND_SERVICE",
        "ip_unprivileged_port_start=1",
        "systemd:NAME",
    ];
    for (command, code) in [
        (["check", "--strict"], 0),
        (["run", "--config=config.yaml"], 3),
    ] {
        if low {
            let refused = checked(&command);
            refused.must_exit_with(code);
            for way in ways {
                refused.must_print(way);
            }
        }
    }
}

/// Sockets of systemd are for endpoints alone, so they are no way out for the metrics.
#[test]
fn a_low_port_of_the_metrics_names_two_ways_out() {
    if !is_root() {
        return;
    }
    let text = with(
        "endpoints:",
        "admin: { metrics: \"127.0.0.1:1\" }\nendpoints:",
    );
    let directory = text.path().parent().unwrap().to_owned();
    for name in ["", "good.pem", "good.key", "config.yaml"] {
        std::os::unix::fs::chown(directory.join(name), Some(65534), None).unwrap();
    }
    let binary = directory.join("reseal");
    std::fs::copy(env!("CARGO_BIN_EXE_reseal"), &binary).unwrap();
    let mut command = std::process::Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&binary)
        .args(["check", "--strict"])
        .current_dir(&directory);
    let checked = finish(command, b"");
    checked.must_exit_with(0);
    let least = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if least.is_ok_and(|least| least.trim() != "0") {
        checked.must_print("ip_unprivileged_port_start=1");
        assert!(
            !checked.text().contains("systemd:NAME"),
            "{}",
            checked.text()
        );
    }
}

/// Puts port 1 into the configuration; whether this machine keeps it from ordinary users.
fn text_of_port(directory: &std::path::Path) -> bool {
    let text = std::fs::read_to_string(directory.join("config.yaml")).unwrap();
    let text = text
        .replace("127.0.0.1:0", "127.0.0.1:1")
        .replace("private/a.log", "a.log");
    std::fs::write(directory.join("config.yaml"), text).unwrap();
    let least = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    least.is_ok_and(|least| least.trim() != "0")
}

#[test]
fn the_listener_for_metrics_has_an_address_of_its_own() {
    with(
        "endpoints:\n  - name: edge\n    listen: 127.0.0.1:0",
        "admin: { metrics: \"127.0.0.1:9480\" }\nendpoints:\n  - name: edge\n    listen: \"*:9480\"",
    )
    .must_report("\"*:9480\"", &["`admin.metrics`"]);
}

#[test]
fn paths_that_no_unix_socket_can_have_are_told() {
    let abstract_name = with("127.0.0.1:0", "{ unix: \"@edge\", permissions: \"0660\" }");
    abstract_name.must_report("\"@edge\"", &["abstract unix sockets", "unix:./@edge"]);
    let origin = with("127.0.0.1:9", "unix:@vault");
    origin.must_report("\"unix:@vault\"", &["abstract unix sockets"]);
    let long = format!("unix:/run/{}", "x".repeat(103));
    with("127.0.0.1:0", &long).must_report("unix:/run", &["108 bytes", "at most 107"]);
}

#[test]
fn an_origin_at_a_file_that_is_no_socket_is_told() {
    let checked = with("127.0.0.1:9", "unix:good.pem");
    checked.must_warn("\"unix:good.pem\"", &["good.pem is not a socket"]);
    with("127.0.0.1:9", "unix:later.sock").must_be_good();
}

/// A path that nobody writes to must not hold up a start.
#[test]
fn a_configuration_that_is_a_pipe_or_a_directory_is_refused_at_once() {
    let directory = Directory::new();
    let pipe = directory.join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for command in ["check", "run"] {
        let with = |path: &Path| reseal(&[command, "--config", &path.display().to_string()]);
        let finished = with(&pipe);
        assert_ne!(finished.code, Some(0), "{}", finished.text());
        let finished = with(directory.path());
        finished.must_exit_with(2);
        finished.must_print("it is a directory");
    }
}
