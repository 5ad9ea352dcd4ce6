//! Clients, signals and requests at random; afterwards every permit is free again.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, SockRef, Socket, Type};

use super::Bench;
use super::crowd::hello;
use super::refusals::Random;
use super::subject::{Start, Subject, becomes_true};
use super::table::Table;
use crate::load::{Client, Clients};
use crate::origin::{DOWN, NAME};

const TIME: f64 = 120.0;
const CLIENTS: usize = 24;
/// Every limit on connections: of the endpoint, the source, the route and the origin.
const MAX: usize = 64;
const ACTIONS: u64 = 10;

fn config(bench: &Bench<'_>, limits: &str) -> String {
    format!(
        "access_log: {{ output: none }}
log: {{ output: none }}
process: {{ limits: {{ connections: 400, handshakes: 32 }} }}
endpoints:
  - name: edge
    listen: \"@EDGE@\"
    timeouts: {{ hello: 2s, client: 3s, half_close: 2s }}
    limits: {{ {limits}, new: 100000/s, new_per_source: 100000/s }}
    tls: {{ certificates: [{{ cert: \"@CERTS@/bench.test.pem\", key: \"@CERTS@/bench.test.key\" }}] }}
    routes:
      - {{ name: r, match: {{ sni: bench.test }}, mode: terminate, upstream: origin, limits: {{ connections: {MAX}, per_source: {MAX} }} }}
      - {{ name: p, match: {{ sni: pass.test }}, mode: passthrough, upstream: tls, limits: {{ connections: 8, new: 100000/s }} }}
upstreams:
  origin: {{ origins: [{{ address: \"{}\", connections: {MAX} }}], connect: {{ queue: 8, queue_timeout: 1s }} }}
  tls: {{ origins: [\"{}\"] }}
",
        bench.origins.plain, bench.origins.tls
    )
}

pub(super) fn measure(bench: &Bench<'_>, table: &mut Table) {
    let what = "chaos";
    let first = format!(
        "connections: {MAX}, per_source: {MAX}, handshakes: 16, handshakes_per_source: 16, when_full: refuse"
    );
    let second = "connections: 30, per_source: 20, handshakes: 4";
    let mut subject = Subject::start(
        bench.scratch,
        what,
        &config(bench, &first),
        &Start::default(),
    );
    let configured = fs::read_to_string(subject.config()).expect("the configuration");
    let other = configured.replace(&first, second);
    let reload = |subject: &Subject, text: &str| {
        fs::write(subject.config(), text).expect("a configuration");
        subject.signal("-HUP");
    };
    let time = Duration::from_secs_f64((TIME * bench.size).max(5.0));
    let (ended, done, kills) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let clients = Clients::new(subject.address, bench.scratch);
    let message = hello(clients.config(), NAME);
    let passed = hello(clients.config(), "pass.test");
    let mut reloads = 0_u32;
    let admin = thread::scope(|scope| {
        let admin = subject.watch(scope, &ended);
        for seed in 0..CLIENTS {
            let (clients, ended, done) = (&clients, &ended, &done);
            let messages = [&message[..], &passed[..]];
            scope.spawn(move || {
                let mut client = Chaotic {
                    clients,
                    messages,
                    random: Random::new(seed as u64 + 7),
                    held: Vec::new(),
                };
                while !ended.load(Ordering::Relaxed) {
                    client.act();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let end = Instant::now() + time;
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(300));
            kills.fetch_add(kill_some(&subject), Ordering::Relaxed);
            reloads += 1;
            if reloads.is_multiple_of(10) {
                // Its listener opens again with the next reload.
                subject.request("POST", "/drain", &json!({ "endpoint": "edge" }).to_string());
            }
            reload(
                &subject,
                if reloads % 2 == 1 {
                    &other
                } else {
                    &configured
                },
            );
        }
        ended.store(true, Ordering::Relaxed);
        admin.join().expect("the watch")
    });
    reload(&subject, &configured);
    let is_listening = || {
        let value = subject.metric("reseal_admission_limit", &["limit=\"connections\""]);
        value == (2 * MAX + 8) as f64 && TcpStream::connect(subject.address).is_ok()
    };
    assert!(
        becomes_true(Duration::from_secs(20), is_listening),
        "it is reloaded"
    );
    let is_at_rest = subject.comes_to_rest(Duration::from_secs(20));
    table.figure(
        what,
        "connections",
        subject.metric("reseal_connections_total", &[]),
    );
    table.figure(
        what,
        "what clients did",
        done.load(Ordering::Relaxed) as f64,
    );
    table.figure(what, "reloads", f64::from(reloads));
    table.figure(
        what,
        "connections killed by `ctl`",
        kills.load(Ordering::Relaxed) as f64,
    );
    table.at_most(
        what,
        "longest answer of the admin socket, ms",
        admin.as_secs_f64() * 1e3,
        2000.0,
    );
    table.exactly(
        what,
        "live connections afterwards",
        f64::from(!is_at_rest),
        0.0,
    );
    let left = subject.in_use();
    println!("in use: {left:?}");
    table.exactly(what, "limits still in use", left.len() as f64, 0.0);
    let mut held: Vec<Client> = Vec::new();
    while let Ok(client) = clients.try_established() {
        held.push(client);
        if held.len() > MAX {
            break;
        }
    }
    table.exactly(
        what,
        "connections that the limits admit again",
        held.len() as f64,
        MAX as f64,
    );
    drop(held);
    subject.comes_to_rest(Duration::from_secs(20));
    table.exactly(
        what,
        "limits still in use after that",
        subject.in_use().len() as f64,
        0.0,
    );
    let panics = subject.metric("reseal_outcomes_total", &["reason=\"internal_panic\""]);
    table.exactly(what, "panics", panics, 0.0);
    table.exactly(
        what,
        "processes that ended",
        f64::from(!subject.is_running()),
        0.0,
    );
}

/// Ends up to three live connections.
fn kill_some(subject: &Subject) -> u64 {
    let Some(body) = subject.get("/connections") else {
        return 0;
    };
    let connections: Value = serde_json::from_str(&body).unwrap_or_default();
    let connections = connections["connections"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let some = connections.iter().step_by(connections.len() / 3 + 1);
    let kill = |connection: &Value| {
        let request = json!({ "id": connection["id"] }).to_string();
        subject.request("POST", "/kill", &request).is_some()
    };
    some.filter(|connection| kill(connection)).count() as u64
}

struct Chaotic<'a> {
    clients: &'a Clients,
    messages: [&'a [u8]; 2],
    random: Random,
    /// Established clients that do nothing.
    held: Vec<Client>,
}

impl Chaotic<'_> {
    /// One of the things that clients do; a refusal is as good as an answer.
    fn act(&mut self) {
        let choice = self.random.next() % ACTIONS;
        let [hello, passed] = self.messages;
        match choice {
            0 => self.say(b"", true),
            1 => self.say(hello, true),
            2 => self.say(&hello[..hello.len() / 2], false),
            3 => self.say(passed, choice.is_multiple_of(2)),
            4 => self.say(b"GET / HTTP/1.1\r\n\r\n", false),
            5 => drop(self.clients.try_exchange()),
            6 => self.half_close(),
            7 => self.reset_in_a_stream(),
            8 => {
                self.held.extend(self.clients.try_established());
                if self.held.len() > 3 {
                    self.held.clear();
                }
            }
            _ => thread::sleep(Duration::from_millis(self.random.next() % 20)),
        }
    }

    /// Says so much and resets, or ends and waits for the answer.
    fn say(&mut self, message: &[u8], resets: bool) {
        let address = self.clients.address();
        let Some(mut socket) = try_dial(address, self.source()) else {
            return;
        };
        let _ = socket.set_read_timeout(Some(Duration::from_secs(5)));
        let _ = socket.write_all(message);
        if resets {
            if self.random.next().is_multiple_of(2) {
                let _ = socket.read(&mut [0; 1]);
            }
            let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
        } else {
            let _ = socket.shutdown(Shutdown::Write);
            let _ = socket.read(&mut [0; 4096]);
        }
    }

    fn half_close(&self) {
        if let Ok(mut client) = self.clients.try_established() {
            client.conn.send_close_notify();
            let _ = client.flush();
            let _ = client.sock.shutdown(Shutdown::Write);
            let _ = client.read(&mut [0; 16]);
        }
    }

    fn reset_in_a_stream(&self) {
        if let Ok(mut client) = self.clients.try_connect() {
            let asked = client.write_all(&[DOWN]);
            let _ = asked.and_then(|()| client.write_all(&(64_u64 << 20).to_le_bytes()));
            let _ = client.read(&mut [0; 4096]);
            let _ = SockRef::from(&client.sock).set_linger(Some(Duration::ZERO));
        }
    }

    fn source(&mut self) -> Ipv4Addr {
        let [.., last] = self.random.next().to_be_bytes();
        Ipv4Addr::new(127, 0, 3, last.max(1))
    }
}

/// A listener that is drained refuses.
fn try_dial(address: SocketAddr, source: Ipv4Addr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.bind(&SocketAddr::from((source, 0)).into()).ok()?;
    socket.connect(&address.into()).ok()?;
    Some(socket.into())
}
