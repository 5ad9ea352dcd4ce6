//! Binds the listening sockets of an endpoint, one for each worker.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket, Type};

use super::unix::{self, Access, SocketFile};
use crate::snapshot::{Endpoint, Listen};
use crate::sys;

/// The first descriptor that systemd passes (sd_listen_fds(3)).
const LISTEN_FDS_START: i32 = 3;

/// How many connections with data in their SYN may wait to be accepted.
const FAST_OPEN_QUEUE: i32 = 256;

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
    /// One socket per worker; for a unix socket, one descriptor of the same socket per worker.
    pub sockets: Vec<OwnedFd>,
    /// Whether systemd passed them: they listen already, with the backlog of the socket unit.
    inherited: bool,
    /// The file of a unix socket, removed on drop.
    file: Option<SocketFile>,
}

impl BoundSocket {
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

/// Which ports this process already listens on while it binds.
#[derive(Clone, Copy, Debug)]
pub enum ProbePolicy<'a> {
    /// None: the process starts.
    Nothing,
    /// These: the process reloads.
    Ports(&'a HashSet<u16>),
}

/// Binds one listening address of an endpoint, with one socket per worker; none listens yet.
pub fn bind(
    endpoint: &Endpoint,
    listen: &Listen,
    workers: usize,
    probe: ProbePolicy<'_>,
) -> Result<Vec<BoundSocket>, BindError> {
    bind_one(endpoint, listen, workers, probe).map_err(|error| BindError {
        endpoint: endpoint.name.to_string(),
        message: explain(listen, &error),
    })
}

fn bind_one(
    endpoint: &Endpoint,
    listen: &Listen,
    workers: usize,
    probe: ProbePolicy<'_>,
) -> io::Result<Vec<BoundSocket>> {
    let probes = |port| match probe {
        ProbePolicy::Nothing => true,
        // Our own socket on this port would make the probe fail, though both can listen.
        ProbePolicy::Ports(ports) => !ports.contains(&port),
    };
    let bound = match listen {
        Listen::Address(address) => bind_tcp(endpoint, *address, workers, probes(address.port()))?,
        Listen::Everywhere(port) => bind_everywhere(endpoint, *port, workers, probes(*port))?,
        Listen::Unix {
            path,
            permissions,
            owner,
            group,
        } => bind_unix(path, access(*permissions, owner, group), workers)?,
        Listen::Systemd(name) => match probe {
            ProbePolicy::Nothing => return take_systemd(endpoint, name, workers),
            ProbePolicy::Ports(_) => {
                return Err(io::Error::other(
                    "systemd passes sockets only when the process starts; restart it",
                ));
            }
        },
    };
    Ok(vec![bound])
}

fn access<'a>(
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

fn explain(listen: &Listen, error: &io::Error) -> String {
    let address = match listen {
        Listen::Address(address) => address.to_string(),
        Listen::Everywhere(port) => format!("*:{port}"),
        Listen::Unix { path, .. } => format!("unix:{}", path.display()),
        Listen::Systemd(name) => format!("systemd:{name}"),
    };
    endpoint_cannot_listen(&address, error)
}

/// The same for an endpoint, which also takes sockets from systemd.
pub(super) fn endpoint_cannot_listen(address: &str, error: &io::Error) -> String {
    let mut message = cannot_listen(address, error);
    if Errno::from_io_error(error) == Some(Errno::ACCESS) && !address.starts_with("unix:") {
        message.push_str(", or a socket that systemd opens (`listen: systemd:NAME`)");
    }
    message
}

/// The error message for an address that cannot be listened on, with a fix where there is one.
pub fn cannot_listen(address: &str, error: &io::Error) -> String {
    let help = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::ADDRINUSE) => {
            "another process listens there; stop it, or choose another address".to_owned()
        }
        Some(Errno::ACCESS) if !address.starts_with("unix:") => {
            let port = address.rsplit(':').next().unwrap_or_default();
            format!(
                "ports below 1024 need a right that this process does not have: the capability \
                 CAP_NET_BIND_SERVICE (AmbientCapabilities= of the unit, or setcap on the program), or \
                 `sysctl net.ipv4.ip_unprivileged_port_start={port}`"
            )
        }
        Some(Errno::ADDRNOTAVAIL) => "this machine does not have that address".to_owned(),
        _ => error.to_string(),
    };
    format!("cannot listen on {address}: {help}")
}

