//! The listening sockets of the admin API, and their accept loops.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::auth::Auth;
use super::permits::{self, ConnPermits};
use super::request::Handle;
use super::serve::{AdminService, Probes};
use super::spare::Spare;
use crate::listener::cannot_listen;
use crate::listener::unix::{self, Access, SocketFile};
use crate::snapshot::admin::{AdminListen, AdminSettings, Token};

const BACKLOG: i32 = 128;

/// The pause after a failed accept, which happens when descriptors run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Failures to accept are logged at most once per this interval.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// The admin sockets, listening but not served yet.
#[derive(Debug)]
pub struct AdminListeners {
    admin: Option<AdminListener>,
    metrics: Option<StdTcpListener>,
    admin_permits: ConnPermits,
    metrics_permits: ConnPermits,
}

impl Default for AdminListeners {
    fn default() -> Self {
        Self {
            admin: None,
            metrics: None,
            admin_permits: ConnPermits::new("connections to the admin listener"),
            metrics_permits: ConnPermits::new("connections to the metrics listener"),
        }
    }
}

#[derive(Debug)]
enum AdminListener {
    Unix(StdUnixListener, SocketFile, String),
    Tcp(StdTcpListener, Token),
}

impl AdminListeners {
    /// Binds and listens as configured. The error is one sentence, with a hint where there is one.
    pub fn bind(settings: &AdminSettings) -> Result<Self, String> {
        let admin = match &settings.listen {
            None => None,
            Some(AdminListen::Tcp { address, token }) => {
                Some(AdminListener::Tcp(tcp(*address)?, token.clone()))
            }
            Some(AdminListen::Unix {
                path,
                permissions,
                owner,
                group,
            }) => {
                let access = Access {
                    permissions: *permissions,
                    owner: owner.as_deref(),
                    group: group.as_deref(),
                };
                let address = format!("unix:{}", path.display());
                let (listener, file) = unix::listen(path, access, BACKLOG)
                    .map_err(|error| cannot_listen(&address, &error))?;
                Some(AdminListener::Unix(listener, file, address))
            }
        };
        Ok(Self {
            admin,
            metrics: settings.metrics.map(tcp).transpose()?,
            ..Self::default()
        })
    }

    /// The permits of the listeners that there are, each with the word of its limit.
    pub fn permits(&self) -> impl Iterator<Item = (&'static str, ConnPermits)> {
        let admin = (
            "admin_connections",
            self.admin.is_some(),
            &self.admin_permits,
        );
        let is_there = self.metrics.is_some();
        let metrics = ("metrics_connections", is_there, &self.metrics_permits);
        [admin, metrics]
            .into_iter()
            .filter(|(_, is_there, _)| *is_there)
            .map(|(limit, _, permits)| (limit, permits.clone()))
    }

    /// The addresses listened on, each with the name of its listener.
    pub fn addresses(&self) -> Vec<(&'static str, String)> {
        let local = |listener: &StdTcpListener| listener.local_addr().map(|a| a.to_string()).ok();
        let admin = self.admin.as_ref().and_then(|service| match service {
            AdminListener::Unix(.., address) => Some(address.clone()),
            AdminListener::Tcp(listener, _) => local(listener),
        });
        let metrics = self.metrics.as_ref().and_then(local);
        let admin = admin.map(|address| ("admin", address));
        admin
            .into_iter()
            .chain(metrics.map(|address| ("metrics", address)))
            .collect()
    }

    /// The most descriptors that the admin sockets may take: each listener, its connections, one accepted
    /// connection that waits for a permit, and the spare one.
    pub const fn descriptors(&self) -> usize {
        (self.admin.is_some() as usize + self.metrics.is_some() as usize)
            * (permits::ALL_PERMITS + 3)
    }

    /// Serves on this thread's runtime until it ends. The returned guard removes a unix socket's file.
    pub fn open(self, control: &Handle, probes: &Probes) -> io::Result<Option<SocketFile>> {
        let service = |auth, control: Option<&Handle>| {
            Arc::new(AdminService {
                auth,
                probes: probes.clone(),
                control: control.cloned(),
            })
        };
        if let Some(listener) = self.metrics {
            let listener = AsyncListener::Tcp(TcpListener::from_std(listener)?);
            tokio::spawn(listener.accept_loop(service(Auth::Open, None), self.metrics_permits));
        }
        let (listener, auth, file) = match self.admin {
            None => return Ok(None),
            Some(AdminListener::Unix(listener, file, _)) => {
                let listener = AsyncListener::Unix(UnixListener::from_std(listener)?);
                (listener, Auth::File, Some(file))
            }
            Some(AdminListener::Tcp(listener, token)) => {
                let listener = AsyncListener::Tcp(TcpListener::from_std(listener)?);
                (listener, Auth::Token(token), None)
            }
        };
        tokio::spawn(listener.accept_loop(service(auth, Some(control)), self.admin_permits));
        Ok(file)
    }
}

fn tcp(address: SocketAddr) -> Result<StdTcpListener, String> {
    let listen = || {
        let listener = StdTcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|error| cannot_listen(&address.to_string(), &error))
}

enum AsyncListener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl AsyncListener {
    async fn accept_loop(self, service: Arc<AdminService>, permits: ConnPermits) {
        let mut warned: Option<Instant> = None;
        let spare = Spare::new();
        loop {
            let accepted = match &self {
                Self::Unix(listener) => listener.accept().await.map(|(s, _)| Stream::Unix(s)),
                Self::Tcp(listener) => listener.accept().await.map(|(s, _)| Stream::Tcp(s)),
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) if spare.replaces(&error) => continue,
                Err(error) => {
                    if warned.is_none_or(|at| at.elapsed() >= WARN_INTERVAL) {
                        let listener = service.name();
                        warn!(listener, %error, "accepting is paused on a listener of `admin`");
                        warned = Some(Instant::now());
                    }
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let permit = permits.take().await;
            let service = Arc::clone(&service);
            let spare = spare.clone();
            tokio::spawn(async move {
                // After the connection has closed its own.
                let _refill = spare.refill_on_drop();
                match stream {
                    Stream::Unix(stream) => {
                        let peek = || first_byte(stream.as_fd());
                        let first_byte = stream.async_io(Interest::READABLE, peek);
                        if permit.sends_first_byte(first_byte).await {
                            service.serve(stream, &permit).await;
                        }
                    }
                    Stream::Tcp(stream) => {
                        let peek = || first_byte(stream.as_fd());
                        let first_byte = stream.async_io(Interest::READABLE, peek);
                        if permit.sends_first_byte(first_byte).await {
                            service.serve(stream, &permit).await;
                        }
                    }
                }
            });
        }
    }
}

/// Whether a byte or the end of the stream can be read. The byte is not consumed.
fn first_byte(socket: BorrowedFd<'_>) -> io::Result<()> {
    recv(socket, &mut [0], RecvFlags::PEEK)?;
    Ok(())
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}
