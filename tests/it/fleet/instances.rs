//! What instances apply, refuse and say.

use std::fs;

use rustix::process::Signal;

use super::{Fleet, echoed, plain, terminating};
use crate::harness::{Client, Directory, Origin, Port, Proxy, eventually, pki};

#[test]
fn a_refused_document_is_told_with_its_reason_and_the_old_one_serves() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let instance = fleet.instance("edge-1");
    let text = terminating(&fleet, &origin);
    let first = fleet.push(&text);
    fleet.serves("edge-1", &first);
    let place = instance.new_listen_addr("edge");
    // Only an instance can know that its port is taken.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let second = fleet.push(&text.replace("127.0.0.1:0", &address.to_string()));
    let waited = fleet.run(&["status", "--wait"]);
    waited.must_exit_with(1).must_print("refused");
    let state = fleet.state("edge-1");
    assert_eq!(state["state"], "refused");
    assert_eq!(state["generation"], first);
    let reason = state["reason"].as_str().unwrap();
    assert!(reason.contains(&address.port().to_string()), "{reason}");
    assert!(echoed(&place));
    let metrics = instance.metrics();
    assert_eq!(metrics.count("reseal_fleet_document_refused", &[]), 1.0);
    assert_eq!(
        instance.ctl_json(&["status"])["fleet"]["refused"]["generation"],
        second
    );
    // The next good one is applied.
    let third = fleet.push(&text);
    fleet.run(&["status", "--wait"]).must_exit_with(0);
    fleet.serves("edge-1", &third);
    assert!(echoed(&place));
}

#[test]
fn status_has_every_instance_and_those_that_are_gone() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let nothing = fleet.run(&["status", "--wait", "--timeout", "0"]);
    nothing
        .must_exit_with(1)
        .must_print("nothing was pushed yet");
    let one = fleet.instance("edge-1");
    let mut two = fleet.instance_in(&Directory::new(), "edge-2", "  group: canary\n");
    let id = fleet.push(&terminating(&fleet, &origin));
    fleet.serves("edge-1", &id);
    fleet.serves("edge-2", &id);
    let client = Client::new(&one.new_listen_addr("edge"), "a.test").connect();
    client.send("x");
    assert_eq!(client.receive(1), b"x");
    eventually("its connection is counted", || {
        fleet.state("edge-1")["connections"] == 1
    });
    let state = fleet.state("edge-2");
    assert_eq!(state["group"], "canary");
    assert_eq!(state["version"], env!("CARGO_PKG_VERSION"));
    assert!(state["reason"].is_null(), "{state}");
    // One that stops leaves at once.
    two.signal(Signal::TERM);
    two.exit_code();
    eventually("it is gone", || fleet.state("edge-2")["state"] == "gone");
    fleet
        .run(&["status", "--wait"])
        .must_exit_with(0)
        .must_print("gone");
    fleet
        .run(&["forget", "edge-1"])
        .must_exit_with(1)
        .must_print("stop it first");
    fleet.run(&["forget", "edge-2"]).must_exit_with(0);
    let names: Vec<_> = fleet
        .status()
        .into_iter()
        .map(|i| i["name"].clone())
        .collect();
    assert_eq!(names, ["edge-1"]);
}

#[test]
fn an_instance_that_hangs_is_gone_and_comes_back() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let instance = fleet.instance("edge-1");
    let id = fleet.push(&plain(&origin));
    fleet.serves("edge-1", &id);
    instance.signal(Signal::STOP);
    eventually("it is gone", || fleet.state("edge-1")["state"] == "gone");
    instance.signal(Signal::CONT);
    fleet.serves("edge-1", &id);
}

#[test]
fn connections_go_on_over_many_pushes_a_third_of_which_are_refused() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let instance = fleet.instance("edge-1");
    let text = terminating(&fleet, &origin);
    let id = fleet.push(&text);
    fleet.serves("edge-1", &id);
    let client = Client::new(&instance.new_listen_addr("edge"), "a.test").connect();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = text.replace("127.0.0.1:0", &taken.local_addr().unwrap().to_string());
    for n in 0..9 {
        let text = if n % 3 == 2 { &refused } else { &text };
        fleet.push(&format!("{text}x-push: {n}\n"));
        let expected = if n % 3 == 2 { 1 } else { 0 };
        fleet.run(&["status", "--wait"]).must_exit_with(expected);
        let block = crate::harness::noise(50_000, n);
        client.send(&block);
        assert_eq!(client.receive(block.len()), block);
    }
}

#[test]
fn a_start_without_the_store_serves_from_the_cache_and_says_that_it_is_stale() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let directory = Directory::new();
    let mut instance = fleet.instance_in(&directory, "edge-1", "");
    let id = fleet.push(&terminating(&fleet, &origin));
    fleet.serves("edge-1", &id);
    instance.signal(Signal::TERM);
    instance.exit_code();
    let local = fleet.local_file("edge-1", "");
    let _files = fleet.directory.clone();
    drop(fleet);
    let instance = Proxy::again(&directory, &local);
    instance
        .log_line(|line| line.contains("serving the document of the cache") && line.contains(&id));
    instance.log_line(|line| line.contains("the fleet's store is lost"));
    assert!(echoed(instance.listen_addr("edge")));
    let ready = instance.probe("/readyz");
    ready.must_be(200);
    assert!(ready.body.contains("stale for"), "{}", ready.body);
    assert!(instance.metrics().count("reseal_fleet_age_seconds", &[]) >= 0.0);
}

