//! An hour of an operator at night: what docs/how-to/night.md does, seen by the clients.

use std::net::TcpListener;

use serde_json::{Value, json};

use super::{established, id_of, matched, post};
use crate::harness::{Identity, Leaf, Origin, Port, Proxy, ProxyBuilder, Stream, eventually, pki};

/// A proxy that rereads files soon.
fn draft() -> ProxyBuilder {
    Proxy::builder()
        .top("process: { reload: { debounce: 50ms } }")
        .admin()
}

fn origins(proxy: &Proxy) -> Vec<Value> {
    let answer = proxy.ctl_json(&["origins"]);
    answer["origins"].as_array().unwrap().clone()
}

/// An origin comes and goes until the operator takes it out; then no client meets it, and its checks go on.
#[test]
fn an_origin_that_flaps_is_found_and_taken_out() {
    let good = Origin::echo();
    let port = Port::reserve();
    let bad = port.address();
    let proxy = draft()
        .forward(&good)
        .origins(&format!(
            "[\"{good}\", {{ address: \"{bad}\", name: bad }}]"
        ))
        .on_upstream("health: { check: tcp, interval: 50ms, rise: 1, fall: 1 }")
        .start();
    let bad_one = || {
        let all = origins(&proxy);
        let found = all.into_iter().find(|origin| origin["name"] == "bad");
        found.unwrap()
    };
    let becomes = |state: &str| {
        eventually(state, || bad_one()["state"] == state);
    };
    becomes("down");
    for flaps in 1..=2 {
        // It accepts, and does nothing more.
        let listening = TcpListener::bind(bad).unwrap();
        becomes("up");
        assert_eq!(bad_one()["flaps"], flaps);
        drop(listening);
        becomes("down");
    }
    let down = bad_one();
    assert_eq!(down["flaps"], 3, "{down}");
    assert!(down["since"].is_string(), "{down}");
    assert_ne!(down["checks"][0]["result"], "ok", "{down}");
    let listening = TcpListener::bind(bad).unwrap();
    std::thread::spawn(move || listening.incoming().for_each(drop));
    becomes("up");
    let drained = proxy.ctl(&["origin", "upstream-0", "bad", "drain"]);
    drained.must_exit_with(0).must_print("drain");
    let checked = bad_one()["checked"].clone();
    for _ in 0..10 {
        let stream = proxy.dial("forward");
        stream.must_echo(b"x");
        stream.end();
        stream.receive_to_end();
        let record = proxy.outcome_of(&stream);
        record.must_be("ok");
        assert_eq!(record["origin"], good.to_string());
    }
    eventually("it is still checked", || bad_one()["checked"] != checked);
    let enabled = proxy.ctl(&["origin", "upstream-0", "bad", "enable"]);
    enabled.must_exit_with(0).must_print("up");
}

/// The certificate that clients of `a.test` are shown.
fn presented(proxy: &Proxy) -> Vec<u8> {
    let stream = proxy.client("a.test").connect();
    stream.peer_certificate().unwrap()
}

fn write(proxy: &Proxy, identity: &Identity) {
    let directory = proxy.directory();
    directory.write("identity-0.key", &identity.key);
    directory.write("identity-0.pem", &identity.cert);
}

fn last_reload(proxy: &Proxy) -> Value {
    proxy.ctl_json(&["status"])["last_reload"]["result"].clone()
}

/// A broken renewal is partial, and the old pair is served; a good one is in force without a command.
#[test]
fn a_certificate_that_ends_is_renewed_and_half_a_renewal_changes_nothing() {
    let origin = Origin::echo();
    let ending = pki().edge.issue(&Leaf::server(&["a.test"]).for_days(1));
    let proxy = draft()
        .route("terminate", "a.test", &origin)
        .identity(&ending)
        .start();
    let listed = proxy.ctl_json(&["certificates"]);
    let left = listed["certificates"][0]["seconds_left"].as_i64().unwrap();
    assert!((1..=24 * 3600).contains(&left), "{listed}");
    let renewed = pki().edge(&["a.test"]);
    let before = presented(&proxy);
    let half = Identity {
        cert: renewed.cert[..renewed.cert.len() / 2].to_owned(),
        key: renewed.key.clone(),
    };
    write(&proxy, &half);
    eventually("the reload is partial", || last_reload(&proxy) == "partial");
    assert_eq!(presented(&proxy), before);
    proxy
        .ctl(&["reloads"])
        .must_exit_with(0)
        .must_print("partial  changed files")
        .must_print("identity-0.pem");
    write(&proxy, &renewed);
    eventually("the reload is done", || last_reload(&proxy) == "done");
    assert_ne!(presented(&proxy), before);
    proxy.ctl(&["reloads"]).must_print("done  changed files");
    // A refused one has changed nothing, and says why.
    proxy
        .directory()
        .write("config.yaml", proxy.text().replace("terminate", "terminat"));
    proxy
        .ctl(&["reload"])
        .must_exit_with(1)
        .must_print("terminat");
    proxy
        .ctl(&["reloads"])
        .must_print("refused  configuration and files")
        .must_print("terminat");
    established(&proxy.client("a.test"));
}

/// Who floods is named by totals, and turned away by one line in a list; others notice nothing.
#[test]
fn a_client_that_floods_is_found_and_turned_away() {
    let origin = Origin::echo();
    let proxy = draft()
        .forward(&origin)
        .on_endpoint("sources: { deny: [{ file: blocked.txt }] }")
        .file("blocked.txt", "")
        .start();
    let place = proxy.listen_addr("forward").clone();
    let flood: Vec<_> = (0..50)
        .map(|_| {
            let stream = Stream::dial_from("127.0.0.66", &place);
            stream.must_echo(b"x");
            stream
        })
        .collect();
    let other = proxy.dial("forward");
    other.must_echo(b"x");
    let totals = post(&proxy, "/connections", &json!({ "totals": "source" }));
    let most = &totals["totals"][0];
    assert_eq!(
        (&most["value"], &most["connections"]),
        (&json!("127.0.0.66"), &json!(50))
    );
    proxy.directory().write("blocked.txt", "127.0.0.66\n");
    for stream in &flood {
        stream.receive_to_end();
        proxy.outcome_of(stream).must_be("denied_source");
    }
    assert_eq!(matched(&proxy, &json!({ "source": "127.0.0.66" })), 0);
    Stream::dial_from("127.0.0.66", &place).receive_to_end();
    other.must_echo(b"still here");
    // A list with a bad line keeps what it had.
    proxy.directory().write("blocked.txt", "127.0.0.66/33\n");
    eventually("the reload is partial", || last_reload(&proxy) == "partial");
    proxy.ctl(&["reloads"]).must_print("blocked.txt");
    Stream::dial_from("127.0.0.66", &place).receive_to_end();
    let failures = post(&proxy, "/failures", &json!({ "source": "127.0.0.66" }));
    assert_eq!(failures["reasons"][0]["reason"], "denied_source");
    // And one of the others has to end.
    let id = id_of(&proxy, &other);
    proxy.ctl(&["kill", &id]).must_exit_with(0).must_print(&id);
    other.receive_to_end();
    proxy.outcome_of(&other).must_be("killed");
}
