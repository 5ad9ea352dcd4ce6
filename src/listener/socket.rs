//! The bound sockets of a listening address.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use socket2::SockRef;

use super::unix::{self, Access, SocketFile};
use crate::snapshot::{Endpoint, Listen};
use crate::sys;

/// How many connections with data in their SYN may wait to be accepted.
pub(super) const FAST_OPEN_QUEUE: i32 = 256;

/// Why a listening socket cannot be bound.
#[derive(Debug)]
pub struct BindError {
    /// The endpoint's name.
    pub endpoint: String,
    /// The error in one sentence, with a fix where there is one.
    pub message: String,
}

/// The sockets of one listening address.
#[derive(Debug)]
pub struct BoundSocket {
    /// The bound address, with the port that the kernel chose.
    pub address: String,
    /// Sockets with a queue each: for TCP one for each worker of the process that has bound them.
    pub sockets: Vec<OwnedFd>,
    /// Whether systemd passed them: they listen already, with the backlog of the socket unit.
    pub(super) inherited: bool,
    /// When they listen.
    pub(super) listens: Listens,
    /// The file of a unix socket, removed on drop.
    pub(super) file: Option<SocketFile>,
}

/// When sockets listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listens {
    /// Once their endpoint is prepared.
    OncePrepared,
    /// Once another process, which serves clients of their port, has stopped accepting.
    AfterTakeover,
    /// Already: that process has passed them.
    Already,
}

impl BoundSocket {
    /// When they listen.
    pub const fn listens(&self) -> Listens {
        self.listens
    }

    /// Every socket, each with the worker that accepts from it. Each worker gets one at least: if there are
    /// fewer sockets, workers share them.
    pub fn for_workers(&self, workers: usize) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let sockets = self.sockets.iter().map(AsFd::as_fd);
        let count = workers.max(self.sockets.len());
        sockets
            .cycle()
            .take(count)
            .enumerate()
            .map(move |(index, socket)| (index % workers, socket))
    }

    /// The descriptors that it takes, with those of this many workers, and those of a takeover.
    pub fn descriptors(&self, workers: usize) -> usize {
        workers.max(self.sockets.len()) + 2 * self.sockets.len()
    }

    /// The process that has passed it accepts no longer: the file of a unix socket is this process's.
    pub fn take_file(&mut self) {
        if let Some(file) = &mut self.file {
            file.remove_on_drop(true);
        }
    }

    /// Closes these descriptors. The sockets, and the file of a unix socket, stay for the process that they
    /// were passed to.
    pub fn release(mut self) {
        if let Some(file) = &mut self.file {
            file.remove_on_drop(false);
        }
    }

    /// Listens, or changes the backlog of a socket that listens. The kernel accepts clients from here on.
    pub fn listen(&self, endpoint: &Endpoint) -> Result<(), BindError> {
        if self.inherited {
            return Ok(());
        }
        let backlog = i32::try_from(endpoint.backlog).unwrap_or(i32::MAX);
        for socket in &self.sockets {
            rustix::net::listen(socket, backlog).map_err(|error| BindError {
                endpoint: endpoint.name.to_string(),
                message: format!("cannot listen on {}: {error}", self.address),
            })?;
        }
        Ok(())
    }

    /// The TCP address; `None` for a unix socket.
    pub fn tcp(&self) -> Option<SocketAddr> {
        let socket = SockRef::from(self.sockets.first()?);
        socket.local_addr().ok()?.as_socket()
    }

    /// Whether it is a TCP socket for IPv6 alone.
    pub fn is_only_v6(&self) -> bool {
        let socket = self.sockets.first().map(SockRef::from);
        socket.is_some_and(|socket| socket.only_v6().unwrap_or(false))
    }

    /// Closes these descriptors and removes the file of a unix socket, so that the workers' duplicates get no
    /// new connection. Returns whether they may still get those whose handshake has begun: sockets of systemd
    /// stay open elsewhere, and unix sockets have no handshake.
    pub(crate) fn stop_receiving_connections(self) -> bool {
        let is_own_tcp = !self.inherited && self.file.is_none();
        let mut sockets = self.sockets.iter();
        is_own_tcp && sockets.all(|s| sys::stop_receiving_connections(s.as_fd()).is_ok())
    }

    /// The path of a unix socket that we bound, and its device and inode.
    pub fn unix(&self) -> Option<(&Path, (u64, u64))> {
        self.file.as_ref()?.identity()
    }

    /// Applies the endpoint's current options to a socket that stays open over a reload.
    pub fn reapply_options(&mut self, endpoint: &Endpoint, listen: &Listen) -> io::Result<()> {
        if let Listen::Unix {
            permissions,
            owner,
            group,
            ..
        } = listen
        {
            let access = access(*permissions, owner, group);
            let file = self.file.as_mut();
            return file.map_or(Ok(()), |file| unix::set_access(file, access));
        }
        for socket in &self.sockets {
            let socket = SockRef::from(socket);
            // A socket of systemd may be a unix socket.
            if socket.local_addr()?.as_socket().is_some() {
                endpoint.tcp.reapply(&socket)?;
            }
        }
        if !self.inherited {
            let queue = if endpoint.fast_open {
                FAST_OPEN_QUEUE
            } else {
                0
            };
            for socket in &self.sockets {
                endpoint.tcp.resize_buffers(&SockRef::from(socket))?;
                sys::set_fast_open(socket.as_fd(), queue)?;
            }
        }
        Ok(())
    }
}

pub(super) fn access<'a>(
    permissions: u32,
    owner: &'a Option<String>,
    group: &'a Option<String>,
) -> Access<'a> {
    Access {
        permissions,
        owner: owner.as_deref(),
        group: group.as_deref(),
    }
}
