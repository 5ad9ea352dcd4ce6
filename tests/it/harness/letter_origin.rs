//! Origins that identify themselves by a letter, and can be stopped and started again at the same address.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use socket2::{Domain, Socket, Type};

use super::{Proxy, Stream};

/// An origin that sends its letter on each connection and then echoes. Dropping it closes its listener and
/// its connections.
pub struct LetterOrigin {
    address: SocketAddr,
    listener: TcpListener,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    accepts: Arc<AtomicUsize>,
}

impl LetterOrigin {
    /// An origin on a free port.
    pub fn new(letter: char) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), letter)
    }

    /// Several origins on the same port, the n-th at 127.0.n.1.
    pub fn at_one_port(letters: &str) -> Vec<Self> {
        let address =
            |n: usize, port| SocketAddr::from(([127, 0, u8::try_from(n).unwrap(), 1], port));
        for _ in 0..50 {
            let first = Self::at(address(1, 0), letters.chars().next().unwrap());
            let port = first.address.port();
            let rest = letters.chars().enumerate().skip(1);
            let rest = rest.map(|(n, letter)| Self::try_at(address(n + 1, port), letter));
            if let Ok(rest) = rest.collect::<Result<Vec<_>, _>>() {
                return std::iter::once(first).chain(rest).collect();
            }
        }
        panic!("no port is free at all addresses");
    }

    #[track_caller]
    pub fn at(address: SocketAddr, letter: char) -> Self {
        Self::try_at(address, letter).unwrap()
    }

    fn try_at(address: SocketAddr, letter: char) -> std::io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        let listener = TcpListener::from(socket);
        let origin = Self {
            address: listener.local_addr()?,
            listener: listener.try_clone()?,
            streams: Arc::default(),
            accepts: Arc::default(),
        };
        let (streams, accepts) = (Arc::clone(&origin.streams), Arc::clone(&origin.accepts));
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                accepts.fetch_add(1, Ordering::SeqCst);
                streams.lock().unwrap().push(stream.try_clone().unwrap());
                thread::spawn(move || echo(stream, letter));
            }
        });
        Ok(origin)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn accepts(&self) -> usize {
        self.accepts.load(Ordering::SeqCst)
    }
}

fn echo(mut stream: TcpStream, letter: char) {
    let mut buf = vec![0; 4096];
    let mut sent = stream.write_all(letter.to_string().as_bytes());
    while sent.is_ok() {
        match stream.read(&mut buf) {
            Ok(len @ 1..) => sent = stream.write_all(&buf[..len]),
            _ => break,
        }
    }
    // Another clone of the stream keeps the socket open.
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

impl std::fmt::Display for LetterOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(f)
    }
}

impl Drop for LetterOrigin {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Proxy {
    /// Connects to the endpoint `forward`; returns the letter of the origin and the connection.
    pub fn try_letter(&self) -> Option<(char, Stream)> {
        let stream = Stream::dial(self.listen_addr("forward")).ok()?;
        let letter = stream.try_receive(1)?;
        Some((char::from(letter[0]), stream))
    }

    /// The letter of the origin that answers next.
    #[track_caller]
    pub fn letter(&self) -> char {
        self.try_letter().expect("an origin that answers").0
    }

    /// The letters of this many connections, made one after the other.
    #[track_caller]
    pub fn letters(&self, count: usize) -> String {
        (0..count).map(|_| self.letter()).collect()
    }
}
