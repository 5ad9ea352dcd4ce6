//! Control of a running process through `ctl`.

use std::fs;

use serde_json::Value;

use crate::harness::{End, Origin, Port, Proxy, eventually};

fn proxy(origin: &Origin) -> Proxy {
    Proxy::builder()
        .terminate("a.test", origin)
        .forward(origin)
        .admin()
        .start()
}

fn connections(proxy: &Proxy) -> Vec<Value> {
    let answer = proxy.ctl_json(&["connections"]);
    answer["connections"].as_array().unwrap().clone()
}

#[test]
fn connections_are_listed_with_their_bytes() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    assert!(connections(&proxy).is_empty());
    let client = proxy.client("A.test").connect();
    client.must_echo(b"twelve bytes");
    let list = connections(&proxy);
    assert_eq!(list.len(), 1);
    let one = &list[0];
    assert_eq!(one["client"], client.local().to_string());
    assert_eq!(
        (&one["sni"], &one["route"]),
        (&"a.test".into(), &"a.test".into())
    );
    assert_eq!(
        (&one["bytes_up"], &one["bytes_down"]),
        (&12.into(), &12.into())
    );
    let id = one["id"].as_str().unwrap().to_owned();
    proxy
        .ctl(&["connections"])
        .must_exit_with(0)
        .must_print(&id);
    client.end();
    assert_eq!(proxy.outcome().text("id"), id);
    assert!(connections(&proxy).is_empty());
}

#[test]
fn a_connection_is_killed_by_its_id_and_the_others_stay() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let (one, other) = (proxy.client("a.test").connect(), proxy.dial("forward"));
    one.must_echo(b"x");
    other.must_echo(b"x");
    let list = connections(&proxy);
    let entry = list.iter().find(|c| c["endpoint"] == "edge").unwrap();
    let id = entry["id"].as_str().unwrap();
    proxy.ctl(&["kill", id]).must_exit_with(0);
    assert!(matches!(one.receive_to_end().1, End::Reset));
    proxy.outcome_of(&one).must_be("killed");
    other.must_echo(b"still here");
    proxy
        .ctl(&["kill", id])
        .must_exit_with(1)
        .must_print("no live connection");
}

#[test]
fn ctl_reload_returns_after_the_reload_or_with_its_errors() {
    let (old, new) = (Origin::echo(), Origin::echo());
    let proxy = proxy(&old);
    let good = proxy.text().replace(&old.to_string(), &new.to_string());
    proxy.directory().write("config.yaml", &good);
    let answer = proxy.ctl_json(&["reload"]);
    assert_eq!(answer["generation"], 2);
    proxy.dial("forward").must_echo(b"x");
    assert_eq!((old.accepts(), new.accepts()), (0, 1));
    proxy
        .directory()
        .write("config.yaml", good.replace("mode:", "mood:"));
    proxy
        .ctl(&["reload"])
        .must_exit_with(1)
        .must_print("config.yaml:")
        .must_print("unknown key `mood`");
    let status = proxy.ctl_json(&["status"]);
    assert_eq!(status["generation"], 2);
    assert_eq!(status["last_reload"]["result"], "refused");
    proxy.dial("forward").must_echo(b"x");
    let metrics = proxy.metrics();
    assert_eq!(
        metrics.count("reseal_reloads_total", &[("result", "done")]),
        1.0
    );
    assert_eq!(
        metrics.count("reseal_reloads_total", &[("result", "refused")]),
        1.0
    );
}

#[test]
fn a_plan_reports_changes_without_applying_them() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let client = proxy.dial("forward");
    client.must_echo(b"x");
    let without_forward = proxy
        .text()
        .split("  - name: forward")
        .next()
        .unwrap()
        .to_owned();
    let upstreams = proxy.text().split("upstreams:").nth(1).unwrap();
    let text =
        format!("{without_forward}\nupstreams:{upstreams}").replace("sni: a.test", "sni: b.test");
    assert!(text.contains("b.test") || text.contains("a.test"), "{text}");
    proxy.directory().write("config.yaml", &text);
    let plan = proxy.ctl_json(&["reload", "--plan"]);
    let changes = plan["changes"].as_array().unwrap();
    let removed = changes
        .iter()
        .find(|c| c["what"] == "endpoint" && c["name"] == "forward")
        .unwrap_or_else(|| panic!("{plan:#}"));
    assert_eq!(
        (&removed["change"], &removed["connections"]),
        (&"removed".into(), &1.into())
    );
    assert_eq!(proxy.ctl_json(&["status"])["generation"], 1);
    client.must_echo(b"nothing has happened");
    proxy.dial("forward").must_echo(b"x");
}

#[test]
fn an_endpoint_drains_until_a_reload_opens_it_again() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .forward(&origin)
        .top("process: { drain: { removed: 20s, idle_after: 200ms } }")
        .admin()
        .start();
    let idle = proxy.dial("forward");
    idle.must_echo(b"x");
    proxy
        .ctl(&["drain", "--endpoint", "forward"])
        .must_exit_with(0);
    assert!(matches!(idle.receive_to_end().1, End::Reset));
    proxy.outcome_of(&idle).must_be("drain");
    eventually("the address is closed", || {
        std::net::TcpStream::connect(proxy.listen_addr("forward").tcp()).is_err()
    });
    proxy
        .client("a.test")
        .connect()
        .must_echo(b"others continue");
    proxy.ctl(&["reload"]).must_exit_with(0);
    let place = proxy.new_listen_addr("forward").tcp();
    crate::harness::Stream::dial(&crate::harness::ListenAddr::Tcp(place))
        .unwrap()
        .must_echo(b"x");
    proxy
        .ctl(&["drain", "--endpoint", "forwrad"])
        .must_exit_with(1)
        .must_print("no endpoint `forwrad`");
}

