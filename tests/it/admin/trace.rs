//! `ctl trace`: every step of the connections of one source, name or id, and nothing of what they carry.

use std::process::{Child, Command, Stdio};

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

use crate::harness::{Lines, Origin, Proxy, TIMEOUT, dead_address, pki};

/// A `ctl trace --json` that runs.
struct Trace {
    child: Child,
    lines: Lines,
}

impl Trace {
    /// Starts it, and waits until steps are in it.
    #[track_caller]
    fn begin(proxy: &Proxy, which: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_reseal"))
            .args([
                "ctl",
                "--admin",
                &format!("unix:{}", proxy.admin_socket()),
                "--json",
                "trace",
            ])
            .args(which)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Lines::of(child.stdout.take().unwrap());
        let trace = Self { child, lines };
        trace.wait_for("trace begun");
        trace
    }

    /// Waits for a step, and returns its line.
    #[track_caller]
    fn wait_for(&self, message: &str) -> Value {
        let found = self
            .lines
            .wait(TIMEOUT, |lines| with(lines, message).into_iter().next());
        found.unwrap_or_else(|| panic!("no {message:?} in\n{}", self.text()))
    }

    /// The lines with this message.
    fn steps(&self, message: &str) -> Vec<Value> {
        with(&self.lines.all(), message)
    }

    fn text(&self) -> String {
        self.lines.all().join("\n")
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn with(lines: &[String], message: &str) -> Vec<Value> {
    let lines = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["message"] == message).collect()
}

#[test]
fn a_trace_by_source_has_every_step_with_what_was_offered_chosen_and_moved() {
    let origin = Origin::with_tls().echo();
    let (dead, _port) = dead_address();
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .origins(&format!("[\"{dead}\", \"{origin}\"]"))
        .on_upstream("balance: first")
        .on_route("client_auth: { mode: required, ca: client-ca.pem }")
        .admin()
        .start();
    let trace = Trace::begin(&proxy, &["--source", "127.0.0.1"]);
    let alice = pki().client("alice");
    let client = proxy.client("a.test").certificate(&alice).connect();
    client.must_echo(b"hello");
    let moved = trace.wait_for("moved");
    assert_eq!(
        (&moved["bytes_up"], &moved["bytes_down"]),
        (&5.into(), &5.into())
    );
    client.end();
    client.receive_to_end();
    let record = proxy.outcome();
    trace.wait_for("ended");
    let step = |message: &str| {
        let steps = trace.steps(message);
        assert_eq!(steps[0]["id"], record["id"], "{message}: {}", trace.text());
        steps[0].clone()
    };
    step("accepted");
    let hello = step("ClientHello read");
    assert_eq!(hello["versions"], "TLSv1.3 TLSv1.2");
    assert!(
        hello["groups"].as_str().unwrap().contains("x25519"),
        "{hello}"
    );
    assert_eq!(
        (&hello["sni"], &hello["ja4"]),
        (&record["sni"], &record["ja4"])
    );
    assert_eq!(hello["offers_session"], false);
    assert_eq!(step("routed")["why"], "it is for this server name");
    assert!(step("certificate chosen for the client")["key"].is_string());
    let path = step("client certificate accepted")["path"].clone();
    let path = path.as_str().unwrap();
    assert!(
        path.starts_with(record["client_cert"]["subject"].as_str().unwrap()),
        "{path}"
    );
    assert!(
        path.ends_with(record["client_cert"]["issuer"].as_str().unwrap()),
        "{path}"
    );
    assert_eq!(step("TLS with the client established")["resumed"], false);
    assert_eq!(step("attempt failed")["may_retry"], true);
    assert_eq!(trace.steps("connecting to the origin").len(), 2);
    step("TLS with the origin established");
    step("relaying");
    assert_eq!(step("ended")["reason"], "ok");
    // The log itself is as quiet as before.
    assert!(!proxy.log().iter().any(|line| line.contains("\"routed\"")));
}

#[test]
fn a_trace_by_name_has_the_first_steps_and_no_other_connection() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .terminate("b.test", &origin)
        .admin()
        .start();
    let trace = Trace::begin(&proxy, &["--sni", "A.test."]);
    let mut ids = Vec::new();
    for name in ["b.test", "a.test"] {
        let client = proxy.client(name).connect();
        client.must_echo(b"x");
        client.end();
        client.receive_to_end();
        ids.push(proxy.outcome().text("id").to_owned());
    }
    trace.wait_for("ended");
    assert_eq!(trace.steps("accepted")[0]["id"], ids[1].as_str());
    assert!(!trace.text().contains(&ids[0]), "{}", trace.text());
}

