//! Reloads of the configuration: all or nothing, without effect on other connections.

mod addresses;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{End, Origin, Proxy, eventually, pki};

#[track_caller]
pub(super) fn must_be_reloaded(lines: &[String]) {
    let last = lines.last().unwrap();
    assert!(
        last.contains("\"message\":\"reloaded\""),
        "{}",
        lines.join("\n")
    );
}

#[track_caller]
fn must_be_refused(lines: &[String], why: &str) {
    let all = lines.join("\n");
    assert!(
        all.contains("the reload is refused") && all.contains(why),
        "{all}"
    );
}

/// The name of the origin behind a new connection: origins send their name first.
fn answer(proxy: &Proxy) -> Vec<u8> {
    let client = proxy.dial("forward");
    client.send(b"?");
    client.receive(1)
}

fn named(name: &'static [u8; 1]) -> Origin {
    Origin::plain().serve(move |stream| {
        while stream.read().is_ok_and(|data| !data.is_empty()) {
            stream.send(name);
        }
    })
}

#[test]
fn promise_4_a_reload_serves_new_connections_anew_and_leaves_the_others_alone() {
    let (old, new) = (named(b"o"), named(b"n"));
    let proxy = Proxy::builder().forward(&old).start();
    let client = proxy.dial("forward");
    client.send(b"?");
    assert_eq!(client.receive(1), b"o");
    let text = proxy.text().replace(&old.to_string(), &new.to_string());
    let lines = proxy.reload(&text);
    must_be_reloaded(&lines);
    assert!(
        lines.iter().any(|line| line.contains("origin")),
        "{lines:?}"
    );
    assert_eq!(answer(&proxy), b"n");
    // Its origin was removed: the connection drains, so it continues while it is busy.
    client.send(b"?");
    assert_eq!(client.receive(1), b"o");
}

#[test]
fn promise_4_a_refused_reload_changes_nothing_and_says_where_and_why() {
    let origin = named(b"o");
    let proxy = Proxy::builder().forward(&origin).start();
    let client = proxy.dial("forward");
    let good = proxy.text().to_owned();
    for (broken, why) in [
        (good.replace("routes:", "roots:"), "unknown key `roots`"),
        (
            good.replace("mode: forward", "mode: terminate"),
            "does not go with",
        ),
        (format!("{good}\n\t- x"), "config.yaml:"),
        (String::new(), "holds no configuration"),
    ] {
        let lines = proxy.reload(&broken);
        must_be_refused(&lines, why);
        assert!(lines[0].contains("config.yaml"), "{lines:?}");
        assert_eq!(answer(&proxy), b"o");
    }
    client.send(b"?");
    assert_eq!(client.receive(1), b"o");
    fs::remove_file(proxy.directory().join("config.yaml")).unwrap();
    must_be_refused(
        &proxy.reloads(|| proxy.signal(Signal::HUP)),
        "cannot be read",
    );
    must_be_reloaded(&proxy.reload(&good));
}

#[test]
fn an_idle_process_uses_no_cpu_before_and_after_a_reload() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .forward(&origin)
        .start();
    let client = proxy.dial("forward");
    client.must_echo(b"x");
    let second = Duration::from_secs(1);
    let used_in_a_second = || {
        let before = proxy.usage().cpu;
        std::thread::sleep(second);
        proxy.usage().cpu - before
    };
    assert!(used_in_a_second() < second / 20);
    let more = format!(
        "  - name: more\n    listen: 127.0.0.1:0\n    protocol: tcp\n    routes: [{{ name: more, \
         mode: forward, upstream: {} }}]\n",
        upstream_of(proxy.text())
    );
    let text = proxy
        .text()
        .replacen("endpoints:\n", &format!("endpoints:\n{more}"), 1);
    must_be_reloaded(&proxy.reload(&text));
    assert!(used_in_a_second() < second / 20);
}

/// The name of the first upstream of a configuration.
fn upstream_of(text: &str) -> &str {
    let upstreams = text.split("upstreams:\n").nth(1).unwrap();
    upstreams.trim_start().split(':').next().unwrap()
}

#[test]
fn removed_parts_drain_and_are_aborted_at_the_end() {
    let (old, new) = (Origin::echo(), Origin::echo());
    let proxy = Proxy::builder()
        .forward(&old)
        .top("process: { drain: { removed: 1s, idle_after: 300ms } }")
        .start();
    let (idle, busy) = (proxy.dial("forward"), proxy.dial("forward"));
    idle.must_echo(b"x");
    busy.must_echo(b"x");
    let text = proxy.text().replace(&old.to_string(), &new.to_string());
    must_be_reloaded(&proxy.reload(&text));
    let mut turns = 0;
    while busy.try_send(b"x").is_ok() && busy.try_receive(1).is_some() {
        turns += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        turns > 20,
        "a busy one continues until the end of the window: {turns}"
    );
    assert!(matches!(idle.receive_to_end().1, End::Reset));
    let ended = proxy.outcome_of(&idle);
    let lived = ended.must_be("drain")["ms"]["total"].as_f64().unwrap();
    assert!(lived < 950.0, "{ended:?}");
    proxy.outcome_of(&busy).must_be("drain");
    proxy
        .dial("forward")
        .must_echo(b"those of the new configuration stay");
}

