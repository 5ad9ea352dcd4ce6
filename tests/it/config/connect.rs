//! `check --connect` and `explain --connect`: what each origin answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::ServerConnection;
use serde_json::Value;

use crate::harness::{
    ConfigCheck, Finished, Identity, LetterOrigin, Origin, Service, Stream, at_once, command,
    dead_address, pki,
};

/// A configuration with one upstream, which routes of this mode lead to. `edge` is its endpoint.
pub fn config(mode: &str, upstream: &str) -> ConfigCheck {
    let (endpoint, matches) = match mode {
        "forward" | "originate" => ("protocol: tcp", ""),
        "passthrough" => ("timeouts: {}", "match: { sni: a.test }, "),
        _ => (
            "tls: { alpn: [h2, http/1.1], certificates: [{ cert: good.pem, key: good.key }] }",
            "match: { sni: a.test }, ",
        ),
    };
    ConfigCheck::new(&format!(
        "endpoints:
  - name: edge
    listen: 127.0.0.1:0
    {endpoint}
    routes: [{{ name: r, {matches}mode: {mode}, upstream: up }}]
upstreams: {{ up: {{ {upstream} }} }}
"
    ))
}

const TRUST: &str = "ca: origin-ca.pem, server_name: origin.test";

fn sealed(origin: &impl std::fmt::Display, more: &str) -> String {
    format!("origins: [\"{origin}\"], tls: {{ {TRUST}{more} }}")
}

/// The line of an origin.
#[track_caller]
fn line<'f>(checked: &'f Finished, origin: &impl std::fmt::Display) -> &'f str {
    let name = format!(" {origin} ");
    let mut lines = checked.stdout.lines();
    let found = lines.find(|line| line.starts_with("up ") && line.contains(&name));
    found.unwrap_or_else(|| panic!("no line of {origin} in\n{}", checked.text()))
}

/// The line of an origin must have these words; the exit code is that of one good or bad origin.
#[track_caller]
pub fn must_answer(check: &ConfigCheck, origin: &impl std::fmt::Display, words: &[&str]) {
    let checked = check.check(&["--connect"]);
    let line = line(&checked, origin);
    for word in words {
        assert!(line.contains(word), "no {word} in {line}");
    }
    let is_good = words.contains(&" ok ");
    checked.must_exit_with(if is_good { 0 } else { 1 });
    checked.must_print(": good");
}

#[test]
fn good_origins_are_ok_in_every_mode() {
    let plain = Origin::echo();
    let tls = Origin::with_tls().alpn(&["h2"]).echo();
    at_once(
        [
            (
                "forward",
                &plain,
                format!("origins: [\"{plain}\"]"),
                "connected",
            ),
            (
                "terminate",
                &plain,
                format!("origins: [\"{plain}\"]"),
                "connected",
            ),
            (
                "passthrough",
                &tls,
                format!("origins: [\"{tls}\"]"),
                "connected",
            ),
            ("originate", &tls, sealed(&tls, ""), "as origin.test"),
            (
                "reencrypt",
                &tls,
                sealed(&tls, ""),
                "ALPN h2, as origin.test",
            ),
        ],
        |(mode, origin, upstream, detail)| {
            let tls = match mode {
                "originate" | "reencrypt" => "TLSv1.3, X25519MLKEM768",
                _ => "connected",
            };
            must_answer(&config(mode, &upstream), origin, &[" ok ", tls, detail]);
        },
    );
}

