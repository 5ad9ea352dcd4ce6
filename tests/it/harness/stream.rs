//! A connection in a test: data and its end, plain or TLS, of either role.

mod receiving;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use rustls::{Connection, Error, HandshakeKind};
use socket2::{Domain, SockRef, Type};

use super::{ListenAddr, TIMEOUT};

/// How a stream stopped being readable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// FIN on a plain stream, close_notify on a TLS one.
    Clean,
    /// FIN on a TLS stream without close_notify.
    Truncated,
    /// A TCP reset.
    Reset,
    /// A TLS alert with this code.
    Alert(u8),
    /// A TLS error of rustls.
    Broken(String),
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

struct Tls {
    conn: Connection,
    /// Decrypted bytes that were not read yet.
    plain: Vec<u8>,
    end: Option<End>,
}

impl Tls {
    /// Processes bytes from the peer.
    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.end.is_none() {
            if let Err(error) = self.conn.read_tls(&mut bytes) {
                self.end = Some(End::Broken(error.to_string()));
                return;
            }
            match self.conn.process_new_packets() {
                Ok(state) if state.peer_has_closed() => self.end = Some(End::Clean),
                Ok(_) => {}
                Err(Error::AlertReceived(alert)) => self.end = Some(End::Alert(alert.into())),
                Err(error) => self.end = Some(End::Broken(error.to_string())),
            }
            let mut buf = [0; 16 * 1024];
            while let Ok(len @ 1..) = self.conn.reader().read(&mut buf) {
                self.plain.extend_from_slice(&buf[..len]);
            }
        }
    }
}

struct Shared {
    socket: Socket,
    tls: Option<Mutex<Tls>>,
    /// Locked while records are written, so that they are sent in sequence.
    writing: Mutex<()>,
    /// Bytes received beyond those read.
    surplus: Mutex<Vec<u8>>,
    received: Arc<AtomicU64>,
    /// Our address when the connection was made.
    local: Option<SocketAddr>,
}

/// A connection. Clones share it, so that one thread can send while another receives.
#[derive(Clone)]
pub struct Stream(Arc<Shared>);

impl Stream {
    pub fn dial(place: &ListenAddr) -> io::Result<Self> {
        match place {
            ListenAddr::Tcp(address) => connect(address).map(Self::tcp),
            ListenAddr::Unix(path) => UnixStream::connect(path).map(Self::unix),
        }
    }

    /// Dials from another address of this machine.
    #[track_caller]
    pub fn dial_from(source: &str, place: &ListenAddr) -> Self {
        let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let source: SocketAddr = format!("{source}:0").parse().unwrap();
        socket.bind(&source.into()).unwrap();
        socket.connect(&place.tcp().into()).unwrap();
        Self::tcp(socket.into())
    }

    pub fn tcp(stream: TcpStream) -> Self {
        // This fails if the peer has reset the connection already.
        let _ = stream.set_nodelay(true);
        Self::new(Socket::Tcp(stream), None, Arc::default())
    }

    pub fn unix(stream: UnixStream) -> Self {
        Self::new(Socket::Unix(stream), None, Arc::default())
    }

    fn new(socket: Socket, tls: Option<Tls>, received: Arc<AtomicU64>) -> Self {
        let local = match &socket {
            Socket::Tcp(stream) => stream.local_addr().ok(),
            Socket::Unix(_) => None,
        };
        let stream = Self(Arc::new(Shared {
            local,
            socket,
            tls: tls.map(Mutex::new),
            writing: Mutex::default(),
            surplus: Mutex::default(),
            received,
        }));
        let socket = SockRef::from(&stream.0.socket);
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        socket.set_write_timeout(Some(TIMEOUT)).unwrap();
        stream
    }

    /// Counts the application bytes received in `meter`.
    pub fn metered(self, meter: &Arc<AtomicU64>) -> Self {
        let shared = self.into_shared();
        Self::new(
            shared.socket,
            shared.tls.map(|tls| tls.into_inner().unwrap()),
            Arc::clone(meter),
        )
    }

    /// Performs the TLS handshake of `conn` over this plain stream.
    pub fn handshake(self, conn: Connection) -> Result<Self, End> {
        let shared = self.into_shared();
        // Bytes read beyond the plain data belong to TLS.
        let begun = shared.surplus.into_inner().unwrap();
        let stream = Self::new(
            shared.socket,
            Some(Tls {
                conn,
                plain: Vec::new(),
                end: None,
            }),
            shared.received,
        );
        stream.tls(|tls| tls.feed(&begun));
        while stream.tls(|tls| tls.conn.is_handshaking()) {
            stream.flush().map_err(|e| stream.end_of(&e))?;
            if !stream.tls(|tls| tls.conn.is_handshaking()) {
                break;
            }
            if let Err(end) = stream.read_records() {
                // The alert for the peer.
                let _ = stream.flush();
                return Err(end);
            }
            // An end behind the last flight is left for the reader.
            let ended = stream.tls(|tls| tls.end.clone().filter(|_| tls.conn.is_handshaking()));
            if let Some(end) = ended {
                let _ = stream.flush();
                return Err(end);
            }
        }
        stream.flush().map_err(|e| stream.end_of(&e))?;
        Ok(stream)
    }

    fn into_shared(self) -> Shared {
        Arc::into_inner(self.0).expect("no clone of this stream exists yet")
    }

    fn tls<T>(&self, access: impl FnOnce(&mut Tls) -> T) -> T {
        let tls = self.0.tls.as_ref().expect("a TLS stream");
        access(&mut tls.lock().unwrap())
    }

    pub fn local(&self) -> SocketAddr {
        self.0.local.expect("a unix socket has no address")
    }

