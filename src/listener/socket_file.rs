//! The file of a listening unix socket. Whoever may write its directory can put another file, or a
//! symbolic link, in its place; so it is found by path once, when it is made, and everything later goes
//! through descriptors of its directory and of the file itself.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid};
use socket2::{SockAddr, Socket};

/// Owner and permissions of a socket's file, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ownership {
    pub(super) permissions: u32,
    pub(super) owner: Option<u32>,
    pub(super) group: Option<u32>,
}

/// The directory of a socket's file, and the file's name in it.
#[derive(Debug)]
pub(super) struct Location {
    directory: OwnedFd,
    name: OsString,
}

impl Location {
    /// Where `path` leads now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_owned();
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        let directory = rustix::fs::openat(
            CWD,
            parent.unwrap_or_else(|| Path::new(".")),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self { directory, name })
    }

    /// What is there. Links are not watch_set.
    pub(super) fn stat(&self) -> io::Result<Stat> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::statat(&self.directory, &self.name, flags)?)
    }

    /// Removes what is there. Links are not watch_set.
    pub(super) fn remove(&self) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.directory,
            &self.name,
            AtFlags::empty(),
        )?)
    }

    fn open(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(
            &self.directory,
            &self.name,
            flags,
            Mode::empty(),
        )?)
    }
}

/// The file of a listening socket. It is removed on drop if it is still ours.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    location: Location,
    /// Holds the inode, so that no other file can get its number.
    file: OwnedFd,
    ownership: Ownership,
}

impl SocketFile {
    /// Binds `socket` to `path`, whose place is `location`, so that nobody may connect before the file
    /// has the owner and permissions that it should have.
    pub(super) fn bind(
        socket: &Socket,
        path: &Path,
        location: Location,
        ownership: Ownership,
    ) -> io::Result<Self> {
        // Linux gives the file the mode of the socket's own inode, less the umask.
        rustix::fs::fchmod(socket, Mode::RUSR | Mode::WUSR)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = location.open()?;
        if !is_fresh_socket_of_ours(&rustix::fs::fstat(&file)?) {
            return Err(io::Error::other(
                "somebody else has put another file in the place of the socket; its directory must belong to root or to the user of this process, and nobody else may write it",
            ));
        }
        let file = Self {
            path: path.to_owned(),
            location,
            file,
            ownership,
        };
        file.apply(ownership)?;
        Ok(file)
    }

    /// Its path, and its device and inode.
    pub(super) fn identity(&self) -> Option<(&Path, (u64, u64))> {
        let stat = rustix::fs::fstat(&self.file).ok()?;
        Some((&self.path, (stat.st_dev, stat.st_ino)))
    }

    /// Gives the file another owner or other permissions, if they are others. Only the file that was
    /// made by [`SocketFile::bind`] is touched; it is an error if its path no longer leads to it.
    pub(super) fn change(&mut self, ownership: Ownership) -> io::Result<()> {
        if self.ownership != ownership {
            self.apply(ownership)?;
            self.ownership = ownership;
        }
        if self.is_in_place() {
            Ok(())
        } else {
            Err(io::Error::other(format!(
                "{} is no longer the socket of this process, and no client reaches it there; restart to make a new one",
                self.path.display()
            )))
        }
    }

    fn apply(&self, ownership: Ownership) -> io::Result<()> {
        let Ownership {
            permissions,
            owner,
            group,
        } = ownership;
        if owner.is_some() || group.is_some() {
            rustix::fs::chownat(
                &self.file,
                "",
                owner.map(Uid::from_raw),
                group.map(Gid::from_raw),
                AtFlags::EMPTY_PATH,
            )?;
        }
        // fchmod(2) refuses a descriptor that was opened with O_PATH.
        let descriptor = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(rustix::fs::chmod(
            descriptor,
            Mode::from_raw_mode(permissions),
        )?)
    }

    /// Whether the name in the directory is still that of our file.
    fn is_in_place(&self) -> bool {
        match (self.location.stat(), rustix::fs::fstat(&self.file)) {
            (Ok(there), Ok(ours)) => (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino),
            _ => false,
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Between the two, only somebody who may remove files of this directory can change what is there.
        if self.is_in_place() {
            let _ = self.location.remove();
        }
    }
}

/// Whether this can be what we bound a moment ago: a file of another user is not.
fn is_fresh_socket_of_ours(stat: &Stat) -> bool {
    let others = Mode::from_raw_mode(0o077);
    FileType::from_raw_mode(stat.st_mode) == FileType::Socket
        && stat.st_uid == rustix::process::geteuid().as_raw()
        && !Mode::from_raw_mode(stat.st_mode).intersects(others)
}
