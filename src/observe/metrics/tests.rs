//! What a scrape shows of the counters.

use std::time::Duration;

use super::*;
use crate::observe::access_log::Traffic;
use crate::outcome::{Fault, Outcome, Reason, Stage};

fn inventory(endpoint: &str, routes: &[&str]) -> Inventory {
    Inventory {
        endpoints: vec![(
            endpoint.into(),
            routes.iter().map(|r| (*r).into()).collect(),
        )],
        ..Inventory::default()
    }
}

fn outcome(stage: Stage, reason: Reason, fault: Option<Fault>) -> Outcome {
    Outcome {
        stage,
        reason,
        fault,
        limit: None,
        detail: None,
    }
}

fn ok() -> Outcome {
    outcome(Stage::Relay, Reason::Ok, None)
}

#[test]
fn a_connection_that_began_before_a_reload_is_counted_after_it() {
    let metrics = Metrics::new(2, Vec::new(), Vec::new());
    metrics.register(&inventory("edge", &["a"]));
    let before = metrics.shard(0).endpoint("edge");
    before.begin();
    metrics.register(&inventory("edge", &["b"]));
    let after = metrics.shard(1).endpoint("edge");
    after.begin();
    before.moved(Some("a"), Traffic { up: 3, down: 4 });
    before.end(Some("a"), &ok(), Duration::ZERO);
    let idle = outcome(Stage::Relay, Reason::IdleTimeout, Some(Fault::Policy));
    after.end(Some("b"), &idle, Duration::ZERO);
    let text = metrics.render();
    for line in [
        "reseal_connections_total{endpoint=\"edge\"} 2",
        "reseal_connections_live{endpoint=\"edge\"} 0",
        "reseal_outcomes_total{endpoint=\"edge\",route=\"a\",stage=\"relay\",reason=\"ok\",fault=\"\"} 1",
        "reseal_outcomes_total{endpoint=\"edge\",route=\"b\",stage=\"relay\",\
         reason=\"idle_timeout\",fault=\"policy\"} 1",
        "reseal_bytes_total{endpoint=\"edge\",route=\"a\",direction=\"up\"} 3",
        "reseal_bytes_total{endpoint=\"edge\",route=\"a\",direction=\"down\"} 4",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
    }
}

/// The same reason in two stages, and in the relay with a loss and without one: three series.
#[test]
fn one_reason_is_counted_apart_by_its_stage_and_whether_it_was_a_fault() {
    let metrics = Metrics::new(1, Vec::new(), Vec::new());
    metrics.register(&inventory("edge", &["a"]));
    let edge = metrics.shard(0).endpoint("edge");
    let reset = |stage, fault| {
        edge.begin();
        edge.end(
            Some("a"),
            &outcome(stage, Reason::ClientReset, fault),
            Duration::ZERO,
        );
    };
    reset(Stage::Connect, Some(Fault::Client));
    reset(Stage::Relay, Some(Fault::Client));
    reset(Stage::Relay, None);
    reset(Stage::Relay, None);
    let text = metrics.render();
    for (stage, fault, count) in [
        ("connect", "client", 1),
        ("relay", "client", 1),
        ("relay", "", 2),
    ] {
        let line = format!(
            "reseal_outcomes_total{{endpoint=\"edge\",route=\"a\",stage=\"{stage}\",\
             reason=\"client_reset\",fault=\"{fault}\"}} {count}"
        );
        assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
    }
}

#[test]
fn a_name_that_the_configuration_does_not_have_makes_no_series() {
    let metrics = Metrics::new(1, Vec::new(), Vec::new());
    metrics.register(&inventory("edge", &["a"]));
    let stray = metrics.shard(0).endpoint("from the wire");
    stray.begin();
    stray.end(Some("also"), &ok(), Duration::ZERO);
    let edge = metrics.shard(0).endpoint("edge");
    edge.begin();
    edge.end(Some("unheard of"), &ok(), Duration::ZERO);
    let text = metrics.render();
    assert!(
        !text.contains("wire") && !text.contains("unheard"),
        "{text}"
    );
}
