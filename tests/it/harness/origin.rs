//! Origins in the process of the test, with the behaviour that it needs.

use std::fmt;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::server::WebPkiClientVerifier;
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion, crypto, version,
};
use socket2::{Domain, Socket, Type};

use super::identity::{Identity, pki};
use super::{End, ListenAddr, Port, Stream, eventually, queued};

/// A listening origin. It stops listening on drop.
pub struct Origin {
    place: ListenAddr,
    listener: OwnedFd,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    accepts: AtomicUsize,
    bytes: Arc<AtomicU64>,
    failed: Mutex<Vec<End>>,
}

/// The data and end of one connection, as the origin received them.
#[derive(Debug)]
pub struct Report {
    pub data: Vec<u8>,
    pub end: End,
}

/// The reaction of an origin to a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloReaction {
    Handshake,
    /// It sends these bytes and ends.
    Sends(&'static [u8]),
    Reset,
    /// It sends nothing and keeps the connection open.
    Silence,
}

type Screen = Arc<dyn Fn(&[u8]) -> HelloReaction + Send + Sync>;

/// A builder of an origin.
#[derive(Default)]
pub struct OriginBuilder {
    tls: Option<Identity>,
    alpn: Vec<Vec<u8>>,
    client_roots: Option<Arc<RootCertStore>>,
    version: Option<&'static SupportedProtocolVersion>,
    unix: Option<std::path::PathBuf>,
    hangs_up: usize,
    gate: Arc<Mutex<()>>,
    screen: Option<Screen>,
    tickets: bool,
}

impl OriginBuilder {
    /// Issues session tickets, also with TLS 1.2.
    pub fn ticketing(mut self) -> Self {
        self.tickets = true;
        self
    }

    /// Passes each ClientHello record to `screen` before the handshake begins.
    pub fn screening(
        mut self,
        screen: impl Fn(&[u8]) -> HelloReaction + Send + Sync + 'static,
    ) -> Self {
        self.screen = Some(Arc::new(screen));
        self
    }

    /// Accepts connections but does not serve them while the gate is locked.
    pub fn behind(mut self, gate: &Arc<Mutex<()>>) -> Self {
        self.gate = Arc::clone(gate);
        self
    }