#[test]
fn an_endpoint_drained_by_hand_is_shown_until_a_reload_opens_it_again() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .forward(&origin)
        .admin()
        .start();
    let ready = || proxy.admin("/readyz", &[]);
    ready().must_be(200);
    let drain = |name: &str| {
        proxy.ctl(&["drain", "--endpoint", name]).must_exit_with(0);
    };
    drain("forward");
    assert_eq!(
        proxy.ctl_json(&["status"])["drained_endpoints"],
        serde_json::json!(["forward"])
    );
    proxy
        .ctl(&["status"])
        .must_print("drained endpoints")
        .must_print("forward");
    assert!(
        ready()
            .must_be(200)
            .body
            .contains("drained endpoints: forward")
    );
    drain("edge");
    assert!(ready().must_be(503).body.contains("listening on nothing"));
    let reopened = |result: &serde_json::Value| {
        let changes = result["changes"].as_array().unwrap();
        let is_reopened = |change: &&serde_json::Value| change["change"] == "reopened";
        let names = changes
            .iter()
            .filter(is_reopened)
            .map(|change| change["name"].clone());
        let mut names: Vec<_> = names
            .map(|name| name.as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        reopened(&proxy.ctl_json(&["reload", "--plan"])),
        ["edge", "forward"]
    );
    assert_eq!(reopened(&proxy.ctl_json(&["reload"])), ["edge", "forward"]);
    assert!(
        proxy
            .ctl_json(&["status"])
            .get("drained_endpoints")
            .is_none()
    );
    let body = ready().must_be(200).body.clone();
    assert!(!body.contains("drained"), "{body}");
}

#[test]
fn ctl_stop_stops_the_process_as_term_does() {
    let origin = Origin::echo();
    let mut proxy = proxy(&origin);
    let client = proxy.dial("forward");
    client.must_echo(b"x");
    // An operator who forgets the name does not stop the process.
    proxy
        .ctl(&["drain"])
        .must_exit_with(2)
        .must_print("--endpoint")
        .must_print("reseal ctl stop");
    assert_eq!(proxy.ctl_json(&["status"])["phase"], "serving");
    proxy.ctl(&["stop"]).must_exit_with(0).must_print("exits");
    eventually("it says that it drains", || {
        let status = proxy.ctl_json(&["status"]);
        status["phase"] == "draining" && status["drain_seconds_left"].is_u64()
    });
    assert_eq!(
        proxy
            .ctl(&["reload"])
            .must_exit_with(1)
            .must_print("the process stops")
            .code,
        Some(1)
    );
    client.must_echo(b"while draining");
    client.end();
    assert_eq!(proxy.exit_code(), 0);
    assert!(
        fs::metadata(proxy.admin_socket()).is_err(),
        "its socket still exists"
    );
}

#[test]
fn a_file_is_checked_against_the_running_process() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let config = proxy.directory().join("config.yaml");
    let config = config.to_str().unwrap();
    let check =
        |path: &str| crate::harness::reseal(&["check", "--config", path, "--against-running"]);
    check(config).must_exit_with(0);
    let text = proxy.text().replace("name: forward", "name: forwarded");
    proxy.directory().write("config.yaml", &text);
    check(config)
        .must_exit_with(0)
        .must_print("forwarded")
        .must_print("added");
    let other = proxy.directory().write("other.yaml", &text);
    check(other.to_str().unwrap())
        .must_exit_with(1)
        .must_print("uses another file");
}

#[test]
fn check_against_a_process_takes_the_token_from_the_file() {
    let (origin, port) = (Origin::echo(), Port::reserve());
    let proxy = Proxy::builder()
        .forward(&origin)
        .file("token", "0123456789abcdef")
        .top(&format!(
            "admin: {{ listen: \"{}\", token_file: token }}",
            port.address()
        ))
        .start();
    let config = proxy.directory().join("config.yaml");
    let config = config.to_str().unwrap();
    crate::harness::reseal(&["check", "--config", config, "--against-running"])
        .must_exit_with(0)
        .must_print("no changes");
}

#[test]
fn a_renewal_does_not_reopen_a_drained_endpoint() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    proxy
        .ctl(&["drain", "--endpoint", "forward"])
        .must_exit_with(0);
    let closed = || std::net::TcpStream::connect(proxy.listen_addr("forward").tcp()).is_err();
    eventually("the address is closed", closed);
    let renewed = crate::harness::pki().edge(&["a.test"]);
    proxy.directory().write("identity-0.pem", &renewed.cert);
    let lines = proxy.reloads(|| {
        proxy.directory().write("identity-0.key", &renewed.key);
    });
    assert!(lines.last().unwrap().contains("\"reloaded\""), "{lines:?}");
    assert!(closed());
    proxy.client("a.test").connect().must_echo(b"x");
}
