//! What dry runs, `check` and `explain` tell of limits.

use super::{end, establish, forward};
use crate::harness::{ConfigCheck, Origin, Proxy, one_route, reseal};

#[test]
fn a_dry_run_admits_counts_and_records_what_it_would_refuse() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_endpoint("limits: { connections: 1, per_source: 1, new_per_source: 1/m, new: 1/m, dry_run: true }")
        .on_route("limits: { connections: 1, dry_run: true }")
        .admin()
        .start();
    let place = proxy.listen_addr("forward");
    let first = establish("127.0.0.1", place);
    let second = establish("127.0.0.1", place);
    end(&proxy, second);
    first.end();
    first.receive_to_end();
    let record = proxy.outcome_of(&first);
    assert!(!record.must_be("ok").has("dry_run"), "{record:?}");
    let refused = |endpoint_limit: &str, route: &str, dry_run: &str| {
        let labels = [
            ("endpoint", "forward"),
            ("route", route),
            ("limit", endpoint_limit),
            ("dry_run", dry_run),
        ];
        proxy
            .metrics()
            .count("reseal_admission_refused_total", &labels)
    };
    for limit in ["connections", "per_source", "new_per_source", "new"] {
        assert_eq!(
            (refused(limit, "", "true"), refused(limit, "", "false")),
            (1.0, 0.0),
            "{limit}"
        );
    }
    assert_eq!(refused("connections", "forward", "true"), 1.0);
}

#[test]
fn the_record_of_a_dry_run_names_the_reasons() {
    let origin = Origin::echo();
    let proxy = forward("per_source: 1, new: 1/m, dry_run: true", &origin);
    let place = proxy.listen_addr("forward");
    let _first = establish("127.0.0.1", place);
    let second = establish("127.0.0.1", place);
    second.end();
    second.receive_to_end();
    let record = proxy.outcome_of(&second);
    record.must_be("ok");
    assert_eq!(
        record["dry_run"],
        serde_json::json!(["limit_source", "limit_rate"])
    );
}

fn checked(endpoint: &str, route: &str) -> ConfigCheck {
    let limits = |limits: &str| format!("limits: {{ {limits} }}");
    let text = one_route(&limits(endpoint), &limits(route));
    let process = "process: { limits: { connections: 504 } }";
    ConfigCheck::new(&format!("{process}\n{text}"))
}

#[test]
fn limits_that_cannot_work_are_told() {
    checked("connections: 0", "").must_report("0 }", &["would let nothing through"]);
    checked("new: 0/s", "").must_report("0/s", &["would let nothing through"]);
    checked("new: 50", "").must_report("50 }", &["is not a rate", "write `50/s`"]);
    checked("", "handshakes: 5").must_report("handshakes", &["limited by endpoint"]);
    for (endpoint, route, about, words) in [
        (
            "connections: 10",
            "connections: 11",
            "11",
            "`connections` can never be reached: that of the endpoint is less",
        ),
        (
            "new: 1/s",
            "new: 61/m",
            "61/m",
            "`new` can never be reached",
        ),
        (
            "connections: 505",
            "",
            "505",
            "`process.limits.connections` is less",
        ),
        (
            "connections: 10, per_source: 11",
            "",
            "11",
            "`per_source` can never be reached: `connections` is less",
        ),
        (
            "",
            "new: 10/s, new_per_source: 11/s",
            "11/s",
            "`new_per_source` can never be reached",
        ),
        ("dry_run: true", "", "true", "this endpoint has no limit"),
        ("", "dry_run: true", "true", "this route has no limit"),
        (
            "per_source: 1, when_full: refuse",
            "",
            "refuse",
            "`when_full` has no effect",
        ),
        (
            "connections: 1, source_prefix: { ipv6: 56 }",
            "",
            "{ ipv6",
            "`source_prefix` has no effect",
        ),
        (
            "handshakes: 7",
            "",
            "7 }",
            "no route of this endpoint terminates TLS",
        ),
    ] {
        checked(endpoint, route).must_warn(about, &[words]);
    }
    checked(
        "connections: 500, per_source: 10, new: 1/s",
        "connections: 500, new: 60/m",
    )
    .must_be_good();
}

#[test]
fn explain_says_how_full_the_limits_of_the_running_process_are() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_endpoint(
            "limits: { connections: 2, when_full: refuse, per_source: 9, new_per_source: 9/m }",
        )
        .on_route("limits: { new: 1/m, dry_run: true }")
        .admin()
        .start();
    let config = proxy.directory().join("config.yaml");
    let config = config.display().to_string();
    let explain = || {
        let source = ["--source", "127.0.0.1"];
        let words = ["explain", "--config", &config, "--endpoint", "forward"];
        reseal(&[&words[..], &source].concat())
    };
    let place = proxy.listen_addr("forward");
    let _first = establish("127.0.0.1", place);
    explain()
        .must_exit_with(0)
        .must_print("connections 2 (1 in use), per_source 9 (1 in use), new_per_source 9/m")
        .must_print("route: new 1/m (reached: the next client is counted), dry run");
    let _second = establish("127.0.0.2", place);
    explain()
        .must_exit_with(1)
        .must_print("connections 2 (2 in use, reached: the next client is refused)")
        .must_print("refused: limit_connections");
    let shown = proxy.ctl(&["limits", "forward", "--source", "127.0.0.2"]);
    shown.must_exit_with(0).must_print("NEXT CLIENT");
    let limits = proxy.ctl_json(&[
        "limits",
        "forward",
        "--route",
        "forward",
        "--source",
        "127.0.0.2",
    ]);
    let limits = limits["limits"].as_array().unwrap();
    assert_eq!(limits.len(), 4, "{limits:?}");
    assert_eq!(
        (&limits[1]["used"], &limits[1]["next"]),
        (&1.into(), &"admitted".into())
    );
    // Without an address, what is counted by source is there all the same.
    let limits = proxy.ctl_json(&["limits", "forward"]);
    let of_source = |limit: &&serde_json::Value| limit["limit"] == "per_source";
    let of_source = limits["limits"].as_array().unwrap().iter().find(of_source);
    assert!(
        of_source.is_some_and(|limit| limit["next"].is_null()),
        "{limits}"
    );
    proxy
        .ctl(&["limits", "nowhere"])
        .must_exit_with(1)
        .must_print("no endpoint of this name");
}

#[test]
fn explain_lists_the_limits() {
    let config = checked(
        "connections: 2, new_per_source: 9/m, dry_run: true",
        "per_source: 5",
    );
    let explained = config.explain(&["--sni", "a.test"]);
    explained.must_exit_with(0);
    explained.must_print("endpoint: connections 2, new_per_source 9/m, dry run");
    explained.must_print("route: per_source 5");
}
