//! Listening sockets that systemd passes to the process (sd_listen_fds(3)).

use std::io;

use socket2::{SockRef, Socket};

use super::socket::{BoundSocket, Listens};
use crate::snapshot::Endpoint;
use crate::sys;

/// The first descriptor that systemd passes.
const LISTEN_FDS_START: i32 = 3;

/// The sockets that systemd passes under `name`; a unit may have several.
pub(super) fn take_systemd(endpoint: &Endpoint, name: &str) -> io::Result<Vec<BoundSocket>> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let ours = variable("LISTEN_PID") == std::process::id().to_string();
    let count = variable("LISTEN_FDS").parse().unwrap_or(0);
    let names = variable("LISTEN_FDNAMES");
    let found: Vec<_> = (LISTEN_FDS_START..)
        .zip(names.split(':'))
        .take(if ours { count } else { 0 })
        .filter(|(_, passed)| *passed == name)
        .map(|(fd, _)| take_inherited(endpoint, name, fd))
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

fn take_inherited(endpoint: &Endpoint, name: &str, fd: i32) -> io::Result<BoundSocket> {
    let socket = Socket::from(sys::inherited(fd)?);
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?.as_socket();
    if address.is_some() {
        endpoint.tcp.apply(&SockRef::from(&socket))?;
    }
    Ok(BoundSocket {
        address: address.map_or_else(|| format!("systemd:{name}"), |address| address.to_string()),
        sockets: vec![socket.into()],
        inherited: true,
        listens: Listens::OncePrepared,
        file: None,
    })
}
