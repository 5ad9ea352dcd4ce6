//! The fate of live connections when their origin changes, and the view and commands of operators.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::harness::{
    Directory, DnsAnswer, End, LetterOrigin, NameServer, Origin, Proxy, eventually,
};

fn origins(proxy: &Proxy) -> Vec<Value> {
    let answer = proxy.ctl_json(&["origins"]);
    answer["origins"].as_array().unwrap().clone()
}

/// One key of the origin at this address.
fn value_of(proxy: &Proxy, origin: &LetterOrigin, key: &str) -> Value {
    let address = origin.address().to_string();
    let all = origins(proxy);
    let one = all.iter().find(|entry| entry["address"] == address);
    one.unwrap_or_else(|| panic!("no {address} in {all:?}"))[key].clone()
}

fn two(health: &str) -> (LetterOrigin, LetterOrigin, Proxy) {
    let (a, b) = (LetterOrigin::new('a'), LetterOrigin::new('b'));
    let proxy = Proxy::builder()
        .forward(&a)
        .origins(&format!(
            "[{{ name: one, address: \"{a}\" }}, {{ name: other, address: \"{b}\", connections: 9 }}]"
        ))
        .on_upstream(health)
        .admin()
        .start();
    (a, b, proxy)
}

#[test]
fn connections_to_an_origin_that_is_down_are_closed_if_configured() {
    let (status, origin) = (LetterOrigin::new('x'), LetterOrigin::new('a'));
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_upstream(&format!(
            "health: {{ check: tcp, port: {}, interval: 100ms, on_down: close }}",
            status.address().port()
        ))
        .admin()
        .start();
    let (_, client) = proxy.try_letter().unwrap();
    client.must_echo(b"x");
    // The origin itself is up: the check uses another port.
    drop(status);
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    proxy
        .outcome_of(&client)
        .must_be("origin_down")
        .must_have("fault", "origin");
    assert_eq!(value_of(&proxy, &origin, "state"), "down");
    let why = value_of(&proxy, &origin, "check");
    assert!(why.as_str().unwrap().contains("origin_refused"), "{why}");
}

#[test]
fn connections_to_an_origin_that_is_down_stay_by_default() {
    let (status, origin) = (LetterOrigin::new('x'), LetterOrigin::new('a'));
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_upstream(&format!(
            "health: {{ check: tcp, port: {}, interval: 100ms }}",
            status.address().port()
        ))
        .start();
    let (_, client) = proxy.try_letter().unwrap();
    drop(status);
    proxy.log_line(|line| line.contains("an origin is down"));
    client.must_echo(b"still here");
    assert!(proxy.try_letter().is_none());
}

#[test]
fn connections_to_an_address_that_left_dns_are_drained_if_configured() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let origins = LetterOrigin::at_one_port("ab");
    server.addresses("app.test", &[origins[0].address()]);
    let proxy = Proxy::builder()
        .forward(&format!("app.test:{}", origins[0].address().port()))
        .on_upstream("resolve: { on_gone: drain }")
        .top("process: { drain: { idle_after: 200ms } }")
        .resolving_by(&server, &directory)
        .start();
    let (letter, client) = proxy.try_letter().unwrap();
    assert_eq!(letter, 'a');
    server.addresses("app.test", &[origins[1].address()]);
    client.receive_to_end();
    proxy.outcome_of(&client).must_be("drain");
    assert_eq!(proxy.letters(2), "bb");
}

#[test]
fn an_origin_renamed_by_a_reload_has_not_left_dns() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let origin = LetterOrigin::new('a');
    let port = origin.address().port();
    server.addresses("old.test", &[origin.address()]);
    server.set_answer("new.test", DnsAnswer::Nothing);
    let proxy = Proxy::builder()
        .forward(&format!("old.test:{port}"))
        .origins(&format!("[{{ name: o, address: \"old.test:{port}\" }}]"))
        .on_upstream("resolve: { on_gone: drain }")
        .top("process: { drain: { idle_after: 10ms } }")
        .resolving_by(&server, &directory)
        .start();
    let (_, client) = proxy.try_letter().unwrap();
    proxy.reload(&proxy.text().replace("old.test", "new.test"));
    client.must_echo(b"while its new name has no answer");
    server.addresses("new.test", &[origin.address()]);
    eventually("it gets connections", || proxy.try_letter().is_some());
    client.must_echo(b"and afterwards");
    assert!(!proxy.log().join("\n").contains("left DNS"));
}

#[test]
fn a_connection_being_made_to_a_disabled_origin_ends_once_it_is_connected() {
    let gate = Arc::new(Mutex::new(()));
    let locked = gate.lock().unwrap();
    let origin = Origin::with_tls().behind(&gate).echo();
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .admin()
        .start();
    let client = proxy.client("a.test").connect();
    eventually("it is dialled", || origin.accepts() == 1);
    let address = origin.listen_addr().to_string();
    proxy
        .ctl(&["origin", "upstream-0", &address, "disable"])
        .must_exit_with(0);
    drop(locked);
    client.receive_to_end();
    proxy.outcome_of(&client).must_be("killed");
}

