//! What a running process can still take over, and what it refuses.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::process::Signal;

use super::{ADMIN, refused_plan, required};
use crate::harness::{Directory, Identity, Origin, Port, Proxy, Stream, eventually, pki};

/// An endpoint at this address, in front of those that are there.
fn with_endpoint(text: &str, listen: &str) -> String {
    let more = format!(
        "endpoints:\n  - {{ name: more, listen: \"{listen}\", protocol: tcp, routes: [{{ name: more, mode: \
         forward, upstream: upstream-0 }}] }}\n"
    );
    text.replacen("endpoints:\n", &more, 1)
}

fn is_reloaded(lines: &[String]) -> bool {
    lines
        .last()
        .is_some_and(|line| line.contains("\"message\":\"reloaded\""))
}

/// Expects the plan and the reload of this text to be refused for `what`, and nothing to change.
#[track_caller]
fn must_need_a_restart(proxy: &Proxy, text: &str, what: &str) {
    proxy.directory().write("config.yaml", text);
    let plan = refused_plan(proxy);
    assert!(plan.contains("restart") && plan.contains(what), "{plan}");
    let lines = proxy.reload(text).join("\n");
    assert!(lines.contains("the reload is refused"), "{lines}");
    assert!(lines.contains("restart") && lines.contains(what), "{lines}");
    proxy.dial("forward").must_echo(b"as before");
}

#[test]
fn a_reload_that_needs_more_is_refused_whole_and_says_what_to_restart_for() {
    let (origin, other) = (Origin::echo(), Origin::echo());
    let elsewhere = Directory::new();
    let port = Port::reserve();
    let listen = Port::reserve().address().to_string();
    let proxy = required(&origin, "").listen(&listen).start();
    let text = proxy.text().to_owned();
    let new_port = other.to_string().rsplit(':').next().unwrap().to_owned();
    must_need_a_restart(
        &proxy,
        &text.replace(&origin.to_string(), &other.to_string()),
        &format!("connecting to port {new_port}"),
    );
    must_need_a_restart(
        &proxy,
        &with_endpoint(&text, &port.address().to_string()),
        &format!("listening on port {}", port.number()),
    );
    let directory = elsewhere.path().display().to_string();
    must_need_a_restart(
        &proxy,
        &with_endpoint(&text, &format!("unix:{directory}/more.sock")),
        &format!("making a socket in {directory}"),
    );
    elsewhere.write("networks", "127.0.0.0/8\n");
    let listed =
        format!("protocol: tcp\n    sources: {{ allow: [{{ file: {directory}/networks }}] }}\n");
    must_need_a_restart(
        &proxy,
        &text.replacen("protocol: tcp\n", &listed, 1),
        &format!("reading {directory}"),
    );
    assert!(is_reloaded(&proxy.reload(&text)));
}

#[test]
fn room_that_was_kept_is_there_for_a_reload() {
    let (origin, other) = (Origin::echo(), Origin::echo());
    let elsewhere = Directory::new();
    let port = Port::reserve();
    let connect = other.to_string().rsplit(':').next().unwrap().to_owned();
    let directory = elsewhere.path().display().to_string();
    let also = format!(
        "connect: [{connect}], bind: [{}], read: [{directory}], write: [{directory}]",
        port.number()
    );
    let proxy = required(&origin, &also).start();
    elsewhere.write("networks", "127.0.0.0/8\n");
    let text = proxy
        .text()
        .replace(&origin.to_string(), &other.to_string());
    let text = with_endpoint(&text, &port.address().to_string());
    let text = with_endpoint(&text, &format!("unix:{directory}/more.sock")).replacen(
        "name: more",
        "name: unix",
        1,
    );
    let listed =
        format!("protocol: tcp\n    sources: {{ allow: [{{ file: {directory}/networks }}] }}\n");
    let lines = proxy.reload(&text.replacen("protocol: tcp\n", &listed, 1));
    assert!(is_reloaded(&lines), "{}", lines.join("\n"));
    for place in [
        format!("unix:{directory}/more.sock"),
        port.address().to_string(),
    ] {
        let place = crate::harness::ListenAddr::parse(&place);
        Stream::dial(&place).unwrap().must_echo(b"x");
    }
}

#[test]
fn an_ordinary_day_passes_with_the_default() {
    let (origin, other) = (Origin::echo(), Origin::echo());
    let elsewhere = Directory::new();
    let proxy = Proxy::builder()
        .top("process: { reload: { debounce: 50ms } }")
        .top("access_log: { output: access.log }")
        .admin()
        .forward(&origin)
        .start();
    // A new origin on another port, and a file in a directory that was never named.
    elsewhere.write("networks", "127.0.0.0/8\n");
    let listed = format!(
        "protocol: tcp\n    sources: {{ allow: [{{ file: {}/networks }}] }}\n",
        elsewhere.path().display()
    );
    let text = proxy
        .text()
        .replace(&origin.to_string(), &other.to_string());
    let text = text.replacen("protocol: tcp\n", &listed, 1);
    let text = with_endpoint(
        &text,
        &format!("unix:{}", proxy.directory().join("more.sock").display()),
    );
    let lines = proxy.reload(&text);
    assert!(is_reloaded(&lines), "{}", lines.join("\n"));
    proxy.dial("forward").must_echo(b"x");
    rotate(&proxy);
    let more = crate::harness::ListenAddr::Unix(proxy.directory().join("more.sock"));
    Stream::dial(&more).unwrap().must_echo(b"x");
}

