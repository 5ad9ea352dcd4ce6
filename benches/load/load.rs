//! The workloads, and their cost for the proxy.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::machine;
use crate::origin::{DOWN, ECHO, NAME, UP, send};
use crate::peers::Running;

pub(crate) type Client = StreamOwned<ClientConnection, TcpStream>;

/// How many clients run in parallel.
pub(crate) const CLIENTS: u64 = 8;

pub(crate) enum Work {
    /// New connections, each with one byte there and back.
    Connections(u64),
    /// A stream from the origin, in MiB.
    Down(u64),
    /// A stream to the origin, in MiB.
    Up(u64),
    /// One byte there and back, repeatedly.
    PingPong(Duration),
    /// Idle connections.
    Idle(u64),
}

impl Work {
    pub(crate) fn all(mib: u64, connections: u64, idle: u64) -> [Self; 5] {
        [
            Self::Connections(connections),
            Self::Down(mib),
            Self::Up(mib),
            Self::PingPong(Duration::from_secs(3)),
            Self::Idle(idle),
        ]
    }

    /// The name of the measurement, with its unit.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Connections(_) => "connection, us",
            Self::Down(_) => "down, s/GiB",
            Self::Up(_) => "up, s/GiB",
            Self::PingPong(_) => "ping-pong, us",
            Self::Idle(_) => "idle, KiB",
        }
    }

    /// The cost of one unit: CPU of the proxy, or memory.
    pub(crate) fn measure(&self, proxy: &Running, dir: &Path) -> f64 {
        let clients = Clients::new(proxy.address, dir);
        // Work that happens once in the life of a process is not measured.
        clients.exchange();
        let before = machine::cpu(proxy.pid());
        let spent = || machine::cpu(proxy.pid()) - before;
        match self {
            Self::Connections(count) => {
                clients.at_once(|| (0..count / CLIENTS).for_each(|_| clients.exchange()));
                spent() * 1e6 / *count as f64
            }
            Self::Down(mib) => {
                clients.at_once(|| clients.down((mib << 20) / CLIENTS));
                spent() * 1024.0 / *mib as f64
            }
            Self::Up(mib) => {
                clients.at_once(|| clients.up((mib << 20) / CLIENTS));
                spent() * 1024.0 / *mib as f64
            }
            Self::PingPong(time) => {
                let count = AtomicU64::new(0);
                clients.at_once(|| {
                    count.fetch_add(clients.ping_pong(*time), Ordering::Relaxed);
                });
                spent() * 1e6 / count.into_inner() as f64
            }
            Self::Idle(count) => {
                let before = machine::memory(proxy.pid());
                let established: Vec<_> = (0..*count).map(|_| clients.established()).collect();
                let after = machine::memory(proxy.pid());
                drop(established);
                (after - before) / *count as f64
            }
        }
    }
}

pub(crate) struct Clients {
    address: SocketAddr,
    config: Arc<ClientConfig>,
}

impl Clients {
    pub(crate) fn new(address: SocketAddr, dir: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        for ca in CertificateDer::pem_file_iter(dir.join("ca.pem")).unwrap() {
            roots.add(ca.unwrap()).unwrap();
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Self {
            address,
            config: Arc::new(config),
        }
    }

    /// The same with this certificate.
    pub(crate) fn with_certificate(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).expect("a key");
        let certified = rustls::sign::CertifiedKey::new(chain, signer);
        config.client_auth_cert_resolver =
            Arc::new(rustls::sign::SingleCertAndKey::from(certified));
        Self {
            address: self.address,
            config: Arc::new(config),
        }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) const fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    fn connect(&self) -> Client {
        self.connect_to(NAME)
    }

    /// Connects with this name as SNI.
    pub(crate) fn connect_to(&self, name: &str) -> Client {
        self.try_connect_to(name).expect("the proxy accepts")
    }

    pub(crate) fn try_connect(&self) -> io::Result<Client> {
        self.try_connect_to(NAME)
    }

    fn try_connect_to(&self, name: &str) -> io::Result<Client> {
        let socket = TcpStream::connect(self.address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let conn = ClientConnection::new(Arc::clone(&self.config), name).expect("a client");
        Ok(StreamOwned::new(conn, socket))
    }

    pub(crate) fn established(&self) -> Client {
        self.try_established().expect("a byte there and back")
    }

    pub(crate) fn try_established(&self) -> io::Result<Client> {
        let mut client = self.try_connect()?;
        client.write_all(&[ECHO, b'x'])?;
        client.read_exact(&mut [0])?;
        Ok(client)
    }

    pub(crate) fn exchange(&self) {
        end(self.established());
    }

    pub(crate) fn try_exchange(&self) -> io::Result<()> {
        end(self.try_established()?);
        Ok(())
    }

    pub(crate) fn down(&self, len: u64) {
        let mut client = self.connect();
        client
            .write_all(&[DOWN])
            .and_then(|()| client.write_all(&len.to_le_bytes()))
            .expect("a request");
        let received = std::io::copy(&mut (&mut client).take(len), &mut std::io::sink());
        assert_eq!(received.expect("a stream"), len);
        end(client);
    }

    fn up(&self, len: u64) {
        let mut client = self.connect();
        client
            .write_all(&[UP])
            .and_then(|()| client.write_all(&len.to_le_bytes()))
            .expect("a request");
        send(&mut client, len).expect("a stream");
        client.read_exact(&mut [0]).expect("an answer");
        end(client);
    }

    fn ping_pong(&self, time: Duration) -> u64 {
        let mut client = self.established();
        let end = Instant::now() + time;
        let mut count = 0;
        while Instant::now() < end {
            client.write_all(b"x").expect("a byte there");
            client.read_exact(&mut [0]).expect("a byte back");
            count += 1;
        }
        count
    }

    pub(crate) fn at_once(&self, work: impl Fn() + Sync) {
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(&work);
            }
        });
    }
}

/// Ends with close_notify.
pub(crate) fn end(mut client: Client) {
    client.conn.send_close_notify();
    let _ = client.flush();
    let _ = client.sock.shutdown(std::net::Shutdown::Write);
    let _ = std::io::copy(&mut client.sock, &mut std::io::sink());
}