#[test]
fn a_retargeted_route_keeps_its_connections_while_their_upstream_exists() {
    let (blue, green) = (named(b"b"), named(b"g"));
    let text = |route: &str, more: &str| {
        format!(
            "process: {{ drain: {{ idle_after: 10ms }} }}\n\
             endpoints:\n\
             \x20 - {{ name: forward, listen: \"127.0.0.1:0\", protocol: tcp, routes: [{{ name: r, \
             mode: forward, upstream: {route} }}] }}\n\
             {more}\
             upstreams:\n\
             \x20 blue: {{ origins: [\"{blue}\"] }}\n\
             \x20 green: {{ origins: [\"{green}\"] }}\n"
        )
    };
    let gone = "  - { name: gone, listen: \"127.0.0.1:0\", protocol: tcp, routes: [{ name: r, \
                mode: forward, upstream: blue }] }\n";
    let proxy = Proxy::builder().yaml(&text("blue", gone)).start();
    let (client, drained) = (proxy.dial("forward"), proxy.dial("gone"));
    for client in [&client, &drained] {
        client.send(b"?");
        assert_eq!(client.receive(1), b"b");
    }
    must_be_reloaded(&proxy.reload(&text("green", "")));
    // Once this one has received the drain, all connections were checked.
    drained.receive_to_end();
    client.send(b"?");
    assert_eq!(client.receive(1), b"b");
    assert_eq!(answer(&proxy), b"g");
}

#[test]
fn each_reload_has_its_own_drain_window() {
    let (old, new) = (Origin::echo(), Origin::echo());
    let proxy = Proxy::builder()
        .forward(&old)
        .top("process: { drain: { removed: 1500ms, idle_after: 1h } }")
        .start();
    let client = proxy.dial("forward");
    client.must_echo(b"x");
    // A later reload does not restart the drain time of this one.
    must_be_reloaded(&proxy.reload(&format!("{}# touched\n", proxy.text())));
    std::thread::sleep(Duration::from_millis(700));
    let text = proxy.text().replace(&old.to_string(), &new.to_string());
    let removed = std::time::Instant::now();
    must_be_reloaded(&proxy.reload(&text));
    while client.try_send(b"x").is_ok() && client.try_receive(1).is_some() {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        removed.elapsed() > Duration::from_millis(1400),
        "{:?}",
        removed.elapsed()
    );
    proxy.outcome().must_be("drain");
}

#[test]
fn keys_that_need_a_restart_keep_their_value_and_others_apply() {
    let (old, new) = (named(b"o"), named(b"n"));
    let proxy = Proxy::builder()
        .forward(&old)
        .top("process: { workers: 1 }")
        .admin()
        .start();
    let text = proxy
        .text()
        .replace("workers: 1", "workers: 2")
        .replace(&old.to_string(), &new.to_string());
    let lines = proxy.reload(&text);
    must_be_reloaded(&lines);
    assert!(
        lines
            .iter()
            .any(|l| l.contains("restart needed") && l.contains("process.workers")),
        "{lines:?}"
    );
    assert_eq!(answer(&proxy), b"n");
    // The warning repeats while the file and the process differ, and no longer.
    proxy.reload(&text);
    assert_eq!(
        proxy.ctl_json(&["status"])["restart_needed"][0],
        "process.workers"
    );
    proxy.ctl(&["config"]).must_print("workers: 1");
    proxy
        .ctl(&["reload", "--plan"])
        .must_print("no changes")
        .must_print("process.workers");
    let lines = proxy.reload(&text.replace("workers: 2", "workers: 1"));
    assert!(!lines.iter().any(|l| l.contains("restart needed")));
    assert!(proxy.ctl_json(&["status"])["restart_needed"].is_null());
}

#[test]
fn errors_are_logged_in_full() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let key = format!("{}/{}/key.pem", "d".repeat(200), "e".repeat(100));
    let text = proxy.text().replace("identity-0.key", &key);
    proxy.directory().write(&key, &pki().edge(&["a.test"]).key);
    let exposed = fs::Permissions::from_mode(0o644);
    fs::set_permissions(proxy.directory().join(&key), exposed).unwrap();
    let lines = proxy.reload(&text);
    assert!(
        lines
            .iter()
            .any(|l| l.contains("every user may read") && l.contains("key_permissions: warn")),
        "{lines:?}"
    );
}

#[test]
fn many_hangups_leak_nothing() {
    let origin = Origin::echo();
    let rounds = std::env::var("RESEAL_HANGUPS").map_or(300, |text| text.parse().unwrap());
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let client = proxy.client("a.test").connect();
    proxy.reloads(|| proxy.signal(Signal::HUP));
    let before = proxy.usage_at_rest();
    for _ in 0..rounds {
        proxy.signal(Signal::HUP);
        client.must_echo(b"x");
    }
    // Many signals collapse into one reload, and at least one follows the last signal.
    eventually("the last reload is done", || {
        let log = proxy.log();
        let count = log
            .iter()
            .filter(|line| line.contains("\"reloaded\""))
            .count();
        count > 1 && !proxy.reloads(|| proxy.signal(Signal::HUP)).is_empty()
    });
    eventually("nothing is left behind", || {
        let after = proxy.usage_at_rest();
        after.descriptors <= before.descriptors
            && after.threads <= before.threads
            && after.memory < before.memory + (8 << 20)
    });
    client.must_echo(b"x");
    client.end();
    proxy.outcome().must_be("ok");
}

#[test]
fn a_hangup_while_draining_changes_nothing() {
    let origin = Origin::echo();
    let mut proxy = Proxy::builder().forward(&origin).start();
    let client = proxy.dial("forward");
    client.must_echo(b"x");
    proxy.signal(Signal::TERM);
    proxy.log_line(|line| line.contains("draining"));
    for _ in 0..10 {
        proxy.signal(Signal::HUP);
        client.must_echo(b"x");
    }
    proxy.log_line(|line| line.contains("not reloaded: the process stops"));
    client.end();
    assert_eq!(proxy.exit_code(), 0);
}
