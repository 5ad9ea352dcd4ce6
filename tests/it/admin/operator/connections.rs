//! The list of live connections: its rows, filters, order and totals.

use serde_json::{Value, json};

use super::{client_named, established, matched, post, proxy, refusal, rows};
use crate::harness::{Leaf, Origin, Proxy, Stream, blackhole, eventually, pki};

fn row_of(proxy: &Proxy, stream: &Stream) -> Value {
    let client = stream.local().to_string();
    let rows = rows(proxy, &json!({}));
    let row = rows.into_iter().find(|row| row["client"] == client);
    row.unwrap_or_else(|| panic!("{client} is not listed"))
}

#[test]
fn an_established_connection_is_told_with_everything_that_is_known_of_it() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let stream = client_named(&proxy, "alice", 0x4faf).connect();
    stream.must_echo(b"twelve bytes");
    let row = row_of(&proxy, &stream);
    for (key, value) in [
        ("stage", "relay"),
        ("endpoint", "edge"),
        ("sni", "a.test"),
        ("route", "web"),
        ("mode", "terminate"),
        ("client_cert", "CN=alice"),
        ("client_cert_serial", "4faf"),
        ("tls_version", "TLSv1.3"),
    ] {
        assert_eq!(row[key], value, "{key} of {row}");
    }
    assert_eq!(row["origin"], origin.listen_addr().to_string());
    assert_eq!(row["bytes_up"], 12);
    assert_eq!(row["bytes_down"], 12);
    for key in ["seconds", "idle_seconds", "generation"] {
        assert!(row[key].is_u64(), "{key} of {row}");
    }
    assert_eq!(row["id"].as_str().map(str::len), Some(16));
}

/// Those that hang before the relay are what an operator looks for in an incident.
#[test]
fn connections_before_their_relay_are_listed_with_their_stage() {
    let origin = Origin::echo();
    let (silent, _full) = blackhole();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .passthrough("b.test", &silent)
        .named("silent")
        .on_route("timeouts: { origin: 60s }")
        .on_upstream("connect: { timeout: 60s }")
        .admin()
        .start();
    let hello = proxy.dial("edge");
    let stage = |stream: &Stream| row_of(&proxy, stream)["stage"].clone();
    eventually("it waits for the hello", || {
        matched(&proxy, &json!({})) == 1 && stage(&hello) == "hello"
    });
    let row = row_of(&proxy, &hello);
    for key in ["id", "client", "stage", "sni", "route"] {
        assert!(row.get(key).is_some(), "{key} of {row}");
    }
    assert_eq!((&row["sni"], &row["route"]), (&Value::Null, &Value::Null));
    let connecting = proxy.dial("edge");
    let bytes = crate::harness::ForgedHello::new(b"b.test").bytes();
    connecting.write_raw(&bytes).unwrap();
    eventually("it waits for the origin", || {
        matched(&proxy, &json!({ "stage": "connect" })) == 1
    });
    let row = row_of(&proxy, &connecting);
    assert_eq!(
        (&row["sni"], &row["route"]),
        (&json!("b.test"), &json!("silent"))
    );
    assert_eq!(row["origin"], silent.to_string());
    assert_eq!(matched(&proxy, &json!({ "stage": "setup" })), 2);
    assert_eq!(matched(&proxy, &json!({ "stage": "relay" })), 0);
    let relayed = established(&proxy.client("a.test"));
    assert_eq!(matched(&proxy, &json!({ "stage": "setup" })), 2);
    assert_eq!(matched(&proxy, &json!({ "stage": "relay" })), 1);
    connecting.reset();
    drop((hello, relayed));
    eventually("all are gone", || matched(&proxy, &json!({})) == 0);
}

#[test]
fn a_handshake_that_hangs_is_in_the_stage_of_the_client_s_tls() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let client = proxy.dial("edge");
    let bytes = crate::harness::ForgedHello::new(b"a.test").bytes();
    client.write_raw(&bytes).unwrap();
    eventually("it waits for the client", || {
        matched(
            &proxy,
            &json!({ "stage": "client_tls", "sni": "a.test", "route": "web" }),
        ) == 1
    });
}

