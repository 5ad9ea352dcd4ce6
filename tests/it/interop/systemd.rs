//! The files for systemd, judged by its own programs. PID 1 is another program here; what it is told is
//! tested in `reload/notifications.rs` and `reload/takeover.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Directory, Origin, Proxy, is_root, output};

fn packaged(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("packaging/systemd").join(name)
}

/// Whether a program is there; says that the test is skipped if not.
fn has(program: &str) -> bool {
    let is_there = Path::new("/usr/bin").join(program).exists();
    if !is_there {
        eprintln!("skipped: there is no {program}: apt-get install systemd strace");
    }
    is_there
}

#[test]
fn the_unit_is_rated_at_most_1_5_with_port_443() {
    if !has("systemd-analyze") {
        return;
    }
    let unit = fs::read_to_string(packaged("reseal.service")).unwrap();
    assert!(unit.contains("\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n"));
    let path = packaged("reseal.service").display().to_string();
    let rated = output(
        "systemd-analyze",
        &["security", "--offline=true", &path],
        "",
    );
    let text = rated.text();
    let (_, level) = text
        .split_once("Overall exposure level for reseal.service: ")
        .unwrap();
    let level: f32 = level.split(' ').next().unwrap().parse().unwrap();
    assert!(level <= 1.5, "{text}");
}

#[test]
fn the_units_are_valid() {
    if !has("systemd-analyze") {
        return;
    }
    let directory = Directory::new();
    for name in ["reseal.service", "reseal.socket"] {
        let unit = fs::read_to_string(packaged(name)).unwrap();
        let unit = unit.replace("/usr/bin/reseal", env!("CARGO_BIN_EXE_reseal"));
        directory.write_with_mode(name, unit, 0o644);
    }
    let paths = ["reseal.service", "reseal.socket"].map(|name| directory.join(name));
    let paths = paths.map(|path| path.display().to_string());
    let verified = output(
        "systemd-analyze",
        &["verify", "--man=no", &paths[0], &paths[1]],
        "",
    );
    let complaints: Vec<_> = verified
        .stderr
        .lines()
        .filter(|line| line.contains("reseal"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

/// The system calls of each set of systemd, other sets in it resolved.
fn syscall_sets() -> BTreeMap<String, BTreeSet<String>> {
    let listed = output("systemd-analyze", &["--no-pager", "syscall-filter"], "");
    let mut sets: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in listed.stdout.lines() {
        let word = line.trim();
        if line.starts_with('@') {
            current = word.to_owned();
            sets.entry(current.clone()).or_default();
        } else if line.starts_with(' ') && !word.starts_with('#') && !word.is_empty() {
            sets.entry(current.clone())
                .or_default()
                .insert(word.to_owned());
        }
    }
    let resolve = |name: &str| {
        let mut found = BTreeSet::new();
        let mut open = vec![name.to_owned()];
        while let Some(name) = open.pop() {
            match sets.get(&name) {
                Some(set) => open.extend(set.iter().cloned()),
                None => {
                    found.insert(name);
                }
            }
        }
        found
    };
    sets.keys()
        .map(|name| (name.clone(), resolve(name)))
        .collect()
}

/// The system calls that the unit's filter allows.
fn allowed() -> BTreeSet<String> {
    let sets = syscall_sets();
    let unit = fs::read_to_string(packaged("reseal.service")).unwrap();
    let mut allowed = BTreeSet::new();
    for filter in unit
        .lines()
        .filter_map(|line| line.strip_prefix("SystemCallFilter="))
    {
        let (removes, names) = match filter.strip_prefix('~') {
            Some(names) => (true, names),
            None => (false, filter),
        };
        for name in names.split(' ') {
            let one = BTreeSet::from([name.to_owned()]);
            for call in sets.get(name).unwrap_or(&one) {
                if removes {
                    allowed.remove(call);
                } else {
                    allowed.insert(call.clone());
                }
            }
        }
    }
    allowed
}

#[test]
fn the_unit_allows_every_system_call_of_a_session() {
    if !(has("systemd-analyze") && has("strace")) {
        return;
    }
    let origin = Origin::echo();
    let draft = Proxy::builder()
        .terminate("a.test", &origin)
        .forward(&origin)
        .admin();
    let trace = draft.path("trace");
    let mut proxy = draft.under(&["strace", "-f", "-qq", "-o", &trace]).start();
    proxy.client("a.test").connect().must_echo(b"over TLS");
    proxy.dial("forward").must_echo(b"plain");
    proxy.ctl(&["reload"]).must_exit_with(0);
    proxy.metrics();
    let new = proxy.successor(proxy.text());
    assert_eq!(proxy.exit_code(), 0);
    drop(new);
    let trace = fs::read_to_string(trace).unwrap();
    let calls: BTreeSet<_> = trace
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.split_once('('))
        .map(|(call, _)| call.to_owned())
        .collect();
    assert!(
        calls.contains("accept4") && calls.contains("sendmsg"),
        "{calls:?}"
    );
    let allowed = allowed();
    let refused: Vec<_> = calls.difference(&allowed).collect();
    assert!(
        refused.is_empty(),
        "the filter of the unit refuses {refused:?}"
    );
}

#[test]
fn the_user_and_its_directories_are_made() {
    if !(has("systemd-sysusers") && has("systemd-tmpfiles") && is_root()) {
        return;
    }
    let root = Directory::new();
    fs::create_dir(root.join("etc")).unwrap();
    let of_root = format!("--root={}", root.path().display());
    let file = |name: &str| packaged(name).display().to_string();
    output(
        "systemd-sysusers",
        &[&of_root, &file("reseal.sysusers")],
        "",
    )
    .must_exit_with(0);
    let users = fs::read_to_string(root.join("etc/passwd")).unwrap();
    assert!(
        users.lines().any(|line| line.starts_with("reseal:")),
        "{users}"
    );
    let arguments = [&of_root, "--create", &file("reseal.tmpfiles")];
    output("systemd-tmpfiles", &arguments, "").must_exit_with(0);
    assert!(root.join("etc/reseal/certs").is_dir() && root.join("var/log/reseal").is_dir());
}
