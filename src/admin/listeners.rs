//! The listening sockets of the admin side, and their accept loops.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::sleep;

use super::Handle;
use super::auth::Auth;
use super::places::{self, Places};
use super::serve::{AdminService, Probes};
use crate::listener::cannot_listen;
use crate::listener::unix::{self, Access, SocketFile};
use crate::snapshot::admin::{AdminListen, AdminSettings, Token};

const BACKLOG: i32 = 128;

/// The pause after a failed accept, which happens when descriptors run out.
const PAUSE: Duration = Duration::from_millis(100);

/// The admin side's sockets, which listen but are not served yet.
#[derive(Debug, Default)]
pub struct AdminListeners {
    admin: Option<AdminListener>,
    metrics: Option<StdTcpListener>,
}

#[derive(Debug)]
enum AdminListener {
    Unix(StdUnixListener, SocketFile, String),
    Tcp(StdTcpListener, Token),
}

impl AdminListeners {
    /// Listens where the settings say; else one sentence, with the way out where there is one.
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
                let place = format!("unix:{}", path.display());
                let (listener, file) = unix::listen(path, access, BACKLOG)
                    .map_err(|error| cannot_listen(&place, &error))?;
                Some(AdminListener::Unix(listener, file, place))
            }
        };
        Ok(Self {
            admin,
            metrics: settings.metrics.map(tcp).transpose()?,
        })
    }

    /// The addresses listened on, each with a word for what is there.
    pub fn addresses(&self) -> Vec<(&'static str, String)> {
        let local = |listener: &StdTcpListener| listener.local_addr().map(|a| a.to_string()).ok();
        let admin = self.admin.as_ref().and_then(|service| match service {
            AdminListener::Unix(.., place) => Some(place.clone()),
            AdminListener::Tcp(listener, _) => local(listener),
        });
        let metrics = self.metrics.as_ref().and_then(local);
        let admin = admin.map(|address| ("admin", address));
        admin
            .into_iter()
            .chain(metrics.map(|address| ("metrics", address)))
            .collect()
    }

    /// How many descriptors all of this may take: of each listener itself, whom it serves, and one that it
    /// has accepted and looks for a place for.
    pub const fn descriptors(&self) -> usize {
        (self.admin.is_some() as usize + self.metrics.is_some() as usize) * (places::ALL + 2)
    }

    /// Serves on this thread's runtime, until it ends. A unix socket's file goes with what is returned.
    pub fn open(self, control: &Handle, probes: &Probes) -> io::Result<Option<SocketFile>> {
        let service = |auth, control: Option<&Handle>| {
            Arc::new(AdminService {
                auth,
                probes: probes.clone(),
                control: control.cloned(),
            })
        };
        if let Some(listener) = self.metrics {
            let listener = Listener::Tcp(TcpListener::from_std(listener)?);
            tokio::spawn(listener.accept_loop(service(Auth::Open, None)));
        }
        let (listener, auth, file) = match self.admin {
            None => return Ok(None),
            Some(AdminListener::Unix(listener, file, _)) => {
                let listener = Listener::Unix(UnixListener::from_std(listener)?);
                (listener, Auth::File, Some(file))
            }
            Some(AdminListener::Tcp(listener, token)) => {
                let listener = Listener::Tcp(TcpListener::from_std(listener)?);
                (listener, Auth::Token(token), None)
            }
        };
        tokio::spawn(listener.accept_loop(service(auth, Some(control))));
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

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    async fn accept_loop(self, service: Arc<AdminService>) {
        let places = Places::default();
        loop {
            let accepted = match &self {
                Self::Unix(listener) => listener.accept().await.map(|(s, _)| Stream::Unix(s)),
                Self::Tcp(listener) => listener.accept().await.map(|(s, _)| Stream::Tcp(s)),
            };
            let Ok(stream) = accepted else {
                sleep(PAUSE).await;
                continue;
            };
            let place = places.take().await;
            let service = Arc::clone(&service);
            tokio::spawn(async move {
                match stream {
                    Stream::Unix(stream) => {
                        let peek = || first_byte(stream.as_fd());
                        let spoken = stream.async_io(Interest::READABLE, peek);
                        if place.has_spoken(spoken).await {
                            service.serve(stream, &place).await;
                        }
                    }
                    Stream::Tcp(stream) => {
                        let peek = || first_byte(stream.as_fd());
                        let spoken = stream.async_io(Interest::READABLE, peek);
                        if place.has_spoken(spoken).await {
                            service.serve(stream, &place).await;
                        }
                    }
                }
            });
        }
    }
}

/// Whether there is a byte to read, or the end of the stream. It is left where it is.
fn first_byte(socket: BorrowedFd<'_>) -> io::Result<()> {
    recv(socket, &mut [0], RecvFlags::PEEK)?;
    Ok(())
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}