#[test]
fn a_first_start_without_the_store_is_not_ready_and_waits_for_it() {
    let fleet = Fleet::new();
    let instance = fleet.instance("edge-1");
    let ready = instance.probe("/readyz");
    ready.must_be(503);
    assert!(
        ready.body.contains("no document of the fleet yet"),
        "{}",
        ready.body
    );
    let id = fleet.push(&plain(&Origin::echo()));
    fleet.serves("edge-1", &id);
    instance.probe("/readyz").must_be(200);
}

#[test]
fn a_wrong_seal_key_refuses_and_says_so() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let directory = Directory::new();
    directory.write("other.key", [9; 32]);
    let key = fleet.directory.join("fleet.key").display().to_string();
    let text = fleet.local_file("edge-1", "").replace(&key, "other.key");
    directory.write("config.yaml", &text);
    let instance = Proxy::again(&directory, &text);
    let id = fleet.push(&plain(&origin));
    let waited = fleet.run(&["status", "--wait"]);
    waited.must_exit_with(1).must_print("fleet.seal_key");
    // With both keys it opens.
    let both = fleet
        .local_file("edge-1", "")
        .replace(&key, &format!("[other.key, {key}]"));
    directory.write("config.yaml", both);
    instance.reloads(|| instance.signal(Signal::HUP));
    let next = fleet.push(&plain(&origin));
    assert_ne!(id, next);
    fleet.serves("edge-1", &next);
}

#[test]
fn a_name_that_another_live_instance_has_is_told_and_both_serve() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let one = fleet.instance("edge-1");
    eventually("it is there", || !fleet.status().is_empty());
    let two = fleet.instance("edge-1");
    two.log_line(|line| line.contains("another live instance has this name"));
    fleet.push(&terminating(&fleet, &origin));
    for instance in [&one, &two] {
        assert!(echoed(&instance.new_listen_addr("edge")));
    }
    assert_eq!(fleet.status().len(), 1);
}

#[test]
fn a_reload_of_the_local_file_keeps_the_document_and_cannot_leave_the_fleet() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let instance = fleet.instance("edge-1");
    let id = fleet.push(&terminating(&fleet, &origin));
    fleet.serves("edge-1", &id);
    let place = instance.new_listen_addr("edge");
    let lines = instance.reloads(|| instance.signal(Signal::HUP));
    assert!(lines.last().unwrap().contains("reloaded"), "{lines:?}");
    assert!(echoed(&place));
    instance.directory().write("config.yaml", plain(&origin));
    let lines = instance.reloads(|| instance.signal(Signal::HUP));
    assert!(
        lines.last().unwrap().contains("needs a restart"),
        "{lines:?}"
    );
    assert!(echoed(&place));
}

#[test]
fn endpoints_beside_fleet_are_errors() {
    let fleet = Fleet::new();
    let text = format!("{}{}", fleet.local("edge-1", ""), plain(&Origin::echo()));
    let file = fleet
        .directory
        .write("both.yaml", text)
        .display()
        .to_string();
    let checked = crate::harness::reseal(&["check", &file]);
    checked
        .must_exit_with(1)
        .must_print("`endpoints` beside `fleet`")
        .must_print("reseal fleet push FILE");
    let good = fleet.directory.join("config.yaml").display().to_string();
    crate::harness::reseal(&["check", &good]).must_exit_with(0);
}

#[test]
fn a_document_is_applied_in_the_sandbox_on_ports_that_no_file_named() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let instance = fleet.instance("edge-1");
    let ports = [Port::reserve(), Port::reserve()];
    for port in &ports {
        let text = terminating(&fleet, &origin);
        let id = fleet.push(&text.replace("127.0.0.1:0", &port.address().to_string()));
        fleet.serves("edge-1", &id);
        assert!(echoed(&crate::harness::ListenAddr::Tcp(port.address())));
    }
    assert_eq!(instance.ctl_json(&["status"])["sandbox"], "best-effort");
}

#[test]
fn a_taken_over_instance_keeps_its_name_and_its_document() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let mut instance = fleet.instance("edge-1");
    let id = fleet.push(&terminating(&fleet, &origin));
    fleet.serves("edge-1", &id);
    let place = instance.new_listen_addr("edge");
    eventually("the cache is written", || {
        instance.directory().join("cache/document.sealed").exists()
    });
    let text = fs::read_to_string(instance.directory().join("config.yaml")).unwrap();
    let new = instance.successor(&text);
    instance.exit_code();
    assert!(echoed(&place));
    let next = fleet.push(&terminating(&fleet, &origin));
    fleet.serves("edge-1", &next);
    new.probe("/readyz").must_be(200);
}

#[test]
fn certificates_of_the_document_are_those_that_clients_see() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let instance = fleet.instance("edge-1");
    let text = terminating(&fleet, &origin);
    let id = fleet.push(&text);
    fleet.serves("edge-1", &id);
    let place = instance.new_listen_addr("edge");
    let seen = || {
        Client::new(&place, "a.test")
            .connect()
            .peer_certificate()
            .unwrap()
    };
    let before = seen();
    let renewed = pki().edge(&["a.test"]);
    fleet.directory.write("certs/edge.pem", &renewed.cert);
    fleet.directory.write("certs/edge.key", &renewed.key);
    let id = fleet.push(&text);
    fleet.serves("edge-1", &id);
    let after = seen();
    assert_ne!(before, after);
    assert_eq!(after, renewed.chain()[0].as_ref());
}