    pub fn alpn(&self) -> Option<String> {
        self.tls(|tls| {
            tls.conn
                .alpn_protocol()
                .map(|protocol| String::from_utf8_lossy(protocol).into_owned())
        })
    }

    /// The key exchange group.
    pub fn group(&self) -> String {
        let group = self.tls(|tls| tls.conn.negotiated_key_exchange_group());
        group.map_or_else(String::new, |group| format!("{:?}", group.name()))
    }

    pub fn is_resumed(&self) -> bool {
        self.tls(|tls| tls.conn.handshake_kind()) == Some(HandshakeKind::Resumed)
    }

    /// The peer's certificate in DER.
    pub fn peer_certificate(&self) -> Option<Vec<u8>> {
        self.tls(|tls| {
            tls.conn
                .peer_certificates()
                .and_then(|chain| chain.first().map(|c| c.to_vec()))
        })
    }

    /// The server name that the client sent; for an origin's streams.
    pub fn server_name(&self) -> Option<String> {
        self.tls(|tls| match &tls.conn {
            Connection::Server(conn) => conn.server_name().map(str::to_owned),
            Connection::Client(_) => None,
        })
    }

    /// Sends all bytes.
    #[track_caller]
    pub fn send(&self, data: impl AsRef<[u8]>) {
        self.try_send(data).unwrap();
    }

    pub fn try_send(&self, data: impl AsRef<[u8]>) -> io::Result<()> {
        let Some(tls) = &self.0.tls else {
            return self.write_raw(data.as_ref());
        };
        for chunk in data.as_ref().chunks(16 * 1024) {
            let _turn = self.0.writing.lock().unwrap();
            let mut records = Vec::new();
            let mut tls = tls.lock().unwrap();
            tls.conn.writer().write_all(chunk)?;
            take_records(&mut tls.conn, &mut records);
            drop(tls);
            self.write_raw(&records)?;
        }
        Ok(())
    }

    /// Encodes `data` in records of `len` bytes, to be written in the order of encoding.
    pub fn records(&self, data: &[u8], len: usize) -> Vec<u8> {
        let mut records = Vec::new();
        self.tls(|tls| {
            for part in data.chunks(len) {
                tls.conn.writer().write_all(part).unwrap();
                take_records(&mut tls.conn, &mut records);
            }
        });
        records
    }

    /// Encodes this many key updates, to be written in the order of encoding.
    pub fn key_updates(&self, count: usize) -> Vec<u8> {
        let mut records = Vec::new();
        self.tls(|tls| {
            for _ in 0..count {
                tls.conn.refresh_traffic_keys().unwrap();
                take_records(&mut tls.conn, &mut records);
            }
        });
        records
    }

    /// Sends `data` in records of `len` bytes, and then this many key updates.
    pub fn send_in_records(&self, data: &[u8], len: usize, key_updates: usize) {
        let _turn = self.0.writing.lock().unwrap();
        let mut records = self.records(data, len);
        records.extend(self.key_updates(key_updates));
        self.write_raw(&records).unwrap();
    }

    /// Writes bytes to the socket without TLS.
    pub fn write_raw(&self, data: &[u8]) -> io::Result<()> {
        match &self.0.socket {
            Socket::Tcp(stream) => (&*stream).write_all(data),
            Socket::Unix(stream) => (&*stream).write_all(data),
        }
    }

    fn read_raw(&self, buf: &mut [u8]) -> io::Result<usize> {
        match &self.0.socket {
            Socket::Tcp(stream) => (&*stream).read(buf),
            Socket::Unix(stream) => (&*stream).read(buf),
        }
    }

    /// Sends pending TLS bytes that are not data.
    fn flush(&self) -> io::Result<()> {
        let _turn = self.0.writing.lock().unwrap();
        let mut records = Vec::new();
        self.tls(|tls| take_records(&mut tls.conn, &mut records));
        self.write_raw(&records)
    }

    /// Ends our direction cleanly: close_notify if the stream has TLS, then FIN.
    pub fn end(&self) {
        if self.0.tls.is_some() {
            self.close_notify();
        }
        self.fin();
    }

    /// Sends close_notify alone.
    pub fn close_notify(&self) {
        self.tls(|tls| tls.conn.send_close_notify());
        let _ = self.flush();
    }

    /// Sends FIN alone: on a TLS stream that is a truncation.
    pub fn fin(&self) {
        let _ = SockRef::from(&self.0.socket).shutdown(Shutdown::Write);
    }

    /// Ends with a reset. The bytes sent before have left already, if the peer's window was open.
    pub fn reset(self) {
        SockRef::from(&self.0.socket)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
        assert_eq!(
            Arc::strong_count(&self.0),
            1,
            "a clone keeps the socket open"
        );
    }

    /// Ends with a reset once all clones are dropped; their reads end at once.
    pub fn abort(&self) {
        let socket = SockRef::from(&self.0.socket);
        socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
        // This fails if the peer has reset before.
        let _ = socket.shutdown(Shutdown::Read);
    }

    /// Fixes the size of the receive buffer, so that a slow reader soon causes back-pressure. It must hold
    /// several of loopback's segments of 64 KiB: with less, the kernel drops segments, and its timers turn
    /// a download into minutes.
    pub fn with_small_window(self) -> Self {
        SockRef::from(&self.0.socket)
            .set_recv_buffer_size(128 * 1024)
            .unwrap();
        self
    }
}

/// Connects. If a peer resets at once, the reset may arrive before connect(2) has returned; then another
/// connection is made.
fn connect(address: &SocketAddr) -> io::Result<TcpStream> {
    for _ in 0..8 {
        match TcpStream::connect(address) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            result => return result,
        }
    }
    TcpStream::connect(address)
}

fn take_records(conn: &mut Connection, records: &mut Vec<u8>) {
    while conn.wants_write() {
        conn.write_tls(records).unwrap();
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}
