//! The file of a listening unix socket. A user who may write its directory can replace the file, also by a
//! symbolic link. So the path is resolved once, when the file is made; later operations use descriptors of
//! the directory and of the file.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use socket2::{SockAddr, Socket};

/// Owner, group and permissions of a socket's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ownership {
    pub(super) permissions: u32,
    pub(super) owner: Option<Account>,
    pub(super) group: Option<Account>,
}

/// A user or group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// Its name or number, as configured.
    pub(super) name: String,
    /// Its number.
    pub(super) id: u32,
}

/// The directory of a socket's file, and the file's name in it.
#[derive(Debug)]
pub(super) struct Location {
    directory: OwnedFd,
    name: OsString,
}

impl Location {
    /// Resolves the directory of `path`.
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

    /// The metadata of the file. Symbolic links are not followed.
    pub(super) fn stat(&self) -> io::Result<Stat> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::statat(&self.directory, &self.name, flags)?)
    }

    /// Removes the file. Symbolic links are not followed.
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

/// The file of a listening socket, removed on drop unless another file has replaced it.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    location: Location,
    /// Keeps the inode in use, so that no other file can get its number.
    file: OwnedFd,
    /// Owner and permissions, once this process has set them.
    ownership: Option<Ownership>,
    removes_on_drop: bool,
}

impl SocketFile {
    /// Binds `socket` to `path`, which `location` resolves. No other user can connect before the file has its
    /// owner and permissions.
    pub(super) fn bind(
        socket: &Socket,
        path: &Path,
        location: Location,
        ownership: Ownership,
    ) -> io::Result<Self> {
        // Linux gives the file the mode of the socket's inode, less the umask.
        rustix::fs::fchmod(socket, Mode::RUSR | Mode::WUSR)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = location.open()?;
        if !is_our_fresh_socket(&rustix::fs::fstat(&file)?) {
            return Err(io::Error::other(
                "another user has replaced the socket file; only root or the user of this process may have \
                 write access to its directory",
            ));
        }
        let mut file = Self {
            path: path.to_owned(),
            location,
            file,
            ownership: None,
            removes_on_drop: true,
        };
        file.apply(&ownership)?;
        file.ownership = Some(ownership);
        Ok(file)
    }

    /// The file at `path` that another process has made for a socket that it passes to this one, if it still
    /// has this device and inode. It is not removed on drop.
    pub(super) fn taken(path: &Path, identity: (u64, u64)) -> io::Result<Self> {
        let location = Location::of(path)?;
        let file = location.open()?;
        let stat = rustix::fs::fstat(&file)?;
        if (stat.st_dev, stat.st_ino) != identity {
            return Err(io::Error::other(
                "another process has replaced the socket file",
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            location,
            file,
            ownership: None,
            removes_on_drop: false,
        })
    }

    /// Whether the file is removed on drop: another process may serve it.
    pub(crate) const fn remove_on_drop(&mut self, removes: bool) {
        self.removes_on_drop = removes;
    }

    /// The path, device and inode of the file.
    pub(crate) fn identity(&self) -> Option<(&Path, (u64, u64))> {
        let stat = rustix::fs::fstat(&self.file).ok()?;
        Some((&self.path, (stat.st_dev, stat.st_ino)))
    }

    /// Changes the owner and permissions of the file that [`SocketFile::bind`] made, if they differ. It is an
    /// error if its path no longer leads to it.
    pub(super) fn change(&mut self, ownership: Ownership) -> io::Result<()> {
        if self.ownership.as_ref() != Some(&ownership) {
            // Of a file that another process has made, this one may have no right to change anything.
            if !self.has(&ownership)? {
                self.apply(&ownership)?;
            }
            self.ownership = Some(ownership);
        }
        if self.is_in_place() {
            Ok(())
        } else {
            Err(io::Error::other(format!(
                "{} is no longer the socket of this process, so clients cannot reach it; restart to make a \
                 new one",
                self.path.display()
            )))
        }
    }

    /// The owner and permissions that this process has set.
    pub(super) const fn ownership(&self) -> Option<&Ownership> {
        self.ownership.as_ref()
    }

    fn has(&self, ownership: &Ownership) -> io::Result<bool> {
        let stat = rustix::fs::fstat(&self.file)?;
        let is =
            |account: &Option<Account>, id| account.as_ref().is_none_or(|account| account.id == id);
        Ok(stat.st_mode & 0o7777 == ownership.permissions
            && is(&ownership.owner, stat.st_uid)
            && is(&ownership.group, stat.st_gid))
    }

    fn apply(&self, ownership: &Ownership) -> io::Result<()> {
        let Ownership {
            permissions,
            owner,
            group,
        } = ownership;
        if owner.is_some() || group.is_some() {
            rustix::fs::chownat(
                &self.file,
                "",
                owner.as_ref().map(|owner| Uid::from_raw(owner.id)),
                group.as_ref().map(|group| Gid::from_raw(group.id)),
                AtFlags::EMPTY_PATH,
            )?;
        }
        // fchmod(2) refuses a descriptor that was opened with O_PATH.
        let descriptor = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        match rustix::fs::chmod(descriptor, Mode::from_raw_mode(*permissions)) {
            Err(Errno::NOENT) => Err(io::Error::other(
                "/proc is not mounted, and without it the permissions of the socket file cannot be set",
            )),
            changed => Ok(changed?),
        }
    }

    /// Whether the name in the directory still leads to our file.
    fn is_in_place(&self) -> bool {
        match (self.location.stat(), rustix::fs::fstat(&self.file)) {
            (Ok(there), Ok(ours)) => (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino),
            _ => false,
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Only a user who may remove files of this directory can replace the file between these two calls.
        if self.removes_on_drop && self.is_in_place() {
            let _ = self.location.remove();
        }
    }
}

/// Whether this can be the socket bound a moment ago: a socket of our user, without access for others.
fn is_our_fresh_socket(stat: &Stat) -> bool {
    let others = Mode::from_raw_mode(0o077);
    FileType::from_raw_mode(stat.st_mode) == FileType::Socket
        && stat.st_uid == rustix::process::geteuid().as_raw()
        && !Mode::from_raw_mode(stat.st_mode).intersects(others)
}
