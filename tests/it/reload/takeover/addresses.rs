//! What a takeover does to listening addresses that stay, change, come and go.

use std::net::TcpStream;

use super::{forwarding, served_by};
use crate::harness::{
    End, ListenAddr, Origin, PassedSockets, Port, Proxy, Stream, TIMEOUT, eventually, queued,
};

/// An endpoint `name` that listens at this address and uses the only upstream.
fn endpoint(name: &str, listen: &str) -> String {
    format!(
        "  - name: {name}\n    listen: \"{listen}\"\n    protocol: tcp\n    routes: [{{ name: r, mode: forward, \
         upstream: upstream-0 }}]\n"
    )
}

/// The configuration with these endpoints more.
fn with(text: &str, endpoints: &[String]) -> String {
    text.replacen(
        "endpoints:\n",
        &format!("endpoints:\n{}", endpoints.concat()),
        1,
    )
}

#[test]
fn unix_sockets_stay_at_their_path_and_those_that_left_are_removed() {
    let origin = Origin::echo();
    let draft = forwarding(&origin);
    let path = |name: &str| format!("unix:{}", draft.path(name));
    let [stays, leaves, comes] =
        ["stays", "leaves", "comes"].map(|name| endpoint(name, &path(name)));
    let mut old = draft.start();
    let bare = old.text().to_owned();
    let both = with(&bare, &[stays.clone(), leaves]);
    super::must_be_reloaded(&old.reload(&both));
    let exists = |old: &Proxy, name: &str| old.directory().join(name).exists();
    assert!(exists(&old, "stays") && exists(&old, "leaves"));
    let new = old.successor(&with(&bare, &[stays, comes]));
    assert_eq!(old.exit_code(), 0);
    assert!(exists(&new, "stays") && exists(&new, "comes") && !exists(&new, "leaves"));
    for name in ["stays", "comes"] {
        let place = ListenAddr::Unix(new.directory().join(name));
        Stream::dial(&place)
            .unwrap()
            .must_echo(b"through the new one");
    }
}

#[test]
fn an_address_that_left_refuses_and_a_new_one_is_served() {
    let origin = Origin::echo();
    let ports = [Port::reserve(), Port::reserve()];
    let [leaves, comes] = [0, 1].map(|i| endpoint("changed", &ports[i].address().to_string()));
    let draft = forwarding(&origin).top("process: { sandbox: off }");
    let mut old = draft.start();
    let bare = old.text().to_owned();
    super::must_be_reloaded(&old.reload(&with(&bare, &[leaves])));
    let new = old.successor(&with(&bare, &[comes]));
    assert_eq!(old.exit_code(), 0);
    assert!(TcpStream::connect_timeout(&ports[0].address(), TIMEOUT).is_err());
    new.dial("changed").must_echo(b"at the new address");
    new.dial("forward").must_echo(b"at the old one");
}

#[test]
fn another_form_of_an_address_of_the_same_port_takes_its_clients() {
    let origin = Origin::echo();
    let port = Port::reserve_at_all_addresses();
    let narrow = endpoint("changed", &format!("127.0.0.1:{}", port.number()));
    let wide = endpoint("changed", &format!("*:{}", port.number()));
    for [before, after] in [[&narrow, &wide], [&wide, &narrow]] {
        let draft = forwarding(&origin).top("process: { sandbox: off }");
        let mut old = draft.start();
        let bare = old.text().to_owned();
        super::must_be_reloaded(&old.reload(&with(&bare, std::slice::from_ref(before))));
        let new = old.successor(&with(&bare, std::slice::from_ref(after)));
        assert_eq!(old.exit_code(), 0);
        new.dial("changed").must_echo(b"through the new one");
    }
}

#[test]
fn the_admin_socket_and_the_metrics_may_move() {
    let origin = Origin::echo();
    let mut old = forwarding(&origin).start();
    let client = old.dial("forward");
    client.must_echo(b"keeps the old one");
    let text = old.text().replace("admin.sock", "other.sock");
    let text = text.replace("metrics: \"127.0.0.1:0\"", "metrics: \"127.0.0.2:0\"");
    let from = format!("--takeover=unix:{}", old.admin_socket());
    let new = old.starting_successor(&text, &[&from]);
    new.log_line(|line| line.contains("took over from"));
    let moved = new.directory().join("other.sock");
    eventually("the new socket is there", || moved.exists());
    // The old process answers until its end where the new one does not.
    assert_eq!(served_by(&old), u64::from(old.pid()));
    eventually("the old process is not ready", || {
        old.probe("/readyz").status == 503
    });
    new.probe("/readyz").must_be(200);
    drop(client);
    assert_eq!(old.exit_code(), 0);
    assert!(moved.exists() && !old.directory().join("admin.sock").exists());
}

#[test]
fn every_queue_is_served_by_fewer_and_by_more_workers() {
    let origin = Origin::echo();
    let workers = |count: usize, connections: usize| {
        format!("process: {{ workers: {count}, limits: {{ connections: {connections} }} }}\n")
    };
    let first = workers(4, 1);
    let mut proxy = forwarding(&origin).top(first.trim_end()).start();
    let text = proxy.text().to_owned();
    let address = proxy.listen_addr("forward").tcp();
    for (count, connections) in [(1, 1), (3, 1), (2, 100)] {
        let holder = proxy.dial("forward");
        holder.must_echo(b"takes the only place");
        let dial = |_| Stream::dial(&ListenAddr::Tcp(address)).unwrap();
        let clients: Vec<_> = (0..24).map(dial).collect();
        eventually("all others are queued", || {
            queued(|local, _| local == address).1 == 24
        });
        let new = proxy.successor(&text.replace(&first, &workers(count, connections)));
        holder.must_echo(b"still there");
        drop(holder);
        assert_eq!(proxy.exit_code(), 0);
        // A new process with one place serves them in any order, each when another one has left.
        for client in &clients {
            client.send(b"x");
            client.end();
        }
        for client in clients {
            assert_eq!(client.receive_to_end(), (b"x".to_vec(), End::Clean));
        }
        proxy = new;
    }
}

#[test]
fn sockets_of_systemd_are_passed_on() {
    let origin = Origin::echo();
    let passed = PassedSockets::new(2);
    let launcher = passed.launcher("web:web");
    let launcher: Vec<_> = launcher.iter().map(String::as_str).collect();
    let mut old = forwarding(&origin)
        .listen("systemd:web")
        .under(&launcher)
        .start();
    let new = old.successor(old.text());
    assert_eq!(old.exit_code(), 0);
    for place in passed.places() {
        for _ in 0..8 {
            Stream::dial(place)
                .unwrap()
                .must_echo(b"through the new one");
        }
    }
    drop(new);
}
