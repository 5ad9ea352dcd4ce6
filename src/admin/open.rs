//! The admin sockets while they are served, and what a successor of this process takes of them.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use tokio::sync::oneshot;
use tracing::warn;

use crate::listener::unix::{self, Access, SocketFile};
use crate::snapshot::admin::AdminListen;
use crate::takeover::{Offered, Role};

/// The listeners that are served. Dropped, they accept no longer, and the file of a unix socket is removed.
#[derive(Debug, Default)]
pub struct OpenAdminListeners(Vec<OpenListener>);

#[derive(Debug)]
struct OpenListener {
    role: Role,
    /// Its address as configured.
    key: String,
    socket: OwnedFd,
    file: Option<SocketFile>,
    /// Its accept loop ends when this is dropped.
    _closing: oneshot::Sender<()>,
}

impl OpenAdminListeners {
    /// Adds a listener. The returned receiver ends when it is released.
    pub(super) fn add(
        &mut self,
        role: Role,
        key: String,
        socket: BorrowedFd<'_>,
        file: Option<SocketFile>,
    ) -> io::Result<oneshot::Receiver<()>> {
        let socket = socket.try_clone_to_owned()?;
        let (closing, closed) = oneshot::channel();
        let mut file = file;
        if let Some(file) = &mut file {
            file.remove_on_drop(true);
        }
        self.0.push(OpenListener {
            role,
            key,
            socket,
            file,
            _closing: closing,
        });
        Ok(closed)
    }

    /// Gives the file of the admin socket the configured owner and permissions: it may have been made by the
    /// process before this one.
    pub fn set_access(&mut self, listen: Option<&AdminListen>) {
        let Some(AdminListen::Unix {
            permissions,
            owner,
            group,
            ..
        }) = listen
        else {
            return;
        };
        let access = Access {
            permissions: *permissions,
            owner: owner.as_deref(),
            group: group.as_deref(),
        };
        for file in self.0.iter_mut().filter_map(|open| open.file.as_mut()) {
            if let Err(error) = unix::set_access(file, access) {
                warn!(%error, "cannot set the permissions of the admin socket");
            }
        }
    }

    /// The path of the admin socket, if it is a unix socket.
    pub fn path(&self) -> Option<&Path> {
        let mut files = self.0.iter().filter_map(|open| open.file.as_ref());
        files.find_map(|file| Some(file.identity()?.0))
    }

    /// The sockets for a process that takes over.
    pub fn offer(&self) -> io::Result<Vec<Offered>> {
        let offered = |open: &OpenListener| {
            Ok(Offered {
                role: open.role,
                key: open.key.clone(),
                address: open.key.clone(),
                file: open.file.as_ref().and_then(|file| Some(file.identity()?.1)),
                sockets: vec![open.socket.try_clone()?],
            })
        };
        self.0.iter().map(offered).collect()
    }

    /// Leaves the listeners with these roles to the process that has taken them. The others are served until
    /// the end.
    pub fn release(&mut self, taken: &[Role]) {
        for mut released in self.0.extract_if(.., |open| taken.contains(&open.role)) {
            if let Some(file) = &mut released.file {
                file.remove_on_drop(false);
            }
        }
    }
}