#[test]
fn each_failure_has_its_reason_and_the_exit_code_is_1() {
    let (dead, _port) = dead_address();
    let plain = Origin::plain().serve(|stream| {
        let _ = stream.read();
        let _ = stream.try_send(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let stranger = Origin::tls(&pki().stranger.issue(&leaf("origin.test"))).echo();
    let misnamed = Origin::tls(&pki().origin(&["other.test"])).echo();
    let mute = Origin::with_tls().echo();
    let expired = Origin::tls(&pki().origins.issue(&leaf("origin.test").expired())).echo();
    let closing = Origin::plain().serve(|stream| stream.end());
    at_once(
        [
            (
                "forward",
                dead.to_string(),
                "origins: [\"{}\"]".to_owned(),
                "origin_refused",
            ),
            (
                "forward",
                closing.to_string(),
                "origins: [\"{}\"]".to_owned(),
                "origin_closed",
            ),
            (
                "originate",
                plain.to_string(),
                sealed(&"{}", ""),
                "origin_not_tls",
            ),
            (
                "originate",
                stranger.to_string(),
                sealed(&"{}", ""),
                "origin_tls_untrusted",
            ),
            (
                "originate",
                misnamed.to_string(),
                sealed(&"{}", ""),
                "origin_tls_name",
            ),
            (
                "originate",
                expired.to_string(),
                sealed(&"{}", ""),
                "origin_tls_expired",
            ),
            // Clients negotiate h2 or HTTP/1.1, and this origin neither.
            (
                "reencrypt",
                mute.to_string(),
                sealed(&"{}", ""),
                "origin_alpn",
            ),
        ],
        |(mode, origin, upstream, reason)| {
            let check = config(mode, &upstream.replace("{}", &origin));
            must_answer(&check, &origin, &[&format!(" {reason} ")]);
        },
    );
}

fn leaf(name: &str) -> crate::harness::Leaf {
    crate::harness::Leaf::server(&[name])
}

/// With TLS 1.3 the handshake is done for the client before the server has seen its certificate.
#[test]
fn an_origin_that_refuses_our_certificate_after_the_handshake_is_noticed() {
    let strict = || Origin::with_tls().requiring_certificate();
    let (new, old) = (strict().echo(), strict().tls12().echo());
    let with = |check: ConfigCheck, pair: &Identity| check.with_identity("client", pair);
    let shown = ", client_certificate: { cert: client.pem, key: client.key }";
    at_once([&new, &old], |origin| {
        let refused = [" origin_rejected_certificate "];
        must_answer(&config("originate", &sealed(origin, "")), origin, &refused);
        let stranger = pki().stranger.issue(&crate::harness::Leaf::client("x"));
        let check = with(config("originate", &sealed(origin, shown)), &stranger);
        must_answer(&check, origin, &refused);
        let good = pki().client("x");
        let check = with(config("originate", &sealed(origin, shown)), &good);
        must_answer(&check, origin, &[" ok "]);
    });
}

#[test]
fn openssl_that_refuses_our_certificate_is_noticed() {
    let directory = crate::harness::Directory::new();
    let identity = pki().origin(&["origin.test"]);
    directory.write("o.pem", &identity.cert);
    directory.write("o.key", &identity.key);
    directory.write("ca.pem", pki().clients.pem());
    // In TLS 1.2, it says only that the handshake has failed.
    for (version, reason) in [
        ("-tls1_2", " origin_tls_error "),
        ("-tls1_3", " origin_rejected_certificate "),
    ] {
        let server = Service::start(|port| {
            let mut server = command("openssl");
            server
                .args(["s_server", "-quiet", "-accept"])
                .arg(format!("127.0.0.1:{port}"))
                .args(["-cert", "o.pem", "-key", "o.key", "-CAfile", "ca.pem"])
                .args(["-Verify", "1", "-verify_return_error", version])
                .current_dir(directory.path());
            server
        });
        let address = server.listen_addr();
        let check = config("originate", &sealed(&address, ""));
        must_answer(&check, &address, &[reason]);
    }
}

#[test]
fn an_origin_that_ends_after_the_handshake_without_an_alert_is_noticed() {
    let origin = Origin::with_tls().serve(|stream| stream.end());
    must_answer(
        &config("originate", &sealed(&origin, "")),
        &origin,
        &[" origin_closed ", "it may not accept our certificate"],
    );
}

#[test]
fn the_proxy_header_goes_first() {
    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    const V1: &[u8] = b"PROXY UNKNOWN\r\n";
    let (sender, received) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::plain().serve(move |stream| {
        let (data, _) = stream.receive_to_end();
        let _ = sender.lock().unwrap().send(data);
    });
    for (version, header) in [("v1", V1), ("v2", V2)] {
        let keys = format!("origins: [\"{origin}\"], send_proxy_protocol: {version}");
        must_answer(&config("forward", &keys), &origin, &[" ok "]);
        let data = received.recv_timeout(crate::harness::TIMEOUT).unwrap();
        assert_eq!(data, header);
    }
}

/// A server of PostgreSQL that answers this to the request for TLS, for one connection.
fn postgres(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = Arc::new(pki().server_config(&pki().origin(&["origin.test"])));
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 8];
        stream.read_exact(&mut request).unwrap();
        assert_eq!(&request, b"\0\0\0\x08\x04\xd2\x16\x2f");
        stream.write_all(answer).unwrap();
        if answer == b"S" {
            let conn = ServerConnection::new(config).unwrap();
            if let Ok(stream) = Stream::tcp(stream).handshake(conn.into()) {
                let _ = stream.receive_to_end();
            }
        }
    });
    address
}