#[test]
fn a_new_port_to_listen_on_needs_room_or_a_restart_with_the_default_too() {
    let origin = Origin::echo();
    let listen = Port::reserve().address().to_string();
    let port = Port::reserve();
    let start = |process: &str| {
        Proxy::builder()
            .top(process)
            .top(ADMIN)
            .forward(&origin)
            .listen(&listen)
    };
    let proxy = start("process: { sandbox: best-effort }").start();
    let text = with_endpoint(proxy.text(), &port.address().to_string());
    must_need_a_restart(
        &proxy,
        &text,
        &format!("listening on port {}", port.number()),
    );
    drop(proxy);
    let room = format!(
        "process: {{ sandbox: {{ also: {{ bind: [{}] }} }} }}",
        port.number()
    );
    let proxy = start(&room).start();
    let text = with_endpoint(proxy.text(), &port.address().to_string());
    assert!(is_reloaded(&proxy.reload(&text)));
    let more = crate::harness::ListenAddr::Tcp(port.address());
    Stream::dial(&more).unwrap().must_echo(b"x");
}

#[test]
fn a_changed_sandbox_or_user_needs_a_restart_and_the_rest_applies() {
    let origin = Origin::echo();
    let proxy = required(&origin, "").start();
    let text = proxy.text().replace("mode: required", "mode: best-effort");
    let lines = proxy.reload(&text);
    assert!(is_reloaded(&lines), "{}", lines.join("\n"));
    let status = proxy.ctl_json(&["status"]);
    assert_eq!(
        status["restart_needed"],
        serde_json::json!(["process.sandbox"])
    );
    assert_eq!(status["sandbox"], "required");
}

/// Rotates the access log, and waits until the new file has the next connection.
#[track_caller]
fn rotate(proxy: &Proxy) {
    let (log, old) = ["access.log", "access.log.1"]
        .map(|name| proxy.directory().join(name))
        .into();
    fs::rename(&log, old).unwrap();
    proxy.signal(Signal::USR1);
    eventually("the new file has a record", || {
        proxy.dial("forward").must_echo(b"x");
        fs::read_to_string(&log).is_ok_and(|text| text.contains("forward"))
    });
}

fn write_pair(directory: &Directory, place: &str, pair: &Identity) {
    directory.write(&format!("{place}/tls.crt"), &pair.cert);
    directory.write(&format!("{place}/tls.key"), &pair.key);
}

/// As the kubelet does it, with rotated logs, checks and a name beside it.
#[test]
fn renewals_rotations_checks_and_names_work_in_a_required_sandbox() {
    let origin = Origin::echo();
    let names = ["a.test"];
    let (first, second) = (pki().edge(&names), pki().edge(&names));
    let port = origin.to_string().rsplit(':').next().unwrap().to_owned();
    let draft = required(&origin, "")
        .top("access_log: { output: access.log }")
        .endpoint("edge", "tls")
        .route("terminate", "a.test", &format!("localhost:{port}"))
        .with_certificate("{ cert: secret/tls.crt, key: secret/tls.key }")
        .on_upstream("health: { check: tcp, interval: 100ms }");
    let directory = draft.path("");
    let secret = |name: &str| format!("{directory}/secret/{name}");
    fs::create_dir_all(secret("..1")).unwrap();
    for (name, text) in [("tls.crt", &first.cert), ("tls.key", &first.key)] {
        fs::write(secret(&format!("..1/{name}")), text).unwrap();
        symlink(format!("..data/{name}"), secret(name)).unwrap();
    }
    let lock = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(secret("..1/tls.key"), lock).unwrap();
    symlink("..1", secret("..data")).unwrap();
    let proxy = draft.start();
    proxy.client("a.test").connect().must_echo(b"x");
    eventually("the check has passed", || {
        let origins = proxy.ctl_json(&["origins"]);
        origins.to_string().contains("\"up\"")
    });
    let lines = proxy.reloads(|| {
        write_pair(proxy.directory(), "secret/..2", &second);
        symlink("..2", secret("..next")).unwrap();
        fs::rename(secret("..next"), secret("..data")).unwrap();
    });
    assert!(is_reloaded(&lines), "{}", lines.join("\n"));
    assert!(lines.join("\n").contains("certificate edge/tls changed"));
    proxy.client("a.test").connect().must_echo(b"x");
    rotate(&proxy);
}
