//! A process of clients that do as little as they can: a process has only so many descriptors. It reads one
//! line for each step from its standard input and answers with one.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, SockRef, Socket, Type};

use crate::load::Clients;
use crate::origin::{DOWN, NAME};

/// What the clients of a crowd do.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// One third is silent, one third stops after its ClientHello, one third trickles it.
    Stalled,
    /// They ask for an endless stream and read one byte a second.
    Readers,
    /// They repeat the first half of a handshake as fast as they can.
    Flood,
    /// They connect and do nothing more.
    Silent,
    /// They are established, and one in a hundred sends a byte each second.
    Seated,
    /// They connect again whenever they are dropped; every second one sends a byte of a request now and then.
    Knocking,
}

impl Kind {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Stalled, "stalled"),
        (Self::Readers, "readers"),
        (Self::Flood, "flood"),
        (Self::Silent, "silent"),
        (Self::Seated, "seated"),
        (Self::Knocking, "knocking"),
    ];

    fn word(self) -> &'static str {
        let found = Self::ALL.iter().find(|(kind, _)| *kind == self);
        found.map_or("", |(_, word)| word)
    }
}

/// A crowd in a process of its own, ended on drop.
pub(super) struct Crowd {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Crowd {
    /// Starts one. A flood runs only where nothing else does, because the proxy is measured.
    pub(super) fn start(kind: Kind, address: SocketAddr, count: usize, certs: &Path) -> Self {
        let program = std::env::current_exe().expect("this program's path");
        let priority = match kind {
            Kind::Flood | Kind::Knocking => ["chrt", "--idle", "0"],
            _ => ["nice", "-n", "19"],
        };
        let mut child = Command::new(priority[0])
            .args(&priority[1..])
            .arg(program)
            .args([
                "crowd",
                kind.word(),
                &address.to_string(),
                &count.to_string(),
            ])
            .arg(certs)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a crowd");
        let input = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        Self {
            child,
            input,
            output,
        }
    }

    /// Its next line.
    pub(super) fn line(&mut self) -> String {
        let mut line = String::new();
        let _ = self.output.read_line(&mut line);
        line.trim().to_owned()
    }

    /// Ends it, and returns its last line.
    pub(super) fn end(mut self) -> String {
        let _ = self.input.write_all(b"\n");
        self.line()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program of a crowd: its words are the kind, the address, the number, the directory of certificates.
pub(crate) fn run(words: &[String]) {
    let [kind, address, count, certs] = words else {
        return;
    };
    let kind = Kind::ALL.iter().find(|(_, word)| word == kind);
    let kind = kind.expect("a kind").0;
    let address: SocketAddr = address.parse().expect("an address");
    let count: usize = count.parse().expect("a count");
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        let _ = tell.send(());
    });
    let ended =
        |wait: Duration| told.recv_timeout(wait) != Err(std::sync::mpsc::RecvTimeoutError::Timeout);
    match kind {
        Kind::Stalled => stalled(address, count, Path::new(certs), ended),
        Kind::Readers => readers(address, count, Path::new(certs), ended),
        Kind::Flood => flood(address, count, Path::new(certs), ended),
        Kind::Seated => seated(address, count, Path::new(certs), ended),
        Kind::Knocking => knocking(address, count, ended),
        Kind::Silent => {
            let held: Vec<_> = (0..count).map(|n| dial(address, source(n))).collect();
            println!("{}", held.len());
            while !ended(Duration::from_secs(1)) {}
        }
    }
}

/// One of many addresses of this machine.
fn source(n: usize) -> Ipv4Addr {
    let [_, a, b, c] = u32::try_from(n % 60_000 + 1).unwrap_or(1).to_be_bytes();
    Ipv4Addr::new(127, a + 1, b, c)
}

pub(super) fn dial(address: SocketAddr, source: Ipv4Addr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let source = SocketAddr::from((source, 0));
    socket.bind(&source.into()).expect("an address of loopback");
    socket.connect(&address.into()).expect("the proxy accepts");
    socket.into()
}

/// The first message of a client.
pub(super) fn hello(config: &Arc<ClientConfig>, name: &str) -> Vec<u8> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut conn = ClientConnection::new(Arc::clone(config), name).expect("a client");
    let mut hello = Vec::new();
    while conn.wants_write() {
        conn.write_tls(&mut hello).expect("a hello");
    }
    hello
}