#[test]
fn each_condition_selects_and_all_have_to_hold() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let alice = established(&client_named(&proxy, "alice", 0x0a0b));
    let _bob = established(&client_named(&proxy, "bob", 0x0c));
    let _other = established(&proxy.client("b.test"));
    let plain = proxy.dial("forward");
    plain.must_echo(b"x");
    let origin = origin.listen_addr().to_string();
    for (condition, count) in [
        (json!({}), 4),
        (json!({ "endpoint": "edge" }), 3),
        (json!({ "route": "web" }), 2),
        (json!({ "route": "edge/web" }), 2),
        (json!({ "route": "forward/web" }), 0),
        (json!({ "origin": origin }), 4),
        (json!({ "origin": "127.0.0.1:1" }), 0),
        (json!({ "source": "127.0.0.0/8" }), 4),
        (json!({ "source": "127.0.0.1" }), 4),
        (json!({ "source": "::/0" }), 0),
        (json!({ "sni": "A.test" }), 2),
        (json!({ "sni": "*.test" }), 3),
        (json!({ "certificate": "alice" }), 1),
        (json!({ "certificate": "CN=bob" }), 1),
        (json!({ "certificate": "carol" }), 0),
        (json!({ "serial": "0a:0B" }), 1),
        (json!({ "serial": "0c" }), 1),
        (json!({ "older_than": 3600 }), 0),
        (json!({ "older_than": 0 }), 4),
        (json!({ "idle_for": 3600 }), 0),
        (json!({ "route": "web", "certificate": "bob" }), 1),
        (json!({ "route": "other", "certificate": "bob" }), 0),
        (json!({ "id": super::id_of(&proxy, &alice) }), 1),
    ] {
        assert_eq!(matched(&proxy, &condition), count, "{condition}");
    }
    let unknown = refusal(&proxy, "/connections", &json!({ "clinet": "x" }));
    assert_eq!(unknown.0, 400);
    for wrong in [
        json!({ "stage": "relays" }),
        json!({ "source": "10.0.0.0/99" }),
        json!({ "serial": "xyz" }),
        json!({ "sort": "colour" }),
        json!({ "totals": "bytes" }),
    ] {
        let (status, error) = refusal(&proxy, "/connections", &wrong);
        assert_eq!(status, 400, "{wrong}: {error}");
    }
}