    /// Closes the first `times` connections once they have sent data.
    pub fn hanging_up(mut self, times: usize) -> Self {
        self.hangs_up = times;
        self
    }

    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        self
    }

    /// Requires a certificate of the clients' CA.
    pub fn requiring_certificate(self) -> Self {
        self.requiring_certificate_of(pki().client_roots())
    }

    /// Requires a certificate of these CAs.
    pub fn requiring_certificate_of(mut self, roots: Arc<RootCertStore>) -> Self {
        self.client_roots = Some(roots);
        self
    }

    pub fn tls12(mut self) -> Self {
        self.version = Some(&version::TLS12);
        self
    }

    pub fn at(mut self, path: &Path) -> Self {
        self.unix = Some(path.to_owned());
        self
    }

    /// Listens, and runs `serve` on its own thread for every connection.
    pub fn serve(self, serve: impl Fn(Stream) + Send + Sync + 'static) -> Origin {
        let config = self.config();
        let counts = Arc::<Counts>::default();
        let serve = Arc::new(serve);
        let listener = Listener::open(self.unix.as_deref());
        let origin = Origin {
            place: listener.listen_addr(),
            listener: listener.descriptor(),
            counts: Arc::clone(&counts),
        };
        thread::spawn(move || {
            while let Some(stream) = listener.accept() {
                let earlier = counts.accepts.fetch_add(1, Ordering::SeqCst);
                if earlier < self.hangs_up {
                    let _ = stream.read();
                    continue;
                }
                let (serve, config, counts) =
                    (Arc::clone(&serve), config.clone(), Arc::clone(&counts));
                let gate = Arc::clone(&self.gate);
                let screen = self.screen.clone();
                thread::spawn(move || {
                    drop(gate.lock());
                    let stream = match screen {
                        Some(screen) => screened(stream, &*screen),
                        None => Some(stream),
                    };
                    let Some(stream) = stream else { return };
                    let stream = match config {
                        None => Ok(stream),
                        Some(config) => {
                            stream.handshake(ServerConnection::new(config).unwrap().into())
                        }
                    };
                    match stream {
                        Ok(stream) => serve(stream.metered(&counts.bytes)),
                        Err(end) => counts.failed.lock().unwrap().push(end),
                    }
                });
            }
        });
        origin
    }

    /// Echoes, and ends its direction once the client has.
    pub fn echo(self) -> Origin {
        self.serve(|stream| echo(&stream))
    }

    /// Reads everything, reports it, and then ends its own direction.
    pub fn reporting(self) -> (Origin, Receiver<Report>) {
        let (sender, reports) = channel();
        let sender = Mutex::new(sender);
        let origin = self.serve(move |stream| {
            let (data, end) = stream.receive_to_end();
            stream.end();
            let _ = sender.lock().unwrap().send(Report { data, end });
        });
        (origin, reports)
    }

    /// Neither sends nor reads, and keeps its connections open.
    pub fn silent(self) -> Origin {
        let streams = Mutex::new(Vec::new());
        self.serve(move |stream| streams.lock().unwrap().push(stream))
    }

    fn config(&self) -> Option<Arc<ServerConfig>> {
        let identity = self.tls.as_ref()?;
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let versions = match self.version {
            Some(version) => vec![version],
            None => vec![&version::TLS13, &version::TLS12],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .unwrap();
        let builder = match &self.client_roots {
            Some(roots) => {
                let roots = Arc::clone(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(identity.chain(), identity.private_key())
            .unwrap();
        config.alpn_protocols.clone_from(&self.alpn);
        if self.tickets {
            config.ticketer = crypto::aws_lc_rs::Ticketer::new().unwrap();
        }
        Some(Arc::new(config))
    }
}

impl Origin {
    pub fn plain() -> OriginBuilder {
        OriginBuilder::default()
    }

    /// An origin with this certificate.
    pub fn tls(identity: &Identity) -> OriginBuilder {
        OriginBuilder {
            tls: Some(identity.clone()),
            ..OriginBuilder::default()
        }
    }

    /// An origin with a valid certificate for `origin.test` and the server names of the tests.
    pub fn with_tls() -> OriginBuilder {
        Self::tls(&pki().origin(&["origin.test", "a.test", "b.test", "127.0.0.1"]))
    }

    pub fn echo() -> Self {
        Self::plain().echo()
    }

    pub fn listen_addr(&self) -> &ListenAddr {
        &self.place
    }

    /// How many connections were accepted.
    pub fn accepts(&self) -> usize {
        self.counts.accepts.load(Ordering::SeqCst)
    }

    /// The number of application bytes received.
    pub fn bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::SeqCst)
    }

    /// The number of failed TLS handshakes not yet taken by [`Origin::failed_handshake`].
    pub fn failed_handshakes(&self) -> usize {
        self.counts.failed.lock().unwrap().len()
    }

    /// How its next failed TLS handshake ended.
    pub fn failed_handshake(&self) -> End {
        let mut end = None;
        eventually("a handshake fails at the origin", || {
            end = self.counts.failed.lock().unwrap().pop();
            end.is_some()
        });
        end.unwrap()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // On Linux this ends a blocked accept.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

/// The stream of a client before its handshake. Its hello is in one record.
fn screened(stream: Stream, screen: &dyn Fn(&[u8]) -> HelloReaction) -> Option<Stream> {
    let mut hello = stream.try_receive(5)?;
    let len = usize::from(u16::from_be_bytes([hello[3], hello[4]]));
    hello.extend(stream.try_receive(len)?);
    match screen(&hello) {
        HelloReaction::Handshake => {
            stream.put_back(hello);
            return Some(stream);
        }
        HelloReaction::Sends(bytes) => {
            let _ = stream.try_send(bytes);
        }
        HelloReaction::Reset => stream.reset(),
        HelloReaction::Silence => drop(stream.receive_to_end()),
    }
    None
}

/// Echoes. After a clean end it ends cleanly, too.
pub fn echo(stream: &Stream) {
    loop {
        match stream.read() {
            Ok(data) if stream.try_send(&data).is_ok() => {}
            Err(End::Clean) => return stream.end(),
            _ => return,
        }
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, std::path::PathBuf),
}

impl Listener {
    fn open(unix: Option<&Path>) -> Self {
        match unix {
            Some(path) => Self::Unix(UnixListener::bind(path).unwrap(), path.to_owned()),
            None => Self::Tcp(TcpListener::bind("127.0.0.1:0").unwrap()),
        }
    }

    fn listen_addr(&self) -> ListenAddr {
        match self {
            Self::Tcp(listener) => ListenAddr::Tcp(listener.local_addr().unwrap()),
            Self::Unix(_, path) => ListenAddr::Unix(path.clone()),
        }
    }

    fn descriptor(&self) -> OwnedFd {
        let descriptor = match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener, _) => listener.as_fd(),
        };
        descriptor.try_clone_to_owned().unwrap()
    }

    fn accept(&self) -> Option<Stream> {
        match self {
            Self::Tcp(listener) => listener
                .accept()
                .ok()
                .map(|(stream, _)| Stream::tcp(stream)),
            Self::Unix(listener, _) => listener
                .accept()
                .ok()
                .map(|(stream, _)| Stream::unix(stream)),
        }
    }
}

/// An address that refuses connections while the port is reserved.
pub fn dead_address() -> (SocketAddr, Port) {
    let port = Port::reserve();
    (port.address(), port)
}

/// An address with a full accept queue, so that the kernel drops SYNs. It lasts as long as the returned
/// sockets.
pub fn blackhole() -> (SocketAddr, Vec<OwnedFd>) {
    blackhole_at(SocketAddr::from(([127, 0, 0, 1], 0)))
}

/// The same at an address of the caller's choice.
pub fn blackhole_at(address: SocketAddr) -> (SocketAddr, Vec<OwnedFd>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&address.into()).unwrap();
    // A queue of this length has room for one connection.
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let stream = TcpStream::connect(address).unwrap();
    eventually("the accept queue is full", || {
        queued(|local, _| local == address).1 > 0
    });
    (address, vec![socket.into(), stream.into()])
}
