//! The listening sockets of the admin side, and their accept loops.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::Handle;
use super::gate::Gate;
use super::serve::{Door, Probes};
use super::settings::{AdminListen, AdminSettings, Token};
use crate::endpoint::cannot_listen;
use crate::endpoint::unix::{self, Access, SocketFile};

/// Connections of one listener at a time. They are apart from those of the endpoints, so that the
/// process can be asked what is going on when it is full.
const CONNECTIONS: usize = 32;

const BACKLOG: i32 = 128;

/// The pause after a failed accept, which happens when descriptors run out.
const PAUSE: Duration = Duration::from_millis(100);

/// The admin side's sockets, which listen but are not served yet.
#[derive(Debug, Default)]
pub struct Doors {
    admin: Option<AdminDoor>,
    metrics: Option<StdTcpListener>,
}

#[derive(Debug)]
enum AdminDoor {
    Unix(StdUnixListener, SocketFile, String),
    Tcp(StdTcpListener, Token),
}

impl Doors {
    /// Listens where the settings say; else one sentence, with the way out where there is one.
    pub fn bind(settings: &AdminSettings) -> Result<Self, String> {
        let admin = match &settings.listen {
            None => None,
            Some(AdminListen::Tcp { address, token }) => {
                Some(AdminDoor::Tcp(tcp(*address)?, token.clone()))
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
                Some(AdminDoor::Unix(listener, file, place))
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
        let admin = self.admin.as_ref().and_then(|door| match door {
            AdminDoor::Unix(.., place) => Some(place.clone()),
            AdminDoor::Tcp(listener, _) => local(listener),
        });
        let metrics = self.metrics.as_ref().and_then(local);
        let admin = admin.map(|address| ("admin", address));
        admin
            .into_iter()
            .chain(metrics.map(|address| ("metrics", address)))
            .collect()
    }

    /// How many descriptors all of this may take.
    pub const fn descriptors(&self) -> usize {
        (self.admin.is_some() as usize + self.metrics.is_some() as usize) * (CONNECTIONS + 1)
    }

    /// Serves on this thread's runtime, until it ends. A unix socket's file goes with what is returned.
    pub fn open(self, control: &Handle, probes: &Probes) -> io::Result<Option<SocketFile>> {
        let door = |gate, control: Option<&Handle>| {
            Arc::new(Door {
                gate,
                probes: probes.clone(),
                control: control.cloned(),
            })
        };
        if let Some(listener) = self.metrics {
            let listener = Listener::Tcp(TcpListener::from_std(listener)?);
            tokio::spawn(listener.accept_loop(door(Gate::Open, None)));
        }
        let (listener, gate, file) = match self.admin {
            None => return Ok(None),
            Some(AdminDoor::Unix(listener, file, _)) => {
                let listener = Listener::Unix(UnixListener::from_std(listener)?);
                (listener, Gate::File, Some(file))
            }
            Some(AdminDoor::Tcp(listener, token)) => {
                let listener = Listener::Tcp(TcpListener::from_std(listener)?);
                (listener, Gate::Token(token), None)
            }
        };
        tokio::spawn(listener.accept_loop(door(gate, Some(control))));
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
    async fn accept_loop(self, door: Arc<Door>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            // Only a closed semaphore refuses, and this one is never closed.
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            let door = Arc::clone(&door);
            let accepted = match &self {
                Self::Unix(listener) => {
                    let accepted = listener.accept().await;
                    accepted.map(|(stream, _)| begin(door, stream, permit))
                }
                Self::Tcp(listener) => {
                    let accepted = listener.accept().await;
                    accepted.map(|(stream, _)| begin(door, stream, permit))
                }
            };
            if accepted.is_err() {
                sleep(PAUSE).await;
            }
        }
    }
}

fn begin(
    door: Arc<Door>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    permit: OwnedSemaphorePermit,
) {
    tokio::spawn(async move {
        let _permit = permit;
        door.serve(stream).await;
    });
}
