//! Listening unix sockets: their file has its permissions before a client can connect, replaces a stale
//! one, and is removed at the end.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

pub use super::socket_file::SocketFile;
use super::socket_file::{Account, Location, Ownership};
use crate::sys;

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
    /// The numbers of owner and group. A name in `known` is not looked up again, because a directory
    /// service may be slow.
    fn ownership(self, known: Option<&Ownership>) -> io::Result<Ownership> {
        let known_owner = known.and_then(|known| known.owner.as_ref());
        let known_group = known.and_then(|known| known.group.as_ref());
        let owner = self.owner.map(|name| user(name, known_owner));
        let group = self.group.map(|name| self::group(name, known_group));
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
    let ownership = access.ownership(None)?;
    let location = Location::of(path)?;
    remove_stale(path, &location)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    let file = SocketFile::bind(&socket, path, location, ownership)?;
    Ok((socket, file))
}

/// Changes the owner and permissions of a socket's file.
pub fn set_access(file: &mut SocketFile, access: Access<'_>) -> io::Result<()> {
    let ownership = access.ownership(file.ownership())?;
    file.change(ownership)
}

/// The device and inode of the file at `path`, if there is one.
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    let stat = Location::of(path)
        .and_then(|location| location.stat())
        .ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// The file of a socket that another process passes, which has this device and inode.
pub fn taken(path: &Path, identity: (u64, u64)) -> io::Result<SocketFile> {
    SocketFile::taken(path, identity)
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

pub(super) fn user(name: &str, known: Option<&Account>) -> io::Result<Account> {
    account(name, known, |name| sys::user_id(&CString::new(name)?))
        .map_err(|error| not_found(error, "user", name))
}

pub(super) fn group(name: &str, known: Option<&Account>) -> io::Result<Account> {
    account(name, known, |name| sys::group_id(&CString::new(name)?))
        .map_err(|error| not_found(error, "group", name))
}

/// A user or group, given as a number or as a name that the system knows.
fn account(
    name: &str,
    known: Option<&Account>,
    look_up: impl FnOnce(&str) -> io::Result<Option<u32>>,
) -> io::Result<Account> {
    if let Some(known) = known.filter(|known| known.name == name) {
        return Ok(known.clone());
    }
    let id = match name.parse() {
        Ok(id) => id,
        Err(_) => look_up(name)?.ok_or(io::ErrorKind::NotFound)?,
    };
    Ok(Account {
        name: name.to_owned(),
        id,
    })
}

fn not_found(error: io::Error, what: &str, name: &str) -> io::Error {
    let message = match error.kind() {
        io::ErrorKind::NotFound => format!("there is no {what} `{name}`"),
        _ => format!("the {what} `{name}` cannot be looked up: {error}"),
    };
    io::Error::new(error.kind(), message)
}