#[test]
fn they_are_sorted_grouped_and_limited() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let streams: Vec<_> = [1000, 3000, 2000]
        .into_iter()
        .map(|size| {
            let stream = proxy.client("a.test").connect();
            stream.must_echo(vec![7; size]);
            stream
        })
        .collect();
    let _plain = {
        let plain = proxy.dial("forward");
        plain.must_echo(b"x");
        plain
    };
    let sizes = |query: Value| -> Vec<u64> {
        let rows = rows(&proxy, &query);
        rows.iter()
            .map(|row| row["bytes_up"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(sizes(json!({ "sort": "bytes" })), [3000, 2000, 1000, 1]);
    assert_eq!(sizes(json!({ "sort": "id" })), [1000, 3000, 2000, 1]);
    assert_eq!(
        sizes(json!({ "sort": "up", "reverse": true, "limit": 2 })),
        [1, 1000]
    );
    let limited = post(&proxy, "/connections", &json!({ "limit": 1 }));
    assert_eq!(limited["matched"], 4);
    assert_eq!(limited["connections"].as_array().map(Vec::len), Some(1));
    let totals = |key: &str| {
        let answer = post(&proxy, "/connections", &json!({ "totals": key }));
        let totals = answer["totals"].as_array().unwrap().clone();
        let of = |total: &Value| {
            (
                total["value"].clone(),
                total["connections"].as_u64().unwrap(),
            )
        };
        totals.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(
        totals("route"),
        [(json!("edge/web"), 3), (json!("forward/forward"), 1)]
    );
    assert_eq!(totals("source"), [(json!("127.0.0.1"), 4)]);
    assert_eq!(totals("sni"), [(json!("a.test"), 3), (Value::Null, 1)]);
    assert_eq!(totals("stage"), [(json!("relay"), 4)]);
    let bytes = post(&proxy, "/connections", &json!({ "totals": "endpoint" }));
    assert_eq!(bytes["totals"][0]["bytes_up"], 6000);
    drop(streams);
}

#[test]
fn rates_are_bytes_per_second_between_two_looks() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let stream = established(&proxy.client("a.test"));
    let first = post(&proxy, "/connections", &json!({}));
    assert!(first["connections"][0].get("rate_up").is_none(), "{first}");
    let answer = post(&proxy, "/connections", &json!({ "rates": true }));
    let row = &answer["connections"][0];
    assert_eq!((&row["rate_up"], &row["rate_down"]), (&json!(0), &json!(0)));
    assert!(answer["rate_seconds"].as_f64() >= Some(0.9), "{answer}");
    stream.must_echo(vec![7; 100_000]);
    // There is a look already, so this one is answered at once, and again once the look is old enough.
    eventually("the rate shows", || {
        let answer = post(&proxy, "/connections", &json!({ "sort": "rate" }));
        answer["connections"][0]["rate_down"].as_u64() > Some(0)
    });
}

/// A name is shown as it is written in RFC 4514, and what is shown is what the filter takes.
#[test]
fn a_name_with_a_comma_is_shown_with_one_backslash_and_found_by_what_is_shown() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let jane = Leaf::client("jane").common_name("Doe, Jane");
    let jane = pki().clients.issue(&jane);
    let stream = established(&proxy.client("a.test").certificate(&jane));
    let shown = r"CN=Doe\, Jane";
    assert_eq!(row_of(&proxy, &stream)["client_cert"], shown);
    for (name, count) in [(shown, 1), ("Doe, Jane", 1), ("Doe", 0), ("Jane", 0)] {
        let condition = json!({ "certificate": name });
        assert_eq!(matched(&proxy, &condition), count, "{name}");
    }
    let totals = post(&proxy, "/connections", &json!({ "totals": "certificate" }));
    assert_eq!(totals["totals"][0]["value"], shown);
    for command in [
        &["connections"][..],
        &["connections", "--totals", "certificate"],
    ] {
        proxy.ctl(command).must_exit_with(0).must_print(shown);
    }
    stream.end();
    stream.receive_to_end();
    let record = proxy.outcome_of(&stream);
    assert_eq!(record["client_cert"]["subject"], shown);
    // Where it is refused, the failures have it, too.
    let stranger = Leaf::client("jane").common_name("Doe, Jane");
    let stranger = pki().stranger.issue(&stranger);
    proxy.client("a.test").certificate(&stranger).refusal();
    proxy.outcome();
    let failures = post(&proxy, "/failures", &json!({}));
    assert_eq!(failures["failures"][0]["client_cert"], shown);
}

/// Escapes of a server name must not reach a terminal, nor a script's parser.
#[test]
fn hostile_server_names_are_escaped() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .passthrough("a.test", &origin)
        .admin()
        .start();
    let client = proxy.dial("edge");
    let bytes = crate::harness::ForgedHello::new(b"\x1b[31mevil\n.test").bytes();
    client.write_raw(&bytes).unwrap();
    client.receive_to_end();
    proxy.outcome_of(&client);
    let printed = proxy.ctl(&["failures"]);
    printed.must_exit_with(0);
    assert!(!printed.stdout.contains('\x1b'), "{}", printed.stdout);
}

#[test]
fn ctl_has_a_flag_for_each_condition() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let _alice = established(&client_named(&proxy, "alice", 0x0a0b));
    let plain = proxy.dial("forward");
    plain.must_echo(b"x");
    let count = |flags: &[&str]| {
        let listed = proxy.ctl_json(&[&["connections"], flags].concat());
        listed["connections"].as_array().unwrap().len()
    };
    let address = origin.listen_addr().to_string();
    for (flags, expected) in [
        (&[][..], 2),
        (&["--endpoint", "edge"], 1),
        (&["--route", "web"], 1),
        (&["--origin", &address], 2),
        (&["--source", "127.0.0.0/8"], 2),
        (&["--sni", "a.test"], 1),
        (&["--certificate", "alice"], 1),
        (&["--serial", "a0b"], 1),
        (&["--older-than", "1h"], 0),
        (&["--idle-for", "7d"], 0),
        (&["--stage", "relay"], 2),
        (&["--stage", "setup"], 0),
        (&["--limit", "1", "--sort", "bytes", "--reverse"], 1),
    ] {
        assert_eq!(count(flags), expected, "{flags:?}");
    }
    proxy
        .ctl(&["connections", "--totals", "route"])
        .must_exit_with(0)
        .must_print("edge/web");
    proxy
        .ctl(&["connections", "--limit", "1"])
        .must_print("and 1 more: --limit shows them");
    proxy
        .ctl(&["connections", "--older-than", "soon"])
        .must_exit_with(2)
        .must_print("such as 10m");
}
