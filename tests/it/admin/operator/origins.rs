//! The past of origins: since when they are as they are, how often they flapped, and why.

use serde_json::Value;

use crate::harness::{Origin, Port, Proxy, Stream, eventually};

fn origin_of(proxy: &Proxy, name: &str) -> Value {
    let listed = proxy.ctl_json(&["origins"]);
    let origins = listed["origins"].as_array().unwrap();
    let found = origins.iter().find(|origin| origin["name"] == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {listed}"))
        .clone()
}

#[test]
fn an_origin_tells_since_when_it_is_up_and_how_often_it_flapped() {
    let port = Port::reserve();
    let proxy = Proxy::builder()
        .forward(&"unused")
        .origins(&format!(
            "[{{ name: one, address: \"{}\" }}]",
            port.address()
        ))
        .on_upstream("health: { check: tcp, interval: 50ms, rise: 1, fall: 1 }")
        .admin()
        .start();
    let is = |state: &str| {
        eventually(state, || origin_of(&proxy, "one")["state"] == state);
        origin_of(&proxy, "one")
    };
    let down = is("down");
    assert_eq!(down["flaps"], 1);
    let since = down["since"].as_str().unwrap().to_owned();
    // While nothing changes, nothing moves.
    assert_eq!(origin_of(&proxy, "one")["since"], *since);
    let listener = std::net::TcpListener::bind(port.address()).unwrap();
    let up = is("up");
    assert!(up["since"].as_str() > Some(&since), "{up}");
    assert_eq!(up["flaps"], 1);
    drop(listener);
    let down = is("down");
    assert_eq!(down["flaps"], 2);
    let checks = down["checks"].as_array().unwrap();
    assert!(checks.len() > 1 && checks.len() <= 16, "{down}");
    assert_eq!(checks[0]["result"], down["check"], "the latest is first");
    assert!(checks.iter().all(|check| check["time"].is_string()));
    proxy
        .ctl(&["origins", "--history"])
        .must_exit_with(0)
        .must_print("SINCE")
        .must_print("FLAPS")
        .must_print("check: ");
}

#[test]
fn the_latest_failures_of_connections_to_an_origin_are_told() {
    let (dead, _port) = crate::harness::dead_address();
    let proxy = Proxy::builder().forward(&dead).admin().start();
    let failing = || {
        let stream: Stream = proxy.dial("forward");
        stream.receive_to_end();
        proxy.outcome_of(&stream).must_be("origin_refused");
    };
    assert_eq!(
        proxy.ctl_json(&["origins"])["origins"][0]["failures"],
        Value::Array(vec![])
    );
    failing();
    let origin = &proxy.ctl_json(&["origins"])["origins"][0];
    let failure = &origin["failures"][0];
    assert_eq!(failure["reason"], "origin_refused");
    assert!(
        failure["detail"]
            .as_str()
            .unwrap()
            .contains(&dead.to_string())
    );
    assert!(failure["count"].as_u64() >= Some(1));
    assert!(failure["time"].is_string());
    proxy
        .ctl(&["origins"])
        .must_print("LAST FAILURE")
        .must_print("origin_refused");
}

#[test]
fn what_an_operator_changes_is_a_change_of_state_but_no_flap() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let name = origin.listen_addr().to_string();
    let before = origin_of(&proxy, &name);
    assert!(before["since"].is_string(), "{before}");
    proxy
        .ctl(&["origin", "upstream-0", &name, "drain"])
        .must_exit_with(0);
    let after = origin_of(&proxy, &name);
    assert_eq!(after["state"], "drain");
    assert!(after["since"].as_str() >= before["since"].as_str());
    assert_eq!(after["flaps"], 0);
}
