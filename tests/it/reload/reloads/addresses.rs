//! Reloads that change where endpoints listen.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;

use super::{answer, must_be_refused, must_be_reloaded, named, upstream_of};
use crate::harness::{LetterOrigin, Origin, Port, Proxy, Stream, TIMEOUT, eventually};

#[test]
fn endpoints_are_added_and_removed_and_others_keep_their_sockets() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).start();
    let stays = proxy.listen_addr("forward").tcp();
    // Queued by the kernel before the reload, accepted after it.
    let mut queued: Vec<_> = (0..8).map(|_| TcpStream::connect(stays).unwrap()).collect();
    let more = format!(
        "  - name: more\n    listen: 127.0.0.1:0\n    protocol: tcp\n    routes: [{{ name: more, \
         mode: forward, upstream: {} }}]\n",
        upstream_of(proxy.text())
    );
    let text = proxy
        .text()
        .replacen("endpoints:\n", &format!("endpoints:\n{more}"), 1);
    must_be_reloaded(&proxy.reload(&text));
    let came = proxy.new_listen_addr("more").tcp();
    for stream in &mut queued {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    }
    let mut client = TcpStream::connect(came).unwrap();
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    let good = proxy.text().to_owned();
    must_be_reloaded(&proxy.reload(&good));
    eventually("the address is closed", || {
        TcpStream::connect_timeout(&came, TIMEOUT).is_err()
    });
    // The connection continues although its endpoint is gone.
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    proxy.dial("forward").must_echo(b"still the same place");
    assert_eq!(proxy.listen_addr("forward").tcp(), stays);
}

/// A proxy that listens at one address of a port, and the configuration with which it listens at all of them.
fn at_one_address(origin: &Origin) -> (Proxy, String, Port) {
    let port = Port::reserve_at_all_addresses();
    let narrow = format!("127.0.0.1:{}", port.number());
    let proxy = Proxy::builder()
        .yaml(&format!(
            "endpoints: [{{ name: forward, listen: \"{narrow}\", protocol: tcp, routes: [{{ name: r, \
             mode: forward, upstream: o }}] }}]\nupstreams: {{ o: {{ origins: [\"{origin}\"] }} }}\n"
        ))
        .start();
    let everywhere = format!("*:{}", port.number());
    let wide = proxy.text().replace(&narrow, &everywhere);
    (proxy, wide, port)
}

#[test]
fn an_address_may_widen_and_narrow_over_its_own_socket() {
    let origin = Origin::echo();
    let (proxy, wide, _port) = at_one_address(&origin);
    let client = proxy.dial("forward");
    client.must_echo(b"x");
    must_be_reloaded(&proxy.reload(&wide));
    proxy.dial("forward").must_echo(b"through the wide one");
    let narrowed = proxy.text().to_owned();
    must_be_reloaded(&proxy.reload(&narrowed));
    proxy.dial("forward").must_echo(b"through the narrow one");
    client.must_echo(b"and the first is still there");
}

/// Closing the sockets of a removed address loses no client that the kernel has accepted.
#[test]
fn promise_4_clients_that_connect_while_an_address_narrows_are_served() {
    let origin = Origin::echo();
    let (proxy, wide, _port) = at_one_address(&origin);
    let narrowed = proxy.text().to_owned();
    let place = proxy.listen_addr("forward").clone();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let place = place.clone();
            thread::spawn(move || {
                for _ in 0..1500 {
                    Stream::dial(&place).unwrap().must_echo(b"x");
                }
            })
        })
        .collect();
    while clients.iter().any(|client| !client.is_finished()) {
        must_be_reloaded(&proxy.reload(&wide));
        must_be_reloaded(&proxy.reload(&narrowed));
    }
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn an_address_in_use_refuses_the_whole_reload() {
    let (old, new) = (named(b"o"), named(b"n"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let proxy = Proxy::builder()
        .top(&format!(
            "process: {{ sandbox: {{ also: {{ bind: [{port}] }} }} }}"
        ))
        .forward(&old)
        .start();
    let more = format!(
        "  - name: more\n    listen: {}\n    protocol: tcp\n    routes: [{{ name: more, mode: forward, \
         upstream: {} }}]\n",
        taken.local_addr().unwrap(),
        upstream_of(proxy.text())
    );
    let text = proxy
        .text()
        .replacen("endpoints:\n", &format!("endpoints:\n{more}"), 1)
        .replace(&old.to_string(), &new.to_string());
    must_be_refused(&proxy.reload(&text), "another process listens there");
    assert_eq!(answer(&proxy), b"o");
}

/// The kernel gives a client to the socket at the very address before one at every address.
#[test]
fn an_address_beside_every_address_of_its_port_has_its_own_clients() {
    let [one, all] = ["1", "*"].map(|letter| LetterOrigin::new(letter.chars().next().unwrap()));
    let port = Port::reserve().number();
    let letter = |host: u8| {
        let mut stream = TcpStream::connect((Ipv4Addr::new(127, 0, 0, host), port)).unwrap();
        let mut letter = [0];
        stream.read_exact(&mut letter).unwrap();
        char::from(letter[0])
    };
    let endpoint = |name: &str, listen: &str, origin: &LetterOrigin| {
        format!(
            "  - {{ name: {name}, listen: \"{listen}:{port}\", protocol: tcp, routes: [{{ name: {name}, \
             mode: forward, upstream: {name} }}] }}\n\
             upstreams:\n  {name}: {{ origins: [\"{origin}\"] }}\n"
        )
    };
    let text = |endpoints: &[String]| {
        let parts = endpoints
            .iter()
            .map(|text| text.split_once("upstreams:\n").unwrap());
        let (endpoints, upstreams): (Vec<_>, Vec<_>) = parts.unzip();
        format!(
            "log: {{ format: json }}\nendpoints:\n{}upstreams:\n{}",
            endpoints.concat(),
            upstreams.concat()
        )
    };
    let (one, all) = (
        endpoint("one", "127.0.0.1", &one),
        (endpoint("all", "*", &all)),
    );
    for order in [[one.clone(), all.clone()], [all.clone(), one.clone()]] {
        let proxy = Proxy::builder().yaml(&text(&order)).start();
        assert_eq!((letter(1), letter(2)), ('1', '*'));
        proxy.reload(&text(std::slice::from_ref(&all)));
        eventually("it serves all", || letter(1) == '*');
        proxy.reload(&text(&order));
        eventually("each serves its own", || {
            (letter(1), letter(2)) == ('1', '*')
        });
    }
}
