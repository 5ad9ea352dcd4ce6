//! The least that a proxy can do: no policy, no deadline, no log. Its cost is that of the kernel and of the
//! cryptography, which every proxy pays.
//!
//! One thread and one accept socket for each of two cores, and the system calls that cannot be omitted:
//! accept, connect, one wait, read and write for each piece, both shutdowns, two closes. With a certificate
//! it terminates TLS with the same library as Reseal, and issues one ticket for each connection.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustls::crypto::aws_lc_rs::{self, Ticketer, cipher_suite};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, ServerConnection};
use socket2::{Domain, Socket, Type};

/// The most that one read takes, in bytes.
const READ: usize = 256 * 1024;
const LISTENER: u64 = u64::MAX;

/// Relays every connection on `listen` to `to`, until the process is ended. With `certs`, it terminates TLS
/// with the certificate in there.
pub(crate) fn carry(listen: SocketAddr, to: SocketAddr, certs: Option<&Path>) {
    let config = certs.map(config);
    let other = std::thread::spawn({
        let config = config.clone();
        move || Worker::new(listen, to, config).work()
    });
    Worker::new(listen, to, config).work();
    let _ = other.join();
}

fn config(certs: &Path) -> Arc<ServerConfig> {
    let file = |extension| certs.with_extension(extension);
    let chain = CertificateDer::pem_file_iter(file("pem")).unwrap();
    let chain = chain.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(file("key")).unwrap();
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.ticketer = Ticketer::new().unwrap();
    config.send_tls13_tickets = 1;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Arc::new(config)
}

fn listener(address: SocketAddr) -> TcpListener {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    socket.set_reuse_port(true).expect("SO_REUSEPORT");
    socket.set_reuse_address(true).expect("SO_REUSEADDR");
    // Accepted sockets inherit this.
    socket.set_tcp_nodelay(true).expect("TCP_NODELAY");
    socket.bind(&address.into()).expect("a free address");
    socket.listen(4096).expect("a listening socket");
    socket.into()
}

/// One side of a connection.
struct Side {
    stream: TcpStream,
    tls: Option<Box<ServerConnection>>,
    /// The descriptor of the opposite side.
    other: u64,
    ended: bool,
}

impl Side {
    /// The plaintext received; none at the end.
    fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let Some(tls) = &mut self.tls else {
            return Some(self.stream.read(buffer).unwrap_or(0));
        };
        if tls.read_tls(&mut self.stream).unwrap_or(0) == 0 {
            return Some(0);
        }
        let state = tls.process_new_packets().ok()?;
        if tls.wants_write() {
            let _ = tls.write_tls(&mut self.stream);
        }
        match tls.reader().read(buffer) {
            Ok(read) if read > 0 => Some(read),
            _ if state.peer_has_closed() => Some(0),
            _ => None,
        }
    }

    fn write(&mut self, plain: &[u8]) {
        match &mut self.tls {
            None => {
                let _ = self.stream.write_all(plain);
            }
            Some(tls) => {
                let _ = tls.writer().write_all(plain);
                while tls.wants_write() && tls.write_tls(&mut self.stream).is_ok() {}
            }
        }
    }

    fn end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut self.stream);
        }
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

fn key(stream: &TcpStream) -> u64 {
    u64::try_from(stream.as_raw_fd()).expect("descriptors are not negative")
}

struct Worker {
    listener: TcpListener,
    to: SocketAddr,
    config: Option<Arc<ServerConfig>>,
    watch: std::os::fd::OwnedFd,
    sides: HashMap<u64, Side>,
}

impl Worker {
    fn new(listen: SocketAddr, to: SocketAddr, config: Option<Arc<ServerConfig>>) -> Self {
        let worker = Self {
            listener: listener(listen),
            to,
            config,
            watch: epoll::create(CreateFlags::CLOEXEC).expect("epoll"),
            sides: HashMap::new(),
        };
        worker.add(&worker.listener, LISTENER);
        worker
    }

    fn add(&self, what: impl std::os::fd::AsFd, key: u64) {
        let key = EventData::new_u64(key);
        epoll::add(&self.watch, what, key, EventFlags::IN).expect("epoll");
    }

    fn work(mut self) {
        let mut buffer = vec![0; READ];
        let mut events = Vec::with_capacity(256);
        loop {
            events.clear();
            let _ = epoll::wait(
                &self.watch,
                rustix::buffer::spare_capacity(&mut events),
                None,
            );
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept(),
                    side => self.carry(side, &mut buffer),
                }
            }
        }
    }

    fn accept(&mut self) {
        let Ok((client, _)) = self.listener.accept() else {
            return;
        };
        let Ok(origin) = TcpStream::connect(self.to) else {
            return;
        };
        let _ = origin.set_nodelay(true);
        let tls = self.config.clone().map(ServerConnection::new);
        let tls = tls.map(|tls| {
            let mut tls = Box::new(tls.expect("a TLS connection"));
            // One piece may be larger than the default limit of 64 KiB, and a piece is written whole.
            tls.set_buffer_limit(None);
            tls
        });
        let (client_key, origin_key) = (key(&client), key(&origin));
        self.enter(client, tls, origin_key);
        self.enter(origin, None, client_key);
    }

    fn enter(&mut self, stream: TcpStream, tls: Option<Box<ServerConnection>>, other: u64) {
        let key = key(&stream);
        self.add(&stream, key);
        let side = Side {
            stream,
            tls,
            other,
            ended: false,
        };
        self.sides.insert(key, side);
    }

    fn carry(&mut self, event: u64, buffer: &mut [u8]) {
        let Some(side) = self.sides.get_mut(&event) else {
            return;
        };
        let Some(read) = side.read(buffer) else {
            return;
        };
        side.ended |= read == 0;
        let other = side.other;
        let to = self.sides.get_mut(&other).expect("sides come in pairs");
        if read > 0 {
            to.write(&buffer[..read]);
            return;
        }
        to.end();
        if to.ended {
            self.sides.remove(&other);
            self.sides.remove(&event);
        } else {
            let _ = epoll::delete(&self.watch, &self.sides[&event].stream);
        }
    }
}