#[test]
fn a_trace_by_id_is_about_an_established_connection_and_ends_by_itself() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let (one, other) = (proxy.dial("forward"), proxy.dial("forward"));
    one.must_echo(b"x");
    other.must_echo(b"x");
    let listed = proxy.ctl_json(&["connections"]);
    let rows = listed["connections"].as_array().unwrap();
    let own = |row: &&Value| row["client"] == one.local().to_string();
    let id = rows.iter().find(own).unwrap()["id"].as_str().unwrap();
    let trace = Trace::begin(&proxy, &["--id", id, "--for", "3s"]);
    one.must_echo(b"three more bytes");
    other.must_echo(b"y");
    assert_eq!(trace.wait_for("moved")["id"], id);
    one.end();
    one.receive_to_end();
    let ended = trace.wait_for("trace ended");
    assert_eq!(ended["connections"], 1);
    assert_eq!(trace.steps("ended").len(), 1);
    let ids = trace.lines.all();
    let others = ids
        .iter()
        .filter(|line| line.contains("\"id\"") && !line.contains(id));
    assert_eq!(others.count(), 0, "{}", trace.text());
}

/// What is sent, the private keys of both sides, and the session's secrets are in no line.
#[test]
fn neither_payload_nor_keys_are_in_a_trace_or_in_the_log_at_trace() {
    const SECRET: &str = "correct horse battery staple";
    let origin = Origin::with_tls().echo();
    let draft = Proxy::builder()
        .reencrypt("a.test", &origin)
        .on_route("client_auth: { mode: required, ca: client-ca.pem }")
        .terminate("b.test", &Origin::echo())
        .admin();
    let proxy = draft.start();
    proxy.ctl(&["log-level", "trace"]).must_exit_with(0);
    let trace = Trace::begin(&proxy, &["--source", "127.0.0.1"]);
    let alice = pki().client("alice");
    let client = proxy.client("a.test").certificate(&alice).connect();
    client.must_echo(SECRET.as_bytes());
    trace.wait_for("moved");
    client.end();
    client.receive_to_end();
    trace.wait_for("ended");
    let text = format!("{}\n{}", trace.text(), proxy.log().join("\n"));
    assert!(text.contains("ClientHello read"));
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let base64 = |der: &[u8]| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(der)
    };
    let own_key = std::fs::read_to_string(proxy.directory().join("identity-0.key")).unwrap();
    let mut secrets = vec![SECRET.to_owned(), hex(SECRET.as_bytes())];
    for key in [&own_key, &alice.key] {
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let der = key.secret_der();
        // Any run of bytes of it, as text and in hexadecimal.
        for part in der.chunks(16).filter(|part| part.len() == 16) {
            secrets.push(hex(part));
        }
        secrets.push(base64(der));
    }
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret} is in\n{text}");
    }
}

#[test]
fn a_trace_needs_one_condition_and_has_bounds() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    proxy
        .ctl(&["trace"])
        .must_exit_with(2)
        .must_print("--source");
    proxy
        .ctl(&["trace", "--sni", "a.test", "--id", "1"])
        .must_exit_with(2);
    proxy
        .ctl(&["trace", "--sni", "a.test", "--for", "11m"])
        .must_exit_with(1)
        .must_print("600");
    let all: Vec<_> = (0..4)
        .map(|_| Trace::begin(&proxy, &["--id", "1"]))
        .collect();
    let refused = proxy.ctl(&["trace", "--id", "1"]);
    refused.must_exit_with(1).must_print("4 traces");
    drop(all);
    // That nobody reads them is noticed within seconds.
    crate::harness::eventually("there is room", || {
        proxy.ctl(&["trace", "--id", "1", "--for", "1s"]).code == Some(0)
    });
}

#[test]
fn for_people_a_trace_is_lines_of_text() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let text = proxy.ctl(&["trace", "--id", "1", "--for", "1s"]);
    text.must_exit_with(0)
        .must_print("trace begun")
        .must_print("trace ended  why=\"its time is over\"");
}
