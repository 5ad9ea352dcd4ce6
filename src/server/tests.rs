//! A server in one process with its clients: started, used and stopped without signals.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::config::compile::{Files, LoadOptions, Purpose};
use crate::control::signals::Signal;
use crate::observe::logging;

fn config(origin: &str) -> StartConfig {
    let text = format!(
        "
log: {{ level: error }}
access_log: {{ output: none }}
process: {{ workers: 1, drain: {{ stop: 30s }} }}
endpoints:
  - name: edge
    listen: 127.0.0.1:0
    protocol: tcp
    routes: [{{ name: all, mode: forward, upstream: up }}]
upstreams:
  up: {{ origins: [\"{origin}\"] }}
"
    );
    let source = Source::Text {
        text,
        path: "test.yaml".into(),
        dir: PathBuf::new(),
    };
    let sessions = Arc::new(Sessions::default());
    let options = LoadOptions::first(Files::Read, Purpose::Serve, &sessions);
    let mut loaded = source.load(options).unwrap();
    let snapshot = loaded.snapshot.take().unwrap();
    StartConfig {
        log: logging::start(&snapshot.log).unwrap(),
        source,
        loaded,
        snapshot,
        sessions,
        fleet: None,
        tickets: Vec::new(),
        sandbox: Arc::new(Sandbox::off()),
        waits: false,
    }
}

#[test]
fn a_server_serves_until_it_is_stopped_and_then_lets_its_connections_finish() {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = config(&origin.local_addr().unwrap().to_string());
    let resources = Resources::open(&config.snapshot, None).unwrap();
    let (stop, signals) = Signals::channel(StopMode::Drain);
    let (listening, addresses) = mpsc::channel();
    let server = thread::spawn(move || {
        run(
            config,
            resources,
            || Ok(signals),
            |addresses| {
                listening.send(addresses[0].1.clone()).unwrap();
            },
        )
    });
    let mut client = TcpStream::connect(addresses.recv().unwrap()).unwrap();
    client.write_all(b"before").unwrap();
    let (mut served, _) = origin.accept().unwrap();
    let mut bytes = [0; 6];
    served.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"before");
    stop.blocking_send(Signal::Stop).unwrap();
    served.write_all(b"after").unwrap();
    drop(served);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"after");
    drop(client);
    assert_eq!(server.join().unwrap().unwrap(), Ending::Drained);
}
