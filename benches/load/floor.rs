//! The least that a relay can do: no TLS, no policy, no deadline. What it costs is the kernel's share
//! of a connection on this machine, which no proxy gets below.
//!
//! One thread and one accept socket for each of two cores, and the system calls that cannot be left
//! out: accept, connect, one wait, read and write for each piece, the ends passed on, two closes.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use socket2::{Domain, Socket, Type};

/// What one read takes at most, in bytes.
const READ: usize = 256 * 1024;
const LISTENER: u64 = u64::MAX;

/// Relays every connection on `listen` to `to`, until the process is ended.
pub(crate) fn relay(listen: SocketAddr, to: SocketAddr) {
    let other = std::thread::spawn(move || worker(listen, to));
    worker(listen, to);
    let _ = other.join();
}

fn listener(address: SocketAddr) -> TcpListener {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    socket.set_reuse_port(true).expect("SO_REUSEPORT");
    socket.set_reuse_address(true).expect("SO_REUSEADDR");
    // The sockets that it accepts inherit this.
    socket.set_tcp_nodelay(true).expect("TCP_NODELAY");
    socket.bind(&address.into()).expect("a free address");
    socket.listen(4096).expect("a listening socket");
    socket.into()
}

/// One end of a connection: where its bytes come from, and the descriptor of where they go.
struct Side {
    from: TcpStream,
    to: u64,
    ended: bool,
}

fn key(stream: &TcpStream) -> u64 {
    u64::try_from(stream.as_raw_fd()).expect("descriptors are not negative")
}

fn worker(listen: SocketAddr, to: SocketAddr) {
    let listener = listener(listen);
    let watch = epoll::create(CreateFlags::CLOEXEC).expect("epoll");
    let add = |what: &dyn std::os::fd::AsFd, key| {
        epoll::add(
            &watch,
            what.as_fd(),
            EventData::new_u64(key),
            EventFlags::IN,
        )
        .expect("epoll");
    };
    add(&listener, LISTENER);
    let mut sides = HashMap::<u64, Side>::new();
    let mut buffer = vec![0; READ];
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        let _ = epoll::wait(&watch, rustix::buffer::spare_capacity(&mut events), None);
        for event in &events {
            let event = event.data.u64();
            if event == LISTENER {
                let Ok((client, _)) = listener.accept() else {
                    continue;
                };
                let Ok(origin) = TcpStream::connect(to) else {
                    continue;
                };
                let _ = origin.set_nodelay(true);
                let (client_key, origin_key) = (key(&client), key(&origin));
                add(&client, client_key);
                add(&origin, origin_key);
                let side = |from, to| Side {
                    from,
                    to,
                    ended: false,
                };
                sides.insert(client_key, side(client, origin_key));
                sides.insert(origin_key, side(origin, client_key));
                continue;
            }
            let Some(side) = sides.get_mut(&event) else {
                continue;
            };
            let read = side.from.read(&mut buffer).unwrap_or(0);
            let to = side.to;
            side.ended |= read == 0;
            let other = sides.get_mut(&to).expect("sides come in pairs");
            if read > 0 {
                let _ = other.from.write_all(&buffer[..read]);
            } else if other.ended {
                sides.remove(&to);
                sides.remove(&event);
            } else {
                let _ = other.from.shutdown(Shutdown::Write);
                let _ = epoll::delete(&watch, &sides[&event].from);
            }
        }
    }
}