#[test]
fn tls_is_asked_for_inside_the_protocol_of_the_origin() {
    let willing = postgres(b"S");
    let check = config("originate", &sealed(&willing, ", negotiate: postgres"));
    must_answer(&check, &willing, &[" ok ", "as origin.test"]);
    let unwilling = postgres(b"N");
    let check = config("originate", &sealed(&unwilling, ", negotiate: postgres"));
    must_answer(&check, &unwilling, &[" origin_tls_refused "]);
    // In a passthrough, the client's own TLS follows.
    let willing = postgres(b"S");
    let keys = format!("origins: [\"{willing}\"], tls: {{ negotiate: postgres }}");
    must_answer(
        &config("passthrough", &keys),
        &willing,
        &[" ok ", "connected"],
    );
}

#[test]
fn every_origin_has_a_line_and_one_failure_is_enough() {
    let (dead, _port) = dead_address();
    let (a, b) = (Origin::echo(), LetterOrigin::new('b'));
    let keys = format!("origins: [\"{a}\", {{ address: \"{dead}\", name: gone }}, \"{b}\"]");
    let checked = config("forward", &keys).check(&["--connect"]);
    checked.must_exit_with(1);
    assert!(line(&checked, &a).contains(" ok "));
    assert!(
        line(&checked, &dead).contains(" gone ")
            && line(&checked, &dead).contains(" origin_refused ")
    );
    assert!(line(&checked, &b).contains("it speaks first"));
    let checked = config("forward", &keys).check(&["--connect", "--json"]);
    checked.must_exit_with(1);
    let json: Value = serde_json::from_str(&checked.stdout).unwrap();
    let origins = json["origins"].as_array().unwrap();
    let reasons: Vec<_> = origins
        .iter()
        .map(|o| o["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, ["ok", "origin_refused", "ok"]);
    assert_eq!(origins[1]["origin"], "gone");
    assert_eq!(origins[1]["address"], dead.to_string());
    assert!(origins[0]["ms"].is_number() && origins[0]["tls"].is_null());
    assert_eq!(origins[2]["speaks_first"], true);
}

#[test]
fn a_configuration_with_errors_is_not_connected() {
    let origin = Origin::echo();
    let keys = format!("origins: [\"{origin}\"], balance: best");
    let checked = config("forward", &keys).check(&["--connect"]);
    checked.must_exit_with(1);
    assert_eq!(checked.stdout, "");
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn explain_connects_to_the_origin_that_would_be_taken() {
    let (a, b) = (Origin::with_tls().alpn(&["h2"]).echo(), Origin::echo());
    let keys = format!("origins: [\"{a}\", \"{b}\"], balance: first, tls: {{ {TRUST} }}");
    let check = config("reencrypt", &keys);
    let explain =
        |more: &[&str]| check.explain(&[&["--sni", "a.test", "--connect"], more].concat());
    let said = explain(&["--alpn", "h2"]);
    said.must_exit_with(0).must_print("verdict       allowed");
    said.must_print(&format!("connect       {a} at {a}: ok: TLSv1.3"));
    assert_eq!((a.accepts(), b.accepts()), (1, 0));
    // This client speaks HTTP/1.1, and the origin does not.
    let said = explain(&["--alpn", "http/1.1"]);
    said.must_exit_with(1)
        .must_print("verdict       refused: origin_alpn");
    let said = explain(&["--alpn", "h2", "--json"]);
    said.must_exit_with(0);
    let json: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(
        (&json["route"], &json["verdict"]),
        (&"r".into(), &"allowed".into())
    );
    assert_eq!(json["origin"]["tls"]["alpn"], "h2");
    assert_eq!(json["origin"]["server_name"], "origin.test");
    // A client that is refused gets no origin.
    let before = a.accepts();
    let refused = check.explain(&["--sni", "b.test", "--connect", "--json"]);
    refused.must_exit_with(1);
    let json: Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!(
        (&json["reason"], &json["origin"]),
        (&"unknown_sni".into(), &Value::Null)
    );
    assert_eq!(a.accepts(), before);
}

#[test]
fn the_name_of_the_client_is_sent_where_connections_send_it() {
    let (sender, names) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::with_tls()
        .screening(move |hello| {
            let has = |name: &str| {
                hello
                    .windows(name.len())
                    .any(|part| part == name.as_bytes())
            };
            let _ = sender.lock().unwrap().send(has("a.test"));
            crate::harness::HelloReaction::Handshake
        })
        .echo();
    let keys =
        format!("origins: [\"{origin}\"], tls: {{ ca: origin-ca.pem, sni: client, alpn: none }}");
    must_answer(&config("reencrypt", &keys), &origin, &[" ok ", "as a.test"]);
    assert!(names.recv_timeout(crate::harness::TIMEOUT).unwrap());
    let said = config("reencrypt", &keys).explain(&["--sni", "a.test", "--connect"]);
    said.must_exit_with(0).must_print("as a.test");
}
