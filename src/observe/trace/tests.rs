use std::time::Duration;

use serde_json::Value;

use super::*;

fn request(filter: TraceFilter, connections: usize) -> TraceRequest {
    TraceRequest {
        filter,
        duration: Duration::from_secs(60),
        connections,
        format: Format::Json,
    }
}

fn sni() -> TraceFilter {
    TraceFilter::Sni("a.test".to_owned())
}

/// A step, whose line says which one it is.
fn step(traces: &Traces, name: &str, step: &Step<'_>) {
    traces.step(step, |_| format!("{} {name}", step.id));
}

fn accepted<'a>(id: u64, client: &'a str) -> Step<'a> {
    Step {
        id,
        client: Some(client),
        ..Step::default()
    }
}

fn named(id: u64, sni: &str) -> Step<'_> {
    Step {
        id,
        sni: Some(sni),
        ..Step::default()
    }
}

fn end(id: u64) -> Step<'static> {
    Step {
        id,
        is_end: true,
        ..Step::default()
    }
}

/// The lines behind the first one, which says that the trace has begun.
fn lines(received: &mut mpsc::Receiver<String>) -> Vec<String> {
    let mut lines: Vec<_> = std::iter::from_fn(|| received.try_recv().ok()).collect();
    assert!(lines.remove(0).contains("trace begun"));
    lines
}

#[test]
fn a_trace_by_source_has_all_steps_of_that_source_and_no_others() {
    let traces = Traces::default();
    let source = TraceFilter::Source("192.0.2.1".parse().unwrap());
    let mut received = traces.begin(request(source, 10)).unwrap();
    step(&traces, "accepted", &accepted(1, "192.0.2.1:1000"));
    step(&traces, "accepted", &accepted(2, "192.0.2.10:1000"));
    step(&traces, "accepted", &accepted(3, "[::ffff:192.0.2.1]:1001"));
    step(&traces, "accepted", &accepted(4, "unix:uid=0"));
    for id in 1..=4 {
        step(&traces, "named", &named(id, "a.test"));
        step(&traces, "end", &end(id));
    }
    let expected = [
        "1 accepted",
        "3 accepted",
        "1 named",
        "1 end",
        "3 named",
        "3 end",
    ];
    assert_eq!(lines(&mut received), expected);
}

#[test]
fn a_trace_by_name_has_the_steps_before_the_name_was_known() {
    let traces = Traces::default();
    let mut received = traces.begin(request(sni(), 10)).unwrap();
    for id in 1..=3 {
        step(&traces, "accepted", &accepted(id, "192.0.2.1:1000"));
    }
    step(&traces, "named", &named(1, "b.test"));
    step(&traces, "named", &named(2, "a.test"));
    step(&traces, "end", &end(3));
    step(&traces, "end", &end(1));
    step(&traces, "end", &end(2));
    assert_eq!(lines(&mut received), ["2 accepted", "2 named", "2 end"]);
}

#[test]
fn a_trace_follows_as_many_connections_as_it_may_and_tells_how_many_it_has_skipped() {
    let traces = Traces::default();
    let mut asked = request(sni(), 2);
    asked.duration = Duration::ZERO;
    let mut received = traces.begin(asked).unwrap();
    for id in 1..=5 {
        step(&traces, "named", &named(id, "a.test"));
    }
    assert!(traces.is_active());
    traces.expire();
    assert!(!traces.is_active());
    let all = lines(&mut received);
    assert_eq!(all[..2], ["1 named", "2 named"]);
    let last: Value = serde_json::from_str(&all[2]).unwrap();
    assert_eq!(last["message"], "trace ended");
    assert_eq!(
        (&last["connections"], &last["skipped_connections"]),
        (&2.into(), &3.into())
    );
    assert_eq!(
        received.try_recv(),
        Err(mpsc::error::TryRecvError::Disconnected)
    );
}

#[test]
fn there_are_few_traces_at_a_time_and_one_that_nobody_watches_makes_room() {
    let traces = Traces::default();
    let mut all: Vec<_> = (0..4)
        .map(|id| traces.begin(request(TraceFilter::Id(id), 1)))
        .collect();
    assert!(all.iter().all(Option::is_some));
    assert!(traces.begin(request(TraceFilter::Id(9), 1)).is_none());
    all.pop();
    assert!(traces.begin(request(TraceFilter::Id(9), 1)).is_some());
    drop(all);
    traces.expire();
    assert!(!traces.is_active());
}

#[test]
fn lines_that_nobody_reads_are_counted_and_hold_nobody_up() {
    let traces = Traces::default();
    let mut asked = request(TraceFilter::Id(1), 1);
    asked.duration = Duration::ZERO;
    let mut received = traces.begin(asked).unwrap();
    // One is that of the beginning.
    for _ in 0..QUEUE - 1 + 7 {
        step(&traces, "step", &named(1, "a.test"));
    }
    let _room = received.try_recv().unwrap();
    traces.expire();
    let last = std::iter::from_fn(|| received.try_recv().ok())
        .last()
        .unwrap();
    assert!(last.contains("\"lost_lines\":7"), "{last}");
}
