//! The user that the process becomes.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use rustix::process::Signal;

use crate::harness::{ConfigCheck, Origin, Proxy, eventually, finish_under, is_root};

const NOBODY: u32 = 65534;

fn config(user: &str) -> String {
    format!(
        "process: {{ user: {user} }}\n\
         endpoints: [{{ name: e, listen: \"127.0.0.1:0\", protocol: tcp, routes: [{{ name: r, mode: forward, \
         upstream: u }}] }}]\n\
         upstreams: {{ u: {{ origins: [\"127.0.0.1:9\"] }} }}\n"
    )
}

/// The numbers of a line of /proc/PID/status.
fn ids(proxy: &Proxy, field: &str) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace()
        .skip(1)
        .map(|id| id.parse().unwrap())
        .collect()
}

/// A port that only root may listen on, free for now.
fn low_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (600..1024).find(is_free).unwrap()
}

#[test]
fn root_binds_a_low_port_and_opens_its_logs_and_then_becomes_the_user() {
    if !is_root() {
        return eprintln!("skipped: needs root");
    }
    for sandbox in ["required", "off"] {
        let origin = Origin::echo();
        let port = low_port();
        let draft = Proxy::builder()
            .top(&format!("process: {{ user: nobody, sandbox: {sandbox} }}"))
            .top("access_log: { output: logs/access.log }")
            .admin()
            .forward(&origin)
            .listen(&format!("127.0.0.1:{port}"))
            .file("logs/.keep", "");
        let logs = draft.path("logs");
        std::os::unix::fs::chown(&logs, Some(NOBODY), None).unwrap();
        let proxy = draft.start();
        assert_eq!(ids(&proxy, "Uid:"), [NOBODY; 4]);
        assert!(ids(&proxy, "Gid:").iter().all(|gid| *gid != 0));
        assert!(
            !ids(&proxy, "Groups:").contains(&0),
            "root's groups are gone"
        );
        let status = fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
        for set in ["CapEff:", "CapPrm:", "CapAmb:"] {
            let line = status.lines().find(|line| line.starts_with(set)).unwrap();
            assert!(line.ends_with("\t0000000000000000"), "{line}");
        }
        assert_eq!(proxy.ctl_json(&["status"])["user"], "nobody");
        proxy.dial("forward").must_echo(b"x");
        // It can open its log again, since the first one was given to it.
        let log = format!("{logs}/access.log");
        assert_eq!(fs::metadata(&log).unwrap().uid(), NOBODY);
        fs::rename(&log, format!("{log}.1")).unwrap();
        proxy.signal(Signal::USR1);
        eventually("the new file has a record", || {
            proxy.dial("forward").must_echo(b"x");
            fs::read_to_string(&log).is_ok_and(|text| text.contains("forward"))
        });
        proxy.log_line(|line| line.contains("nobody may not read") && line.contains("config.yaml"));
    }
}

#[test]
fn numbers_and_a_group_are_taken_as_well() {
    if !is_root() {
        return eprintln!("skipped: needs root");
    }
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { user: \"4000111:4000222\" }")
        .admin()
        .forward(&origin)
        .start();
    assert_eq!(ids(&proxy, "Uid:"), [4_000_111; 4]);
    assert_eq!(ids(&proxy, "Gid:"), [4_000_222; 4]);
    assert_eq!(ids(&proxy, "Groups:"), [4_000_222]);
    assert_eq!(proxy.ctl_json(&["status"])["user"], "4000111");
}

#[test]
fn a_user_that_is_not_there_is_an_error_of_the_file() {
    let unknown = ConfigCheck::new(&config("no-such-user"));
    unknown.must_report("no-such-user", &["there is no user `no-such-user`"]);
    let groupless = ConfigCheck::new(&config("4000111"));
    groupless.must_report("4000111", &["write `4000111:GROUP`"]);
    let group = ConfigCheck::new(&config("\"root:no-such-group\""));
    group.must_report("\"root:", &["there is no group `no-such-group`"]);
}

#[test]
fn only_root_can_become_another_user_and_the_check_says_so_before() {
    let check = ConfigCheck::new(&config("daemon"));
    let (finished, checked) = if is_root() {
        fs::set_permissions(check.path(), PermissionsExt::from_mode(0o644)).unwrap();
        let launcher = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ];
        let mut command = std::process::Command::new(launcher[0]);
        command
            .args(&launcher[1..])
            .args([env!("CARGO_BIN_EXE_reseal"), "check", "--config"])
            .arg(check.path());
        let checked = crate::harness::finish(command, b"");
        (finish_under(&launcher, &check.path()), checked)
    } else {
        (check.run(), check.check(&[]))
    };
    let why = "only root can become another user";
    finished.must_exit_with(2).must_print(why);
    checked.must_exit_with(0).must_print(why);
    checked.must_print("would end with exit code 2");
}

/// A key of root alone.
#[test]
fn check_tells_root_which_files_the_user_cannot_read_and_a_reload_is_refused_for_them() {
    if !is_root() {
        return eprintln!("skipped: needs root");
    }
    let text = "log: { format: json }\nprocess: { user: nobody }\n\
        endpoints: [{ name: e, listen: \"127.0.0.1:0\", tls: { certificates: [{ cert: good.pem, key: good.key }] },\n  \
        routes: [{ name: r, match: { sni: a.test }, mode: terminate, upstream: u }] }]\n\
        upstreams: { u: { origins: [\"127.0.0.1:9\"] } }\n";
    let check = ConfigCheck::new(text);
    let place = |name: &str| check.path().with_file_name(name);
    let let_in =
        |path: PathBuf, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let file = check.path().display().to_string();
    check.must_warn(
        "nobody",
        &[&format!("nobody may not read {file}"), "until a restart"],
    );
    let_in(check.path(), 0o644);
    check.must_warn(
        "nobody",
        &["nobody may not read", "good.key", "a reload is refused"],
    );
    let told = check.check(&[]);
    assert!(!told.text().contains("good.pem:"), "{}", told.text());
    let proxy = Proxy::builder()
        .yaml(text)
        .file("good.pem", fs::read(place("good.pem")).unwrap())
        .file("good.key", fs::read(place("good.key")).unwrap());
    let_in(proxy.path("good.pem").into(), 0o644);
    let proxy = proxy.start();
    let_in(proxy.directory().join("config.yaml"), 0o644);
    proxy.log_line(|line| line.contains("nobody may not read") && line.contains("good.key"));
    let lines = proxy.reloads(|| proxy.signal(Signal::HUP));
    let result = lines.join("\n");
    assert!(
        result.contains("the reload is refused") && result.contains("good.key"),
        "{result}"
    );
    // A group that may read it is enough, and nothing is left to say.
    std::os::unix::fs::chown(place("good.key"), None, Some(nobodys_group())).unwrap();
    let_in(place("good.key"), 0o640);
    check.must_be_good();
}

fn nobodys_group() -> u32 {
    let found = crate::harness::output("id", &["-g", "nobody"], "");
    found.stdout.trim().parse().unwrap()
}

#[test]
fn no_core_is_dumped_and_other_processes_of_the_user_see_nothing() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .environment("RESEAL_DUMPABLE", "")
        .start();
    let limits = fs::read_to_string(format!("/proc/{}/limits", proxy.pid()));
    // Without root, the file itself is closed.
    if let Ok(limits) = limits {
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .unwrap();
        let values: Vec<_> = line.split_whitespace().skip(4).take(2).collect();
        assert_eq!(values, ["0", "0"], "{line}");
    }
}
