//! Endpoints that an operator drains and takes back.

use serde_json::{Value, json};

use super::{post, refusal};
use crate::harness::{ListenAddr, Origin, Proxy, Stream, eventually};

fn proxy(origin: &Origin) -> Proxy {
    Proxy::builder()
        .terminate("a.test", origin)
        .forward(origin)
        .top("process: { drain: { removed: 60s, idle_after: 60s } }")
        .admin()
        .start()
}

fn state_of(proxy: &Proxy, name: &str) -> Value {
    let status = proxy.ctl_json(&["status"]);
    let endpoints = status["endpoints"].as_array().unwrap();
    let found = endpoints
        .iter()
        .find(|endpoint| endpoint["endpoint"] == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {status}"))
        .clone()
}

#[test]
fn undrain_opens_the_endpoint_again_and_its_connections_stay() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let live = proxy.dial("forward");
    live.must_echo(b"x");
    let listening = state_of(&proxy, "forward");
    assert_eq!(listening["state"], "listening");
    assert_eq!(listening["connections"], 1);
    assert_eq!(listening["routes"], json!(["forward"]));
    proxy
        .ctl(&["drain", "--endpoint", "forward"])
        .must_exit_with(0);
    let drained = state_of(&proxy, "forward");
    assert_eq!(
        (&drained["state"], &drained["addresses"]),
        (&json!("drained"), &json!([]))
    );
    assert_eq!(proxy.ctl_json(&["status"])["connections_leaving"], 1);
    // Another endpoint serves, so the process is ready and names the one that does not.
    let ready = proxy.admin("/readyz", &[]);
    assert!(
        ready.must_be(200).body.contains("forward"),
        "{}",
        ready.body
    );
    eventually("the address is closed", || {
        std::net::TcpStream::connect(proxy.listen_addr("forward").tcp()).is_err()
    });
    proxy
        .ctl(&["undrain", "--endpoint", "forward"])
        .must_exit_with(0)
        .must_print("undrained: forward");
    let open = state_of(&proxy, "forward");
    assert_eq!(open["state"], "listening");
    let status = proxy.ctl_json(&["status"]);
    assert!(status.get("drained_endpoints").is_none(), "{status}");
    assert!(status.get("connections_leaving").is_none(), "{status}");
    let ready = proxy.admin("/readyz", &[]);
    assert!(
        !ready.must_be(200).body.contains("drained"),
        "{}",
        ready.body
    );
    live.must_echo(b"stays");
    let address = ListenAddr::parse(open["addresses"][0].as_str().unwrap());
    Stream::dial(&address)
        .unwrap()
        .must_echo(b"new clients are served");
}

#[test]
fn with_its_only_endpoint_drained_the_process_is_not_ready_until_it_is_undrained() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    post(&proxy, "/drain", &json!({ "endpoint": "forward" }));
    proxy.admin("/readyz", &[]).must_be(503);
    proxy.probe("/readyz").must_be(503);
    post(&proxy, "/undrain", &json!({ "endpoint": "forward" }));
    proxy.admin("/readyz", &[]).must_be(200);
}

#[test]
fn undrain_refuses_what_is_not_drained() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let undrain = |name: &str| refusal(&proxy, "/undrain", &json!({ "endpoint": name }));
    assert_eq!(undrain("forward").0, 409);
    assert_eq!(undrain("nowhere").0, 404);
    assert_eq!(refusal(&proxy, "/undrain", &json!({})).0, 400);
    proxy
        .ctl(&["undrain", "--endpoint", "forward"])
        .must_exit_with(1)
        .must_print("is not drained");
}

/// An operator who forgets the name does not stop the process.
#[test]
fn a_drain_without_an_endpoint_is_refused_and_names_stop() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    for nothing in [json!({}), json!({ "endpoint": null })] {
        let (status, error) = refusal(&proxy, "/drain", &nothing);
        assert_eq!(status, 400);
        assert!(error.contains("stop"), "{error}");
    }
    for flags in [&["drain"][..], &["drain", "--all"]] {
        let refused = proxy.ctl(flags);
        refused.must_exit_with(2).must_print("reseal ctl stop");
    }
    assert_eq!(proxy.ctl_json(&["status"])["phase"], "serving");
}

#[test]
fn a_connection_whose_route_has_left_drains_on_after_undrain() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .terminate("b.test", &origin)
        .top("process: { drain: { removed: 60s, idle_after: 60s } }")
        .admin()
        .start();
    let (stays, leaves) = (
        proxy.client("a.test").connect(),
        proxy.client("b.test").connect(),
    );
    for stream in [&stays, &leaves] {
        stream.must_echo(b"x");
    }
    let text = proxy.text();
    let (before, route) = text.split_once("      - name: b.test").expect("the route");
    let rest = route.find("upstreams:").expect("the upstreams");
    let without = format!("{before}{}", &route[rest..]);
    proxy.reload(&without);
    let leaving = || {
        let rows = super::rows(&proxy, &json!({ "sort": "sni" }));
        let is_leaving = |row: &Value| row.get("leaving").is_some();
        rows.iter().map(is_leaving).collect::<Vec<_>>()
    };
    eventually("the route's connection drains", || {
        leaving() == [false, true]
    });
    proxy
        .ctl(&["drain", "--endpoint", "edge"])
        .must_exit_with(0);
    assert_eq!(leaving(), [true, true]);
    proxy
        .ctl(&["undrain", "--endpoint", "edge"])
        .must_exit_with(0);
    eventually("it drains again, and the other does not", || {
        leaving() == [false, true]
    });
}
