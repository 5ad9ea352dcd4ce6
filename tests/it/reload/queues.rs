//! Clients in the queue of a listener that closes.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::Signal;

use super::reloads::must_be_reloaded;
use crate::harness::{Origin, Proxy, TIMEOUT, eventually, queued};

/// A proxy with room for one connection.
fn full(origin: &Origin) -> Proxy {
    Proxy::builder()
        .forward(origin)
        .endpoint("stays", "tcp")
        .route("forward", "", origin)
        .top("process: { workers: 1, limits: { connections: 1 } }")
        .start()
}

/// Clients that the kernel has connected to the endpoint `forward`, and that wait to be accepted.
fn waiting(proxy: &Proxy) -> [TcpStream; 2] {
    let address = proxy.listen_addr("forward").tcp();
    let clients = [(); 2].map(|()| TcpStream::connect(address).unwrap());
    eventually("they are queued", || {
        queued(|local, _| local == address).1 == 2
    });
    clients
}

#[track_caller]
fn must_be_served(clients: [TcpStream; 2]) {
    for mut client in clients {
        client.set_read_timeout(Some(TIMEOUT)).unwrap();
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn clients_that_wait_for_a_place_are_served_after_their_endpoint_has_left_the_file() {
    let origin = Origin::echo();
    let proxy = full(&origin);
    let first = proxy.dial("forward");
    first.must_echo(b"takes the only place");
    let clients = waiting(&proxy);
    let (head, rest) = proxy.text().split_once("  - name: forward").unwrap();
    let (_, stays) = rest.split_once("  - name: stays").unwrap();
    let stays = stays.replacen("upstream: upstream-1", "upstream: upstream-0", 1);
    must_be_reloaded(&proxy.reload(&format!("{head}  - name: stays{stays}")));
    let address = proxy.listen_addr("forward").tcp();
    eventually("nobody else can connect", || {
        TcpStream::connect_timeout(&address, TIMEOUT).is_err()
    });
    first.must_echo(b"still there");
    drop(first);
    must_be_served(clients);
}

#[test]
fn clients_that_wait_for_a_place_are_served_during_a_stop() {
    let origin = Origin::echo();
    let mut proxy = full(&origin);
    let first = proxy.dial("forward");
    first.must_echo(b"takes the only place");
    let clients = waiting(&proxy);
    proxy.signal(Signal::TERM);
    proxy.log_line(|line| line.contains("\"message\":\"draining\""));
    first.must_echo(b"still there");
    drop(first);
    must_be_served(clients);
    assert_eq!(proxy.exit_code(), 0);
}