/// SO_REUSEPORT gives each worker its own accept queue, but it would also let a second process of the same
/// user silently take half of the clients. So the address is first bound without it, which fails if another
/// socket listens there.
fn bind_tcp(
    endpoint: &Endpoint,
    address: SocketAddr,
    workers: usize,
    probes: bool,
) -> io::Result<BoundSocket> {
    let bound = if probes {
        let probe = tcp_socket(endpoint, address)?;
        probe.bind(&address.into())?;
        probe.listen(1)?;
        local(&probe)?
    } else {
        address
    };
    let sockets = (0..workers)
        .map(|_| {
            let socket = tcp_socket(endpoint, bound)?;
            socket.set_reuse_port(true)?;
            socket.bind(&bound.into())?;
            Ok(socket.into())
        })
        .collect::<io::Result<_>>()?;
    Ok(BoundSocket {
        address: bound.to_string(),
        sockets,
        inherited: false,
        file: None,
    })
}

/// Binds both address families on one socket, or IPv4 alone on a machine without IPv6.
fn bind_everywhere(
    endpoint: &Endpoint,
    port: u16,
    workers: usize,
    probes: bool,
) -> io::Result<BoundSocket> {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match bind_dual(endpoint, both, workers, probes) {
        Ok(mut bound) => {
            bound.address = bound.address.replace("[::]", "*");
            Ok(bound)
        }
        Err(error) if has_no_ipv6(&error) => {
            let all = (Ipv4Addr::UNSPECIFIED, port).into();
            bind_tcp(endpoint, all, workers, probes)
        }
        Err(error) => Err(error),
    }
}

fn has_no_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
    )
}

fn bind_dual(
    endpoint: &Endpoint,
    both: SocketAddr,
    workers: usize,
    probes: bool,
) -> io::Result<BoundSocket> {
    let make = |address: SocketAddr, reuse_port: bool| -> io::Result<Socket> {
        let socket = tcp_socket(endpoint, address)?;
        socket.set_only_v6(false)?;
        if reuse_port {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&address.into())?;
        Ok(socket)
    };
    let bound = if probes {
        let probe = make(both, false)?;
        probe.listen(1)?;
        local(&probe)?
    } else {
        both
    };
    let sockets = (0..workers)
        .map(|_| make(bound, true).map(OwnedFd::from))
        .collect::<io::Result<_>>()?;
    Ok(BoundSocket {
        address: bound.to_string(),
        sockets,
        inherited: false,
        file: None,
    })
}

fn tcp_socket(endpoint: &Endpoint, address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Connections in TIME_WAIT must not delay a restart.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    endpoint.tcp.apply(&SockRef::from(&socket))?;
    endpoint.tcp.size_buffers(&SockRef::from(&socket))?;
    if endpoint.fast_open {
        sys::set_fast_open(socket.as_fd(), FAST_OPEN_QUEUE)?;
    }
    Ok(socket)
}

fn local(socket: &Socket) -> io::Result<SocketAddr> {
    socket
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// A unix socket has one accept queue; every worker gets a descriptor of it.
fn bind_unix(path: &Path, access: Access<'_>, workers: usize) -> io::Result<BoundSocket> {
    let (listener, file) = unix::bind(path, access)?;
    Ok(BoundSocket {
        address: format!("unix:{}", path.display()),
        sockets: duplicates(&listener, workers)?,
        inherited: false,
        file: Some(file),
    })
}

/// The sockets that systemd passes under `name` (sd_listen_fds(3)); a unit may have several.
fn take_systemd(endpoint: &Endpoint, name: &str, workers: usize) -> io::Result<Vec<BoundSocket>> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let ours = variable("LISTEN_PID") == std::process::id().to_string();
    let count = variable("LISTEN_FDS").parse().unwrap_or(0);
    let names = variable("LISTEN_FDNAMES");
    let found: Vec<_> = (LISTEN_FDS_START..)
        .zip(names.split(':'))
        .take(if ours { count } else { 0 })
        .filter(|(_, passed)| *passed == name)
        .map(|(fd, _)| take_inherited(endpoint, name, fd, workers))
        .collect::<io::Result<_>>()?;
    if found.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!(
                "systemd passes no socket of that name; set FileDescriptorName={name} in the socket unit"
            ),
        ));
    }
    Ok(found)
}

fn take_inherited(
    endpoint: &Endpoint,
    name: &str,
    fd: i32,
    workers: usize,
) -> io::Result<BoundSocket> {
    let socket = Socket::from(sys::inherited(fd)?);
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?.as_socket();
    if address.is_some() {
        endpoint.tcp.apply(&SockRef::from(&socket))?;
    }
    Ok(BoundSocket {
        address: address.map_or_else(|| format!("systemd:{name}"), |address| address.to_string()),
        sockets: duplicates(&socket, workers)?,
        inherited: true,
        file: None,
    })
}

fn duplicates(socket: &impl AsFd, workers: usize) -> io::Result<Vec<OwnedFd>> {
    (0..workers)
        .map(|_| socket.as_fd().try_clone_to_owned())
        .collect()
}
