//! What `log.level: debug` and `ctl log-level debug` show: the steps of a connection, failed attempts, health
//! checks and renewed files.

use serde_json::Value;

use crate::harness::{Leaf, Origin, Proxy, ProxyBuilder, dead_address, eventually, pki};

/// Starts a proxy whose log shows the steps from here on.
fn at_debug(draft: ProxyBuilder) -> Proxy {
    let proxy = draft.admin().start();
    assert_eq!(proxy.ctl(&["log-level", "debug"]).stdout, "debug");
    proxy
}

/// The lines of the process's log with this message.
fn lines(proxy: &Proxy, message: &str) -> Vec<Value> {
    let log = proxy.log();
    let lines = log
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines
        .filter(|line: &Value| line["message"] == message)
        .collect()
}

#[track_caller]
fn wait_for(proxy: &Proxy, message: &str) -> Value {
    let quoted = format!("\"message\":\"{message}\"");
    let line = proxy.log_line(|line| line.contains(&quoted));
    serde_json::from_str(&line).unwrap()
}

#[test]
fn debug_shows_each_step_of_a_connection_under_the_id_of_its_record() {
    let origin = Origin::with_tls().echo();
    let draft = Proxy::builder()
        .reencrypt("a.test", &origin)
        .on_route("client_auth: { mode: required, ca: client-ca.pem }");
    let proxy = at_debug(draft);
    // Its comma is escaped in the name, and the log escapes that: once, as in the access log.
    let alice = pki()
        .clients
        .issue(&Leaf::client("alice").common_name("alice, b"));
    let client = proxy.client("a.test").certificate(&alice);
    let stream = client.connect();
    stream.must_echo(b"x");
    stream.end();
    let record = proxy.outcome();
    record.must_be("ok");
    let steps = [
        "accepted",
        "routed",
        "client certificate received",
        "TLS with the client established",
        "connecting to the origin",
        "connected to the origin",
        "TLS with the origin established",
        "relaying",
        "ended",
    ];
    wait_for(&proxy, "ended");
    for step in steps {
        let lines = lines(&proxy, step);
        assert_eq!(lines.len(), 1, "{step}: {lines:?}");
        assert_eq!(
            lines[0]["id"].as_str().unwrap(),
            record.text("id"),
            "{step}"
        );
        assert_eq!(lines[0]["level"], "debug");
    }
    assert_eq!(lines(&proxy, "routed")[0]["sni"], "a.test");
    assert_eq!(
        lines(&proxy, "client certificate received")[0]["subject"],
        record["client_cert"]["subject"]
    );
    assert_eq!(lines(&proxy, "ended")[0]["bytes_up"], 1);
    // Stages are for trace.
    assert!(lines(&proxy, "next stage").is_empty());
}

#[test]
fn debug_shows_a_failed_attempt_and_the_next_one() {
    let (dead, _port) = dead_address();
    let origin = Origin::echo();
    let draft = Proxy::builder()
        .forward(&origin)
        .origins(&format!("[\"{dead}\", \"{origin}\"]"))
        .on_upstream("balance: first");
    let proxy = at_debug(draft);
    let client = proxy.dial("forward");
    client.must_echo(b"x");
    client.end();
    let id = proxy.outcome()["id"].clone();
    let failed = wait_for(&proxy, "attempt failed");
    assert_eq!(failed["id"], id);
    assert_eq!(failed["address"], dead.to_string());
    assert_eq!(failed["reason"], "origin_refused");
    assert_eq!(failed["may_retry"], true);
    assert_eq!(lines(&proxy, "connecting to the origin").len(), 2);
}

#[test]
fn debug_shows_health_checks_and_renewed_files() {
    let origin = Origin::echo();
    let draft = Proxy::builder()
        .top("process: { reload: { debounce: 50ms } }")
        .terminate("a.test", &origin)
        .on_upstream("health: { check: tcp, interval: 200ms }");
    let proxy = at_debug(draft);
    let check = wait_for(&proxy, "health check");
    assert_eq!(check["result"], "passed");
    assert_eq!(check["address"], origin.to_string());
    let renewed = pki().edge(&["a.test"]);
    proxy.directory().write("identity-0.key", &renewed.key);
    proxy.directory().write("identity-0.pem", &renewed.cert);
    let changed = wait_for(&proxy, "a file has changed and is read again");
    let file = changed["file"].as_str().unwrap();
    assert!(file.contains("identity-0."), "{file}");
}

#[test]
fn trace_has_the_server_name_once() {
    let origin = Origin::echo();
    let draft = Proxy::builder().terminate("a.test", &origin);
    let proxy = draft.admin().start();
    assert_eq!(proxy.ctl(&["log-level", "trace"]).stdout, "trace");
    proxy.client("a.test").connect().reset();
    proxy.outcome();
    let names = lines(&proxy, "server name");
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(names[0]["sni"], "a.test");
}

#[test]
fn the_level_of_a_running_process_shows_and_hides_the_steps() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let relay = || {
        let client = proxy.dial("forward");
        client.must_echo(b"x");
        client.end();
        proxy.outcome().must_be("ok");
    };
    relay();
    assert!(lines(&proxy, "accepted").is_empty());
    assert_eq!(proxy.ctl(&["log-level", "trace"]).stdout, "trace");
    relay();
    wait_for(&proxy, "next stage");
    eventually("the end is logged", || !lines(&proxy, "ended").is_empty());
    assert_eq!(proxy.ctl(&["log-level", "info"]).stdout, "info");
    relay();
    assert_eq!(lines(&proxy, "accepted").len(), 1);
}
