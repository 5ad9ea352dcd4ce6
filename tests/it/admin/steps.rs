//! Every line of `log.level: trace` that is about a connection has its `id`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;

use rustls::ClientConnection;
use rustls::client::ClientSessionMemoryCache;
use serde_json::Value;

use crate::harness::proxy_header::proxied;
use crate::harness::{
    Client, ForgedHello, Leaf, Origin, Port, Proxy, Stream, dead_address, eventually, pki,
    recorded_hello,
};

/// What PostgreSQL's clients send before TLS.
const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";

/// The lines of `debug` and `trace` that are about the process.
const OF_THE_PROCESS: [&str; 5] = [
    "health check",
    "name resolved",
    "name not resolved",
    "a file has changed and is read again",
    "client certificates were rechecked",
];

/// A proxy with every mode, and every way to fail before it.
fn every_kind(echo: &Origin, secure: &Origin) -> (Proxy, Port) {
    let (dead, port) = dead_address();
    let proxy = Proxy::builder()
        .terminate("a.test", echo)
        .on_route("client_auth: { mode: optional, ca: client-ca.pem }")
        .reencrypt("b.test", secure)
        .passthrough("c.test", echo)
        .terminate("dead.test", &dead)
        .terminate("again.test", echo)
        .origins(&format!("[\"{dead}\", \"{echo}\"]"))
        .on_upstream("balance: first")
        .terminate("full.test", echo)
        .origins(&format!("[{{ address: \"{echo}\", connections: 1 }}]"))
        .on_upstream("health: { check: tcp, interval: 100ms }")
        .forward(echo)
        .originate(secure)
        .endpoint("any", "any")
        .on_endpoint("not_tls: rest")
        .on_endpoint("sniff: 60s")
        .on_endpoint("timeouts: { hello: 60s }")
        .terminate("any.test", echo)
        .route("forward", "", echo)
        .named("rest")
        .endpoint("proxied", "tcp")
        .on_endpoint("accept_proxy_protocol: { from: [127.0.0.1] }")
        .route("forward", "", echo)
        .named("proxied")
        .endpoint("postgres", "tls")
        .on_endpoint("negotiate: postgres")
        .terminate("postgres.test", echo)
        .admin();
    let proxy = proxy.start();
    proxy.ctl(&["log-level", "trace"]).must_exit_with(0);
    (proxy, port)
}

fn ends_well(stream: Stream) {
    stream.must_echo(b"x");
    stream.end();
    stream.receive_to_end();
}

/// Connections that reach their relay.
fn good(proxy: &Proxy) {
    let alice = pki().client("alice");
    let sessions = std::sync::Arc::new(ClientSessionMemoryCache::new(8));
    let client = proxy
        .client("a.test")
        .certificate(&alice)
        .sessions(sessions);
    ends_well(client.connect());
    ends_well(client.connect());
    ends_well(proxy.client("a.test").tls12().connect());
    for name in ["b.test", "again.test"] {
        ends_well(proxy.client(name).connect());
    }
    for (endpoint, first) in [
        ("edge", recorded_hello("c.test")),
        ("forward", b"x".to_vec()),
        ("originate", b"x".to_vec()),
        ("any", b"SSH-2.0-x\r\n".to_vec()),
        ("proxied", proxied("192.0.2.7:1", "192.0.2.8:443", &[])),
    ] {
        let stream = proxy.dial(endpoint);
        stream.write_raw(&first).unwrap();
        stream.end();
        stream.receive_to_end();
    }
    let any = Client::new(proxy.listen_addr("any"), "any.test");
    ends_well(any.connect());
    let mut socket = TcpStream::connect(proxy.listen_addr("postgres").tcp()).unwrap();
    socket.write_all(SSL_REQUEST).unwrap();
    let mut answer = [0];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"S");
    let name = "postgres.test".try_into().unwrap();
    let conn = ClientConnection::new(any.config(), name).unwrap();
    ends_well(Stream::tcp(socket).handshake(conn.into()).unwrap());
}

/// Connections that fail, each in a way of its own, or are ended.
fn bad(proxy: &Proxy) {
    drop(proxy.dial("edge"));
    proxy.client("unknown.test").refusal();
    proxy.client("dead.test").refusal();
    let stranger = pki().stranger.issue(&Leaf::client("stranger"));
    proxy.client("a.test").certificate(&stranger).refusal();
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        ForgedHello::new(b"\x1b[31m.test").bytes(),
    ] {
        let stream = proxy.dial("edge");
        stream.write_raw(&bytes).unwrap();
        stream.receive_to_end();
    }
    let stream = proxy.dial("proxied");
    stream.write_raw(b"no header at all").unwrap();
    stream.receive_to_end();
    proxy.client("a.test").connect().reset();
    // One has the only place, and another one waits for it.
    let first = proxy.client("full.test").connect();
    first.must_echo(b"x");
    let second = proxy.client("full.test").connect();
    eventually("the second one waits", || {
        proxy.ctl_json(&["connections", "--stage", "queue"])["matched"] == 1
    });
    ends_well(first);
    second.must_echo(b"x");
    proxy
        .ctl(&["kill", "--sni", "full.test", "--yes"])
        .must_exit_with(0);
    second.receive_to_end();
}

#[test]
fn every_line_about_a_connection_has_its_id() {
    let (echo, secure) = (Origin::echo(), Origin::with_tls().echo());
    let (proxy, _dead) = every_kind(&echo, &secure);
    good(&proxy);
    bad(&proxy);
    let lines = || -> Vec<Value> {
        let log = proxy.log().into_iter();
        log.filter_map(|line| serde_json::from_str(&line).ok())
            .collect()
    };
    let mut ids = BTreeSet::new();
    let mut all = Vec::new();
    eventually("each connection has ended", || {
        all = lines();
        let with = |message: &str| {
            let lines = all.iter().filter(|line| line["message"] == message);
            lines
                .map(|line| line["id"].as_str().unwrap_or_default().to_owned())
                .collect::<BTreeSet<_>>()
        };
        ids = with("accepted");
        ids.len() > 20 && with("ended") == ids && proxy.records_left().len() >= ids.len()
    });
    // Those of the log are those of the records, and nothing else.
    let recorded = proxy.records_left().into_iter().map(|line| {
        let record: Value = serde_json::from_str(&line).unwrap();
        record["id"].as_str().unwrap().to_owned()
    });
    assert_eq!(recorded.collect::<BTreeSet<_>>(), ids);
    let mut steps: BTreeMap<&str, usize> = BTreeMap::new();
    for line in &all {
        let is_detailed = ["debug", "trace"].contains(&line["level"].as_str().unwrap());
        let message = line["message"].as_str().unwrap();
        if is_detailed && !OF_THE_PROCESS.contains(&message) {
            let id = line["id"].as_str().unwrap_or_default();
            assert!(ids.contains(id), "{line}");
            *steps.entry(message).or_default() += 1;
        }
    }
    for step in [
        "PROXY header read",
        "ClientHello read",
        "server name",
        "routed",
        "certificate chosen for the client",
        "client certificate received",
        "client certificate accepted",
        "TLS with the client established",
        "waiting for an origin",
        "connecting to the origin",
        "attempt failed",
        "connected to the origin",
        "TLS with the origin established",
        "relaying",
        "next stage",
    ] {
        assert!(steps.contains_key(step), "no {step:?} among {steps:?}");
    }
}
