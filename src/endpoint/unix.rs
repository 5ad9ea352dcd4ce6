//! Unix sockets that listen: the file's permissions from its first moment, a stale one replaced, our own
//! removed at the end.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

/// Who may connect to a unix socket.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The permission bits of its file.
    pub permissions: u32,
    /// The file's owner, by name or number.
    pub owner: Option<&'a str>,
    /// The file's group, by name or number.
    pub group: Option<&'a str>,
}

/// The file of a listening socket. It is removed on drop if it is still ours, which its inode tells.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at `path`, without blocking, with a queue of `backlog`.
pub fn listen(
    path: &Path,
    access: Access<'_>,
    backlog: i32,
) -> io::Result<(UnixListener, SocketFile)> {
    let (socket, file) = bind(path, access)?;
    socket.listen(backlog)?;
    Ok((OwnedFd::from(socket).into(), file))
}

/// Makes a socket at `path` that does not listen yet, and does not block.
pub fn bind(path: &Path, access: Access<'_>) -> io::Result<(Socket, SocketFile)> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    // Nobody may connect before owner and permissions are what they should be.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = socket.bind(&SockAddr::unix(path)?);
    rustix::process::umask(before);
    bound?;
    let file = SocketFile {
        path: path.to_owned(),
        inode: fs::symlink_metadata(path)?.ino(),
    };
    hand_over(path, access)?;
    Ok((socket, file))
}

/// Lets those connect to a socket who may.
pub fn hand_over(path: &Path, access: Access<'_>) -> io::Result<()> {
    let owner = access.owner.map(|name| account("/etc/passwd", name));
    let group = access.group.map(|name| account("/etc/group", name));
    let (owner, group) = (owner.transpose()?, group.transpose()?);
    if owner.is_some() || group.is_some() {
        rustix::fs::chown(path, owner.map(Uid::from_raw), group.map(Gid::from_raw))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(access.permissions))
}

/// Removes the socket file of a process that is gone. One that somebody answers on is in use, and
/// anything that is no socket is not ours to remove.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => {
            let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
            match probe.connect(&SockAddr::unix(path)?) {
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
                _ => Err(io::Error::from_raw_os_error(
                    Errno::ADDRINUSE.raw_os_error(),
                )),
            }
        }
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file of that name which is no socket",
        )),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// The number of a user or group: given as such, or by its name in the system's file.
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
