//! The listening sockets of the admin API, and their accept loops.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::auth::{Auth, Peer};
use super::dashboard::{Feed, PAGES_MAX};
use super::open::OpenAdminListeners;
use super::permits::{self, ConnPermit, ConnPermits};
use super::refused::RefusedRequests;
use super::request::Handle;
use super::serve::{AdminService, Probes};
use super::spare::Spare;
use super::{successor, tls};
use crate::listener::cannot_listen;
use crate::listener::unix::{self, Access, SocketFile};
use crate::snapshot::admin::{AdminListen, AdminSettings, LiveAccess};
use crate::takeover::{Role, Taking};

const BACKLOG: i32 = 128;

/// The pause after a failed accept, which happens when descriptors run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Failures to accept are logged at most once per this interval.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// The admin sockets, listening but not served yet.
#[derive(Debug)]
pub struct AdminListeners {
    admin: Option<AdminListener>,
    metrics: Option<(StdTcpListener, SocketAddr)>,
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
    /// With the address of the configuration, whose port the kernel may have chosen.
    Tcp(StdTcpListener, SocketAddr, LiveAccess),
}

impl AdminListeners {
    /// Binds and listens as configured, or takes the sockets of the process that runs. The error is one
    /// sentence, with a hint where there is one.
    pub fn bind(settings: &AdminSettings, mut taking: Option<&mut Taking>) -> Result<Self, String> {
        let admin = match &settings.listen {
            None => None,
            Some(AdminListen::Tcp { address, access }) => {
                let listener = tcp(*address, Role::Admin, taking.as_deref_mut())?;
                let access = LiveAccess::new(*address, Arc::clone(access));
                Some(AdminListener::Tcp(listener, *address, access))
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
                let taken = taking.as_deref_mut().and_then(|taking| {
                    let file = unix::identity(path)?;
                    let offered = taking.take(Role::Admin, &address, Some(file)).pop()?;
                    Some(unix::taken(path, file).map(|file| (offered, file)))
                });
                let bound = match taken {
                    None => unix::listen(path, access, BACKLOG),
                    Some(taken) => taken.and_then(|(offered, file)| {
                        let socket = only(offered.sockets)?;
                        Ok((socket.into(), file))
                    }),
                };
                let (listener, file) = bound.map_err(|error| cannot_listen(&address, &error))?;
                Some(AdminListener::Unix(listener, file, address))
            }
        };
        Ok(Self {
            admin,
            metrics: match settings.metrics {
                Some(address) => Some((tcp(address, Role::Metrics, taking)?, address)),
                None => None,
            },
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
            AdminListener::Tcp(listener, ..) => local(listener),
        });
        let metrics = self
            .metrics
            .as_ref()
            .and_then(|(listener, _)| local(listener));
        let admin = admin.map(|address| ("admin", address));
        admin
            .into_iter()
            .chain(metrics.map(|address| ("metrics", address)))
            .collect()
    }

    /// Who may use the admin listener, if that is a TCP address.
    pub fn access(&self) -> Option<LiveAccess> {
        match &self.admin {
            Some(AdminListener::Tcp(_, _, access)) => Some(access.clone()),
            _ => None,
        }
    }

    /// The most descriptors that the admin sockets may take: each listener, one for a successor, its
    /// connections, one accepted connection that waits for a permit, and the spare one; and the open
    /// dashboards.
    pub const fn descriptors(&self) -> usize {
        let (admin, metrics) = (
            self.admin.is_some() as usize,
            self.metrics.is_some() as usize,
        );
        (admin + metrics) * (permits::ALL_PERMITS + 4) + admin * PAGES_MAX
    }

