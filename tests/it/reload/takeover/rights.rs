//! Takeovers by and from processes that have given up rights.

use std::fs;
use std::os::unix::fs::chown;

use serde_json::json;

use super::super::reloads::must_be_reloaded;
use super::{forwarding, served_by};
use crate::harness::{ListenAddr, Origin, Proxy, Stream, is_root};

const NOBODY: u32 = 65534;

/// Runs a program as the user `nobody`.
const AS_NOBODY: [&str; 4] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
];

/// The number of a line of /proc/PID/status, for each thread.
fn of_threads(proxy: &Proxy, field: &str) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{}/task", proxy.pid())).unwrap();
    let status = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")));
    let value = |status: String| {
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    status.flatten().map(value).collect()
}

/// Checks that the new process says which one it has taken the sockets from, and complains about nothing.
#[track_caller]
fn must_follow(new: &Proxy, old: &Proxy) {
    let line = new.log_line(|line| line.contains("took over from"));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["pid"], old.pid());
    let log = new.log();
    let complaint = log.iter().find(|line| {
        line.contains("cannot") || line.contains("not served") || line.contains("not listening")
    });
    assert_eq!(complaint, None);
}

#[test]
fn each_of_several_takeovers_names_the_process_before_it() {
    let origin = Origin::echo();
    let mut proxy = forwarding(&origin).start();
    for _ in 0..3 {
        let new = proxy.successor(proxy.text());
        must_follow(&new, &proxy);
        assert_eq!(proxy.exit_code(), 0);
        proxy = new;
    }
}

#[test]
fn a_process_in_a_required_sandbox_is_taken_over_by_one_that_enters_its_own() {
    let origin = Origin::echo();
    let draft = Proxy::builder()
        .forward(&origin)
        .top("process: { sandbox: required, workers: 2 }")
        .top("admin: { listen: \"unix:admin.sock\" }")
        .top("access_log: { output: access.log }");
    let path = draft.path("edge.sock");
    let mut proxy = draft
        .endpoint("unix", "tcp")
        .listen(&format!("\"unix:{path}\""))
        .route("forward", "", &origin)
        .start();
    let text = proxy.text().to_owned();
    for workers in ["workers: 3", "workers: 1"] {
        let client = proxy.dial("forward");
        client.must_echo(b"before");
        let new = proxy.successor(&text.replace("workers: 2", workers));
        must_follow(&new, &proxy);
        client.must_echo(b"through the old one");
        drop(client);
        assert_eq!(proxy.exit_code(), 0);
        assert_eq!(served_by(&new), u64::from(new.pid()));
        assert_eq!(new.ctl_json(&["status"])["sandbox"], "required");
        let filters = of_threads(&new, "Seccomp:");
        assert!(filters.iter().all(|mode| *mode == 2), "{filters:?}");
        for place in [
            new.listen_addr("forward").clone(),
            ListenAddr::Unix(path.clone().into()),
        ] {
            for _ in 0..4 {
                Stream::dial(&place).unwrap().must_echo(b"after");
            }
        }
        must_be_reloaded(&new.reload(new.text()));
        proxy = new;
    }
}

#[test]
fn a_process_that_became_a_user_is_taken_over_by_one_that_root_starts() {
    if !is_root() {
        return eprintln!("skipped: only root can become another user");
    }
    for sandbox in ["required", "off"] {
        let origin = Origin::echo();
        let draft = Proxy::builder()
            .forward(&origin)
            .top(&format!("process: {{ user: nobody, sandbox: {sandbox} }}"))
            .top("admin: { listen: \"unix:admin.sock\" }");
        let path = draft.path("edge.sock");
        let mut proxy = draft
            .endpoint("unix", "tcp")
            .listen(&format!("\"unix:{path}\""))
            .route("forward", "", &origin)
            .start();
        for _ in 0..2 {
            let client = proxy.dial("forward");
            client.must_echo(b"before");
            let new = proxy.successor(proxy.text());
            must_follow(&new, &proxy);
            client.must_echo(b"through the old one");
            drop(client);
            assert_eq!(proxy.exit_code(), 0);
            assert!(of_threads(&new, "Uid:").iter().all(|uid| *uid == NOBODY));
            assert_eq!(new.ctl_json(&["status"])["user"], json!("nobody"));
            new.dial("forward").must_echo(b"after");
            new.dial("unix").must_echo(b"after");
            proxy = new;
        }
    }
}

#[test]
fn the_user_itself_takes_over_from_a_process_that_root_started() {
    if !is_root() {
        return eprintln!("skipped: only root can become another user");
    }
    let origin = Origin::echo();
    let draft = of_nobody(
        &origin,
        "admin: { listen: \"unix:admin.sock\", owner: nobody }",
    );
    let mut old = draft.start();
    assert!(of_threads(&old, "Uid:").iter().all(|uid| *uid == NOBODY));
    let new = old.starting_successor_under(&AS_NOBODY, old.text(), &["--takeover"]);
    let new = new.once_it_has_taken_over();
    must_follow(&new, &old);
    assert_eq!(old.exit_code(), 0);
    new.dial("forward").must_echo(b"after");
}

/// Root would become that user in a moment, so it believes its process.
#[test]
fn root_takes_over_from_a_process_of_the_user_that_it_becomes() {
    if !is_root() {
        return eprintln!("skipped: only root can become another user");
    }
    let origin = Origin::echo();
    let draft = of_nobody(&origin, "admin: { listen: \"unix:admin.sock\" }");
    let mut old = draft.under(&AS_NOBODY).start();
    let as_root = old.text().replace("process: { user: nobody }\n", "");
    let mut refused = old.starting_successor(&as_root, &["--takeover"]);
    assert_eq!(refused.exit_code(), 3);
    refused.log_line(|line| {
        line.contains("start it as that user, or name that user in `process.user`")
    });
    let new = old.successor(old.text());
    must_follow(&new, &old);
    assert_eq!(old.exit_code(), 0);
    assert!(of_threads(&new, "Uid:").iter().all(|uid| *uid == NOBODY));
    new.dial("forward").must_echo(b"after");
}

/// A configuration for the user `nobody`, who owns its directory.
fn of_nobody(origin: &Origin, admin: &str) -> crate::harness::ProxyBuilder {
    let draft = Proxy::builder()
        .forward(origin)
        .top("process: { user: nobody }")
        .top(admin)
        .file("config.yaml", "");
    for place in ["", "config.yaml"] {
        chown(draft.path(place), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    draft
}
