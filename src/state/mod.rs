//! Files that the process itself writes: each whole or not at all, and readable for its owner alone. Knows
//! nothing of what is in them.

mod tasks;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

pub use self::tasks::{Kept, Tasks};

/// Only its owner may read a file.
const OWNER_ALONE: u32 = 0o600;

/// Makes a directory of such files if it is missing.
pub fn prepare(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)
}

/// The bytes of a file that only its owner may read; `None` if it is missing.
///
/// # Errors
///
/// If it cannot be read, others may read or write it, or it has more than `most` bytes.
pub fn read(path: &Path, most: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut options = OpenOptions::new();
    let options = options
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let meta = file.metadata()?;
    let refused = |why: &str| Err(io::Error::other(why));
    if !meta.is_file() {
        return refused("it is not a regular file");
    }
    if meta.mode() & 0o077 != 0 {
        return refused("other users than its owner may read or write it: chmod 0600");
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(most.min(64 * 1024)));
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return refused(&format!("it has more than {most} bytes"));
    }
    Ok(Some(bytes))
}

/// Writes a file: another process sees all of it, or what was there before.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let partial = partial(path);
    // Left by a process that was killed while it wrote.
    let _ = fs::remove_file(&partial);
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(OWNER_ALONE);
    let written = options.open(&partial).and_then(|mut file| {
        file.write_all(bytes)?;
        // A umask can take rights away from the owner.
        file.set_permissions(fs::Permissions::from_mode(OWNER_ALONE))?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        File::open(directory)?.sync_all()
    });
    written.inspect_err(|_| {
        let _ = fs::remove_file(&partial);
    })
}

/// Where a file is written before it takes its name. Only the holder of its lock writes it.
fn partial(path: &Path) -> PathBuf {
    path.with_extension("partial")
}

/// The right to write a file, among all processes.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the kernel frees it when it is closed")] File);

/// Takes the right to write a file; `None` if another process, or another task of this one, has it.
pub fn lock(path: &Path) -> io::Result<Option<Lock>> {
    let mut options = OpenOptions::new();
    let options = options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(OWNER_ALONE);
    let options = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(path.with_extension("lock"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Lock(file))),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_and_its_owners_alone_and_others_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.json");
        assert!(read(&file, 1000).unwrap().is_none());
        write(&file, b"one").unwrap();
        write(&file, b"two").unwrap();
        assert_eq!(read(&file, 1000).unwrap().unwrap().as_slice(), b"two");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let entries = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(entries, 1, "nothing is left beside it");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&file, 1000).is_err());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(read(&link, 1000).is_err());
        fs::write(&file, vec![b'x'; 100_000]).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(read(&file, 1000).is_err());
    }

    #[test]
    fn one_writer_at_a_time_has_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.pem");
        let first = lock(&file).unwrap();
        assert!(first.is_some());
        assert!(lock(&file).unwrap().is_none());
        drop(first);
        assert!(lock(&file).unwrap().is_some());
    }
}