#[test]
fn a_connection_being_made_to_an_address_that_leaves_dns_is_drained_too() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let gate = Arc::new(Mutex::new(()));
    let locked = gate.lock().unwrap();
    let origin = Origin::with_tls().behind(&gate).echo();
    server.addresses("app.test", &[origin.listen_addr().tcp()]);
    let proxy = Proxy::builder()
        .reencrypt(
            "a.test",
            &format!("app.test:{}", origin.listen_addr().port()),
        )
        .on_upstream("resolve: { on_gone: drain }")
        .top("process: { drain: { idle_after: 200ms } }")
        .resolving_by(&server, &directory)
        .start();
    let client = proxy.client("a.test").connect();
    eventually("it is dialled", || origin.accepts() == 1);
    server.addresses("app.test", &["127.0.0.2:1".parse().unwrap()]);
    proxy.log_line(|line| line.contains("an origin has left DNS"));
    drop(locked);
    client.receive_to_end();
    proxy.outcome_of(&client).must_be("drain");
}

#[test]
fn origins_are_listed_with_their_state_and_settings() {
    let (a, b, proxy) = two("health: { check: tcp, interval: 100ms }");
    let _held = proxy.try_letter().unwrap();
    eventually("both were checked", || {
        origins(&proxy).iter().all(|entry| entry["check"] == "ok")
    });
    for (origin, name, connections) in [(&a, "one", 1), (&b, "other", 0)] {
        assert_eq!(value_of(&proxy, origin, "name"), name);
        assert_eq!(value_of(&proxy, origin, "state"), "up");
        assert_eq!(value_of(&proxy, origin, "connections"), connections);
        assert_eq!(value_of(&proxy, origin, "weight"), 1);
    }
    assert_eq!(value_of(&proxy, &b, "max_connections"), 9);
    proxy
        .ctl(&["origins"])
        .must_exit_with(0)
        .must_print(&b.address().to_string());
}

#[test]
fn an_origin_is_drained_disabled_weighted_and_enabled_on_request() {
    let (a, b, proxy) = two("balance: round_robin");
    let (letter, client) = proxy.try_letter().unwrap();
    assert_eq!(letter, 'a');
    let order = |words: &[&str]| {
        let all: Vec<_> = ["origin", "upstream-0"]
            .iter()
            .chain(words)
            .copied()
            .collect();
        proxy.ctl(&all)
    };
    order(&["one", "drain"]).must_exit_with(0);
    assert_eq!(value_of(&proxy, &a, "state"), "drain");
    assert_eq!(proxy.letters(3), "bbb");
    client.must_echo(b"may finish");
    // It survives a reload, because its line is unchanged.
    let text = std::fs::read_to_string(proxy.directory().join("config.yaml")).unwrap();
    proxy.reload(&format!("{text}\n"));
    assert_eq!(proxy.letters(3), "bbb");
    let usable = |origin: &str| {
        let labels = [("upstream", "upstream-0"), ("origin", origin)];
        let metrics = proxy.metrics();
        metrics.sum("reseal_origin_usable_addresses", &labels)
    };
    assert_eq!((usable("one"), usable("other")), (Some(0.0), Some(1.0)));
    order(&["one", "disable"]).must_exit_with(0);
    client.receive_to_end();
    proxy.outcome_of(&client).must_be("killed");
    assert_eq!(value_of(&proxy, &a, "state"), "disabled");
    order(&["one", "enable"]).must_exit_with(0);
    assert_eq!(usable("one"), Some(1.0));
    order(&[&b.address().to_string(), "weight", "3"]).must_exit_with(0);
    let letters = proxy.letters(8);
    assert_eq!(letters.matches('b').count(), 6, "{letters}");
    order(&["one", "drain", "3"])
        .must_exit_with(1)
        .must_print("takes no weight");
    // `enable` restores the configured weight.
    order(&["other", "enable"])
        .must_exit_with(0)
        .must_print("ADDRESS");
    assert_eq!(value_of(&proxy, &b, "weight"), 1);
    order(&["other", "weight", "3"]).must_exit_with(0);
    assert_ne!(order(&["one", "weight", "0"]).code, Some(0));
    assert_ne!(order(&["nobody", "drain"]).code, Some(0));
    // A changed line resets its state.
    let changed = text.replace("name: other,", "name: other, weight: 1, backup: false,");
    proxy.reload(&changed.replace("connections: 9", "connections: 8"));
    assert_eq!(value_of(&proxy, &b, "weight"), 1);
}

#[test]
fn a_reload_keeps_the_state_of_origins() {
    let (a, b, proxy) = two("health: { check: tcp, interval: 100ms }");
    let (_, client) = proxy.try_letter().unwrap();
    let gone = b.address();
    drop(b);
    proxy.log_line(|line| line.contains("an origin is down"));
    let text = std::fs::read_to_string(proxy.directory().join("config.yaml")).unwrap();
    proxy.reload(&text.replace("100ms", "1h"));
    assert_eq!(value_of(&proxy, &a, "connections"), 1);
    let down = origins(&proxy);
    let down = down
        .iter()
        .find(|entry| entry["address"] == gone.to_string());
    assert_eq!(down.unwrap()["state"], "down");
    assert_eq!(proxy.letters(3), "aaa");
    client.must_echo(b"still here");
    // Without checks every origin is up.
    proxy.reload(&text.replace(
        "health: { check: tcp, interval: 100ms }",
        "slow_start: none",
    ));
    assert!(origins(&proxy).iter().all(|entry| entry["state"] == "up"));
}
