//! Ends connections: by id, and by the conditions of the list.

use serde_json::json;

use super::{client_named, established, id_of, matched, post, proxy, refusal};
use crate::harness::{End, Origin, Stream};

#[test]
fn one_is_ended_by_its_id_as_before() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let (one, other) = (established(&proxy.client("a.test")), proxy.dial("forward"));
    other.must_echo(b"x");
    let id = id_of(&proxy, &one);
    let answer = post(&proxy, "/kill", &json!({ "id": id }));
    assert_eq!(
        (&answer["killed"], &answer["count"]),
        (&json!(id), &json!(1))
    );
    assert_eq!(one.receive_to_end().1, End::Reset);
    proxy.outcome_of(&one).must_be("killed");
    other.must_echo(b"stays");
    // By ctl, nobody is asked, as it names one.
    let id = id_of(&proxy, &other);
    proxy.ctl(&["kill", &id]).must_exit_with(0).must_print(&id);
    proxy.outcome_of(&other).must_be("killed");
}

#[test]
fn all_that_match_are_ended_and_the_others_stay() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let alice: Vec<_> = (0..3)
        .map(|_| established(&client_named(&proxy, "alice", 7)))
        .collect();
    let bob = established(&client_named(&proxy, "bob", 8));
    let answer = post(
        &proxy,
        "/kill",
        &json!({ "certificate": "alice", "route": "web" }),
    );
    assert_eq!(answer["count"], 3);
    assert_eq!(answer["ids"].as_array().map(Vec::len), Some(3));
    for stream in &alice {
        proxy.outcome_of(stream).must_be("killed");
    }
    bob.must_echo(b"stays");
    assert_eq!(matched(&proxy, &json!({ "certificate": "bob" })), 1);
}

#[test]
fn a_connection_that_is_not_established_yet_is_ended_too() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let waiting = || {
        let stream = proxy.dial("edge");
        let hello = crate::harness::ForgedHello::new(b"a.test").bytes();
        stream.write_raw(&hello).unwrap();
        let client = stream.local().to_string();
        let is_waiting = || {
            let rows = super::rows(&proxy, &json!({ "stage": "client_tls" }));
            rows.iter().any(|row| row["client"] == client)
        };
        crate::harness::eventually("it waits", is_waiting);
        stream
    };
    let (by_id, by_stage): (Stream, Stream) = (waiting(), waiting());
    let id = id_of(&proxy, &by_id);
    post(&proxy, "/kill", &json!({ "id": id }));
    proxy
        .outcome_of(&by_id)
        .must_be("killed")
        .must_have("stage", "client_tls");
    let answer = post(&proxy, "/kill", &json!({ "stage": "setup" }));
    assert_eq!(answer["count"], 1);
    proxy.outcome_of(&by_stage).must_be("killed");
    assert_eq!(matched(&proxy, &json!({})), 0);
}

#[test]
fn nothing_that_matches_and_no_condition_are_errors() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let stays = established(&proxy.client("a.test"));
    let (status, error) = refusal(&proxy, "/kill", &json!({ "sni": "nobody.test" }));
    assert_eq!((status, &*error), (404, "no live connection matches"));
    let (status, error) = refusal(&proxy, "/kill", &json!({ "id": "1" }));
    assert_eq!(status, 404);
    assert!(error.contains("there is no live connection"), "{error}");
    for nothing in [json!({}), json!({ "id": null })] {
        assert_eq!(refusal(&proxy, "/kill", &nothing).0, 400, "{nothing}");
    }
    proxy
        .ctl(&["kill", "--sni", "nobody.test", "--yes"])
        .must_exit_with(1)
        .must_print("no live connection matches");
    proxy
        .ctl(&["kill"])
        .must_exit_with(2)
        .must_print("which connections?");
    proxy.ctl(&["kill", "--yes"]).must_exit_with(2);
    stays.must_echo(b"stays");
}

#[test]
fn with_conditions_yes_is_needed_where_nobody_can_be_asked() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let stream = established(&proxy.client("a.test"));
    proxy
        .ctl(&["kill", "--sni", "a.test"])
        .must_exit_with(2)
        .must_print("--yes");
    stream.must_echo(b"stays");
    proxy
        .ctl(&["kill", "--sni", "a.test", "--yes"])
        .must_exit_with(0)
        .must_print("1 connections ended");
    proxy.outcome_of(&stream).must_be("killed");
}