    /// Serves on this thread's runtime, until the returned listeners are released or the runtime ends.
    pub fn open(self, control: &Handle, probes: &Probes) -> io::Result<OpenAdminListeners> {
        let service = |auth, control: Option<&Handle>| {
            Arc::new(AdminService {
                auth,
                probes: probes.clone(),
                control: control.cloned(),
                feed: control.cloned().map(Feed::start),
                refused: RefusedRequests::new(),
            })
        };
        let mut open = OpenAdminListeners::default();
        if let Some((listener, address)) = self.metrics {
            let closing = open.add(Role::Metrics, address.to_string(), listener.as_fd(), None)?;
            let listener = AsyncListener::Tcp(TcpListener::from_std(listener)?);
            let service = service(Auth::Open, None);
            tokio::spawn(listener.accept_loop(service, self.metrics_permits, closing));
        }
        let (listener, auth, closing) = match self.admin {
            None => return Ok(open),
            Some(AdminListener::Unix(listener, file, address)) => {
                let closing = open.add(Role::Admin, address, listener.as_fd(), Some(file))?;
                let listener = AsyncListener::Unix(UnixListener::from_std(listener)?);
                (listener, Auth::File, closing)
            }
            Some(AdminListener::Tcp(listener, address, access)) => {
                let closing = open.add(Role::Admin, address.to_string(), listener.as_fd(), None)?;
                let listener = AsyncListener::Tcp(TcpListener::from_std(listener)?);
                (listener, Auth::Access(access), closing)
            }
        };
        let service = service(auth, Some(control));
        tokio::spawn(listener.accept_loop(service, self.admin_permits, closing));
        Ok(open)
    }
}

/// Binds and listens, or takes the socket with this role and address.
fn tcp(
    address: SocketAddr,
    role: Role,
    taking: Option<&mut Taking>,
) -> Result<StdTcpListener, String> {
    let taken = taking.and_then(|taking| taking.take(role, &address.to_string(), None).pop());
    let listen = || {
        if let Some(taken) = taken {
            return Ok(only(taken.sockets)?.into());
        }
        let listener = StdTcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|error: io::Error| cannot_listen(&address.to_string(), &error))
}

/// The one socket of an admin address.
fn only(mut sockets: Vec<OwnedFd>) -> io::Result<OwnedFd> {
    let socket = sockets.pop().filter(|_| sockets.is_empty());
    socket.ok_or_else(|| io::Error::other("the running process passes several sockets for it"))
}

enum AsyncListener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl AsyncListener {
    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(listener) => listener.accept().await.map(|(s, _)| Stream::Unix(s)),
            Self::Tcp(listener) => listener.accept().await.map(|(s, a)| Stream::Tcp(s, a)),
        }
    }

    /// Accepts and serves until the sender of `closing` is dropped.
    async fn accept_loop(
        self,
        service: Arc<AdminService>,
        permits: ConnPermits,
        mut closing: oneshot::Receiver<()>,
    ) {
        let mut warned: Option<Instant> = None;
        let spare = Spare::new();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = &mut closing => return,
                accepted = self.accept() => accepted,
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
                    Stream::Unix(stream) => on_unix(stream, &service, &permit).await,
                    Stream::Tcp(stream, peer) => on_tcp(stream, peer, &service, &permit).await,
                }
            });
        }
    }
}

async fn on_unix(stream: UnixStream, service: &AdminService, permit: &ConnPermit) {
    let peek = || first_byte(stream.as_fd());
    let first_byte = stream.async_io(Interest::READABLE, peek);
    match permit.sends_first_byte(first_byte).await {
        Some(Some(0)) => successor::serve(stream, service, permit).await,
        Some(_) => {
            let peer = Peer::Unix(stream.peer_cred().ok().map(|peer| peer.uid()));
            service.serve(stream, permit, &peer).await;
        }
        None => {}
    }
}

async fn on_tcp(
    stream: TcpStream,
    address: SocketAddr,
    service: &AdminService,
    permit: &ConnPermit,
) {
    let peek = || first_byte(stream.as_fd());
    let first_byte = stream.async_io(Interest::READABLE, peek);
    let Some(first_byte) = permit.sends_first_byte(first_byte).await else {
        return;
    };
    let access = match &service.auth {
        Auth::Access(access) => Some(access.load()),
        Auth::Open | Auth::File => None,
    };
    let tls = access.as_ref().and_then(|access| access.tls.as_ref());
    let Some(tls) = tls else {
        let peer = Peer::tcp(address, access, None);
        return service.serve(stream, permit, &peer).await;
    };
    if first_byte != Some(tls::HANDSHAKE) {
        return tls::refuse_plain_text(stream, permit).await;
    }
    if let Some((stream, certificate)) = tls::accept(stream, tls, permit).await {
        let peer = Peer::tcp(address, access, certificate);
        service.serve(stream, permit, &peer).await;
    }
}

/// The first byte, or `None` at the end of the stream. It is not consumed.
fn first_byte(socket: BorrowedFd<'_>) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let (len, _) = recv(socket, &mut byte, RecvFlags::PEEK)?;
    Ok((len > 0).then_some(byte[0]))
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream, SocketAddr),
}
