//! Opens the file of a log.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// The mode of a new file: client addresses and certificate subjects are not public.
const MODE: u32 = 0o640;

/// Opens the file at `path` for appending, and creates it if it does not exist. An existing file keeps its
/// mode. A symbolic link is followed only if root or the user of this process owns it: otherwise a user
/// with write access to the log directory could choose the file that is written.
pub(super) fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(MODE);
    let no_links = OFlags::NOFOLLOW.bits().cast_signed();
    let opened = options.clone().custom_flags(no_links).open(path);
    let is_link = |e: &io::Error| Errno::from_io_error(e) == Some(Errno::LOOP);
    match opened {
        Err(error) if is_link(&error) && is_trusted_link(path) => options.open(path),
        Err(error) if is_link(&error) => {
            Err(io::Error::other("it is a symbolic link of another user"))
        }
        opened => opened,
    }
}

fn is_trusted_link(path: &Path) -> bool {
    let me = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(path).is_ok_and(|meta| meta.uid() == 0 || meta.uid() == me)
}
