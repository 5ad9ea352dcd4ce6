//! Counters and rates at a prompt.

use serde_json::{Value, json};

use super::{established, post, proxy};
use crate::harness::{Origin, Proxy};

fn row<'a>(answer: &'a Value, list: &str, key: &str, value: &str) -> &'a Value {
    let rows = answer[list].as_array().unwrap();
    let found = rows.iter().find(|row| row[key] == value);
    found.unwrap_or_else(|| panic!("no {value} in {answer}"))
}

#[test]
fn counters_are_told_by_endpoint_route_origin_and_reason() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let live = established(&proxy.client("a.test"));
    let ended = established(&proxy.client("b.test"));
    ended.end();
    ended.receive_to_end();
    proxy.outcome_of(&ended).must_be("ok");
    proxy.client("unknown.test").refusal();
    proxy.outcome().must_be("unknown_sni");
    proxy.metrics_count_of_live(1);
    let stats = proxy.admin("/stats", &[]).must_be(200).json();
    let edge = row(&stats, "endpoints", "endpoint", "edge");
    for (key, value) in [
        ("connections", 3),
        ("live", 1),
        ("handshakes", 2),
        ("failures", 1),
        ("bytes_up", 2),
        ("bytes_down", 2),
    ] {
        assert_eq!(edge[key], value, "{key} of {edge}");
    }
    assert_eq!(stats["totals"]["connections"], 3);
    let web = row(&stats, "routes", "route", "web");
    assert_eq!((&web["live"], &web["ended"]), (&json!(1), &json!(0)));
    let other = row(&stats, "routes", "route", "other");
    assert_eq!((&other["live"], &other["ended"]), (&json!(0), &json!(1)));
    let address = origin.listen_addr().to_string();
    let used = stats["origins"].as_array().unwrap();
    let used = used.iter().filter(|row| row["origin"] == address);
    let established: u64 = used.map(|row| row["established"].as_u64().unwrap()).sum();
    assert_eq!(established, 2);
    let reason = row(&stats, "reasons", "reason", "unknown_sni");
    assert_eq!(
        (&reason["count"], &reason["fault"]),
        (&json!(1), &json!("client"))
    );
    assert!(reason["meaning"].as_str().unwrap().contains("No route"));
    live.must_echo(b"still there");
}

impl Proxy {
    /// Waits until so many connections are live: one is counted just before its record is written.
    fn metrics_count_of_live(&self, count: u64) {
        crate::harness::eventually("the ends are counted", || {
            let stats = self.admin("/stats", &[]).must_be(200).json();
            stats["totals"]["live"] == count
        });
    }
}

#[test]
fn rates_are_told_after_a_second() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let _live = established(&proxy.client("a.test"));
    let stats = post(&proxy, "/stats", &json!({ "rates": true }));
    assert!(stats["rate_seconds"].as_f64() >= Some(0.9), "{stats}");
    let edge = row(&stats, "endpoints", "endpoint", "edge");
    assert_eq!(edge["connections_per_second"], 0.0);
    assert_eq!(edge["bytes_up_per_second"], 0.0);
    let printed = proxy.ctl(&["stats"]);
    printed
        .must_exit_with(0)
        .must_print("ENDPOINT")
        .must_print("NEW/S")
        .must_print("REASON");
    let quick = proxy.ctl_json(&["stats", "--no-rates"]);
    assert_eq!(quick["totals"]["live"], 1);
}
