//! Binds the listening sockets of an endpoint, one for each worker.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket, Type};

use super::socket::{BindError, BoundSocket, FAST_OPEN_QUEUE, Listens, access};
use super::systemd::take_systemd;
use super::unix::{self, Access};
use crate::snapshot::{Endpoint, Listen};
use crate::sys;

/// Which ports this process already listens on while it binds.
#[derive(Clone, Copy, Debug)]
pub enum ProbePolicy<'a> {
    /// None: the process starts.
    Nothing,
    /// These: the process reloads.
    Ports(&'a HashSet<u16>),
    /// None, but the process that this one takes over from listens on these.
    Takeover(&'a HashSet<u16>),
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
        ProbePolicy::Ports(ports) | ProbePolicy::Takeover(ports) => !ports.contains(&port),
    };
    let mut bound = match listen {
        Listen::Address(address) => {
            let probes = probes(address.port());
            bind_tcp(endpoint, *address, Families::Own, workers, probes)?
        }
        Listen::Everywhere(port) => bind_everywhere(endpoint, *port, workers, probes(*port))?,
        Listen::Unix {
            path,
            permissions,
            owner,
            group,
        } => bind_unix(path, access(*permissions, owner, group))?,
        Listen::Systemd(name) => match probe {
            ProbePolicy::Nothing | ProbePolicy::Takeover(_) => {
                return take_systemd(endpoint, name);
            }
            ProbePolicy::Ports(_) => {
                return Err(io::Error::other(
                    "systemd passes sockets only when the process starts; restart it",
                ));
            }
        },
    };
    if let (ProbePolicy::Takeover(ports), Some(address)) = (probe, bound.tcp())
        && ports.contains(&address.port())
    {
        bound.listens = Listens::AfterTakeover;
    }
    Ok(vec![bound])
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

/// The address families that a socket of the unspecified IPv6 address takes.
#[derive(Clone, Copy)]
enum Families {
    Own,
    Both,
}

/// SO_REUSEPORT gives each worker its own accept queue, but it would also let a second process of the same
/// user silently take half of the clients. So the address is first bound without it, which fails if another
/// socket listens there.
fn bind_tcp(
    endpoint: &Endpoint,
    address: SocketAddr,
    families: Families,
    workers: usize,
    probes: bool,
) -> io::Result<BoundSocket> {
    let probe = probes.then(|| {
        let probe = tcp_socket(endpoint, address, families)?;
        probe.bind(&address.into())?;
        probe.listen(1)?;
        Ok::<_, io::Error>(probe)
    });
    let probe = probe.transpose()?;
    let bound = probe.as_ref().map_or(Ok(address), local)?;
    let of_workers = |sockets| BoundSocket {
        address: bound.to_string(),
        sockets,
        inherited: false,
        listens: Listens::OncePrepared,
        file: None,
    };
    // A sandbox lets a reload bind to port 0, and not to the port that the kernel then chooses: such a socket
    // is one for all workers.
    if let Some(chosen) = probe.filter(|_| address.port() == 0) {
        let again = tcp_socket(endpoint, bound, families)?.bind(&bound.into());
        if again.is_err_and(|error| Errno::from_io_error(&error) == Some(Errno::ACCESS)) {
            return Ok(of_workers(vec![chosen.into()]));
        }
    }
    let sockets = (0..workers)
        .map(|_| {
            let socket = tcp_socket(endpoint, bound, families)?;
            socket.set_reuse_port(true)?;
            socket.bind(&bound.into())?;
            Ok(socket.into())
        })
        .collect::<io::Result<_>>()?;
    Ok(of_workers(sockets))
}

/// Binds both address families on one socket, or IPv4 alone on a machine without IPv6.
fn bind_everywhere(
    endpoint: &Endpoint,
    port: u16,
    workers: usize,
    probes: bool,
) -> io::Result<BoundSocket> {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match bind_tcp(endpoint, both, Families::Both, workers, probes) {
        Ok(mut bound) => {
            bound.address = bound.address.replace("[::]", "*");
            Ok(bound)
        }
        Err(error) if has_no_ipv6(&error) => {
            let all = (Ipv4Addr::UNSPECIFIED, port).into();
            bind_tcp(endpoint, all, Families::Own, workers, probes)
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

fn tcp_socket(endpoint: &Endpoint, address: SocketAddr, families: Families) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Connections in TIME_WAIT must not delay a restart.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(matches!(families, Families::Own))?;
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

/// A unix socket has one accept queue, which all workers share.
fn bind_unix(path: &Path, access: Access<'_>) -> io::Result<BoundSocket> {
    let (listener, file) = unix::bind(path, access)?;
    Ok(BoundSocket {
        address: format!("unix:{}", path.display()),
        sockets: vec![listener.into()],
        inherited: false,
        listens: Listens::OncePrepared,
        file: Some(file),
    })
}
