//! The latest failures, each with what it means and what to do.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use super::{client_named, established, post, proxy, refusal};
use crate::harness::{Origin, Proxy, at_once, dead_address, eventually};

fn failures(proxy: &Proxy, query: &Value) -> Vec<Value> {
    let answer = post(proxy, "/failures", query);
    answer["failures"].as_array().unwrap().clone()
}

#[test]
fn a_failure_is_told_with_its_meaning_and_what_to_do() {
    let (dead, _port) = dead_address();
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .forward(&dead)
        .admin()
        .start();
    let stream = proxy.dial("forward");
    stream.receive_to_end();
    let record = proxy.outcome_of(&stream);
    let listed = proxy.admin("/failures", &[]).must_be(200).json();
    let failure = &listed["failures"][0];
    assert_eq!(failure["id"], record["id"]);
    assert_eq!(failure["client"], stream.local().to_string());
    for (key, value) in [
        ("reason", "origin_refused"),
        ("fault", "origin"),
        ("stage", "connect"),
        ("endpoint", "forward"),
        ("route", "forward"),
        ("meaning", "The origin refused the connection."),
        ("detail", record.text("detail")),
    ] {
        assert_eq!(failure[key], value, "{key} of {failure}");
    }
    assert_eq!(failure["origin"], dead.to_string());
    let remedy = failure["remedy"].as_str().unwrap();
    assert!(remedy.contains("Nothing listens there"), "{remedy}");
    assert!(failure["time"].as_str().unwrap().ends_with('Z'));
    let reason = &listed["reasons"][0];
    assert_eq!(
        (&reason["reason"], &reason["count"]),
        (&json!("origin_refused"), &json!(1))
    );
    proxy
        .ctl(&["failures"])
        .must_exit_with(0)
        .must_print("origin_refused (1): The origin refused the connection.")
        .must_print("Nothing listens there");
}

/// `not_tls` says what came instead, in the record, in the list and in the log.
#[test]
fn what_came_instead_of_tls_is_told_in_the_record_the_list_and_the_log() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .admin()
        .start();
    proxy.ctl(&["log-level", "debug"]).must_exit_with(0);
    let stream = proxy.dial("edge");
    stream.write_raw(b"\0\0\0\x08\x04\xd2\x16\x2f").unwrap();
    stream.receive_to_end();
    let record = proxy.outcome_of(&stream);
    let words = "`negotiate: postgres`";
    assert!(
        record.must_be("not_tls").text("detail").contains(words),
        "{record:?}"
    );
    let failure = &failures(&proxy, &json!({ "reason": "not_tls" }))[0];
    assert_eq!(failure["detail"], record["detail"]);
    let line = proxy.log_line(|line| line.contains("\"message\":\"ended\""));
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["detail"], record["detail"]);
    assert_eq!(line["meaning"], failure["meaning"]);
}

#[test]
fn the_text_form_of_the_access_log_says_what_the_reason_means() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .top("access_log: { format: text }")
        .admin()
        .start();
    let stream = proxy.dial("edge");
    stream.write_raw(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    stream.receive_to_end();
    eventually("it is written", || {
        let lines = proxy.records_left();
        let is_it = |line: &String| line.contains("meaning=\"The first bytes are not TLS.\"");
        lines.iter().any(is_it)
    });
}

#[test]
fn they_are_selected_by_reason_route_source_and_name() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    for sni in ["x.test", "y.test"] {
        let refused = proxy.client(sni);
        refused.refusal();
        proxy.outcome().must_be("unknown_sni");
    }
    let stream = proxy.dial("edge");
    stream.write_raw(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    stream.receive_to_end();
    proxy.outcome_of(&stream).must_be("not_tls");
    for (query, count) in [
        (json!({}), 3),
        (json!({ "reason": "unknown_sni" }), 2),
        (json!({ "sni": "x.test" }), 1),
        (json!({ "sni": "*.test" }), 2),
        (json!({ "endpoint": "forward" }), 0),
        (json!({ "source": "127.0.0.1" }), 3),
        (json!({ "source": "10.0.0.0/8" }), 0),
        (json!({ "limit": 1 }), 1),
    ] {
        assert_eq!(failures(&proxy, &query).len(), count, "{query}");
    }
    assert_eq!(
        failures(&proxy, &json!({}))[0]["reason"],
        "not_tls",
        "the latest is first"
    );
    let (status, error) = refusal(&proxy, "/failures", &json!({ "reason": "nonsense" }));
    assert_eq!(status, 404, "{error}");
    proxy
        .ctl(&["failures", "--reason", "unknown_sni", "--limit", "1"])
        .must_exit_with(0)
        .must_print("and 1 more: --limit shows them");
}

#[test]
fn good_ends_and_what_the_operator_did_are_no_failures() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let good = established(&proxy.client("a.test"));
    good.end();
    good.receive_to_end();
    proxy.outcome_of(&good).must_be("ok");
    let killed = established(&client_named(&proxy, "alice", 1));
    post(&proxy, "/kill", &json!({ "sni": "a.test" }));
    proxy.outcome_of(&killed).must_be("killed");
    assert_eq!(failures(&proxy, &json!({})), [] as [Value; 0]);
    proxy
        .ctl(&["failures"])
        .must_exit_with(0)
        .must_print("no failures");
}

#[test]
fn at_least_a_thousand_are_kept_and_a_flood_leaves_the_rare_one() {
    const FLOOD: usize = 3000;
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .top("access_log: { output: none }")
        .admin()
        .start();
    proxy.client("unknown.test").refusal();
    let rare = json!({ "reason": "unknown_sni" });
    eventually("the rare one is kept", || {
        failures(&proxy, &rare).len() == 1
    });
    let place = proxy.listen_addr("edge").tcp();
    at_once(0..8, |_| {
        for _ in 0..FLOOD / 8 {
            let mut stream = TcpStream::connect(place).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    let flood = json!({ "reason": "not_tls" });
    eventually("a thousand are kept", || {
        failures(&proxy, &flood).len() == 1000
    });
    let all = post(&proxy, "/failures", &json!({ "limit": 100_000 }));
    let kept = all["failures"].as_array().unwrap().len();
    assert!(kept >= 1000, "{kept}");
    assert_eq!(failures(&proxy, &rare).len(), 1);
}
