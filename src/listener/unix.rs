//! Listening unix sockets: their file has its permissions before a client can connect, replaces a stale
//! one, and is removed at the end.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

pub use super::socket_file::SocketFile;
use super::socket_file::{Location, Ownership};

/// The access rights of a unix socket.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The permission bits of its file.
    pub permissions: u32,
    /// The file's owner, by name or number.
    pub owner: Option<&'a str>,
    /// The file's group, by name or number.
    pub group: Option<&'a str>,
}

impl Access<'_> {
    fn ownership(self) -> io::Result<Ownership> {
        let owner = self.owner.map(|name| account("/etc/passwd", name));
        let group = self.group.map(|name| account("/etc/group", name));
        Ok(Ownership {
            permissions: self.permissions,
            owner: owner.transpose()?,
            group: group.transpose()?,
        })
    }
}

/// Binds a nonblocking socket to `path` and listens with this backlog.
pub fn listen(
    path: &Path,
    access: Access<'_>,
    backlog: i32,
) -> io::Result<(UnixListener, SocketFile)> {
    let (socket, file) = bind(path, access)?;
    socket.listen(backlog)?;
    Ok((OwnedFd::from(socket).into(), file))
}

/// Binds a nonblocking socket to `path`; it does not listen yet.
pub fn bind(path: &Path, access: Access<'_>) -> io::Result<(Socket, SocketFile)> {
    let ownership = access.ownership()?;
    let location = Location::of(path)?;
    remove_stale(path, &location)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    let file = SocketFile::bind(&socket, path, location, ownership)?;
    Ok((socket, file))
}

/// Changes the owner and permissions of a socket's file.
pub fn set_access(file: &mut SocketFile, access: Access<'_>) -> io::Result<()> {
    file.change(access.ownership()?)
}

/// Removes the socket file of a process that has ended. A socket that accepts connections is in use, and a
/// file of another type is never removed.
fn remove_stale(path: &Path, location: &Location) -> io::Result<()> {
    match location.stat() {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Socket => {
            let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
            match probe.connect(&SockAddr::unix(path)?) {
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => location.remove(),
                _ => Err(io::Error::from_raw_os_error(
                    Errno::ADDRINUSE.raw_os_error(),
                )),
            }
        }
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file of that name exists and is not a socket",
        )),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// The id of a user or group, given as a number or as a name in the system's file.
fn account(file: &str, name: &str) -> io::Result<u32> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    fs::read_to_string(file)?
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == name).then_some(())?;
            fields.nth(1)?.parse().ok()
        })
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no `{name}` in {file}")))
}