fn stalled(address: SocketAddr, count: usize, certs: &Path, ended: impl Fn(Duration) -> bool) {
    let hello = hello(Clients::new(address, certs).config(), NAME);
    let mut trickling = Vec::new();
    let mut held = Vec::new();
    for n in 0..count {
        let mut stream = dial(address, source(n));
        match n % 3 {
            0 => held.push(stream),
            1 => {
                let _ = stream.write_all(&hello);
                held.push(stream);
            }
            _ => trickling.push(stream),
        }
    }
    println!("{count}");
    let mut sent = 0;
    while !ended(Duration::from_secs(1)) {
        for stream in &mut trickling {
            let _ = stream.write_all(hello.get(sent..=sent).unwrap_or_default());
        }
        sent += 1;
    }
    println!("{}", held.len() + trickling.len());
}

fn readers(address: SocketAddr, count: usize, certs: &Path, ended: impl Fn(Duration) -> bool) {
    let clients = Clients::new(address, certs);
    let mut streams: Vec<_> = (0..count)
        .map(|_| {
            let mut client = clients.connect_to(NAME);
            let _ = SockRef::from(&client.sock).set_recv_buffer_size(4096);
            client
                .write_all(&[DOWN])
                .and_then(|()| client.write_all(&u64::MAX.to_le_bytes()))
                .expect("a request");
            client.sock
        })
        .collect();
    println!("{count}");
    let mut read = 0;
    while !ended(Duration::from_secs(1)) {
        for stream in &mut streams {
            read += stream.read(&mut [0]).unwrap_or(0);
        }
    }
    println!("{read}");
}

fn seated(address: SocketAddr, count: usize, certs: &Path, ended: impl Fn(Duration) -> bool) {
    let clients = Clients::new(address, certs);
    let mut streams: Vec<_> = (0..count).map(|_| clients.established()).collect();
    println!("{count}");
    while !ended(Duration::from_secs(1)) {
        for client in streams.iter_mut().step_by(100) {
            client
                .write_all(b"x")
                .and_then(|()| client.read_exact(&mut [0]))
                .expect("a byte there and back");
        }
    }
}

/// A socket that connects, without waiting for it.
fn knock(address: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.set_nonblocking(true).ok()?;
    // An error says that it is under way.
    let _ = socket.connect(&address.into());
    Some(socket.into())
}

/// Whether the other side has closed it.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 256]) {
        Ok(len) => len == 0,
        Err(error) => !matches!(
            error.kind(),
            ErrorKind::WouldBlock | ErrorKind::NotConnected
        ),
    }
}

fn knocking(address: SocketAddr, count: usize, ended: impl Fn(Duration) -> bool) {
    const HEAD: &[u8] = b"GET /status HTTP/1.1\r\nHost: localhost\r\nX: ";
    let mut streams: Vec<_> = (0..count).map(|_| (knock(address), 0)).collect();
    println!("{count}");
    let mut dropped = 0_u64;
    while !ended(Duration::from_millis(50)) {
        for (n, (stream, sent)) in streams.iter_mut().enumerate() {
            if stream.as_mut().is_none_or(is_closed) {
                dropped += 1;
                (*stream, *sent) = (knock(address), 0);
            } else if let Some(stream) = stream.as_mut().filter(|_| n % 2 == 1) {
                let next = [*HEAD.get(*sent).unwrap_or(&b'x')];
                *sent += usize::from(stream.write_all(&next).is_ok());
            }
        }
    }
    println!("{dropped}");
}

/// Keeps `count` handshakes under way, all from one address.
fn flood(address: SocketAddr, count: usize, certs: &Path, ended: impl Fn(Duration) -> bool) {
    let hello = hello(Clients::new(address, certs).config(), NAME);
    println!("ready");
    let began = Instant::now();
    let mut answered = 0_u64;
    while !ended(Duration::ZERO) {
        let under_way: Vec<_> = (0..count)
            .map(|_| {
                let mut stream = dial(address, Ipv4Addr::new(127, 66, 66, 66));
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                let _ = stream.write_all(&hello);
                stream
            })
            .collect();
        for mut stream in under_way {
            answered += u64::from(stream.read(&mut [0; 4096]).is_ok_and(|len| len > 0));
        }
    }
    println!("{:.0}", answered as f64 / began.elapsed().as_secs_f64());
}
