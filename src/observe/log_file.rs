//! Opens the file of a log.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// The mode of a new file: client addresses and certificate subjects are not public.
const MODE: u32 = 0o640;

/// An open log file.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) file: File,
    /// Whether it did not exist before.
    is_new: bool,
}

impl LogFile {
    /// Gives a file that did not exist before to a user.
    pub(super) fn give_to(&self, uid: u32) -> io::Result<()> {
        match self.is_new {
            true => std::os::unix::fs::fchown(&self.file, Some(uid), None),
            false => Ok(()),
        }
    }
}

/// Opens the file at `path` for appending, and creates it if it does not exist. An existing file keeps its
/// mode. A symbolic link is followed only if root or the user of this process owns it: otherwise a user
/// with write access to the log directory could choose the file that is written.
///
/// # Errors
///
/// Besides those of open(2): a pipe that nobody reads, whose opening would wait for a reader; a socket; and a
/// block device, which a log would overwrite.
pub(super) fn append(path: &Path) -> io::Result<LogFile> {
    // Without NOCTTY a terminal would become the controlling one.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let options = |flags: OFlags| {
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(MODE);
        options.custom_flags(flags.bits().cast_signed());
        options
    };
    if let Ok(file) = options(flags).create_new(true).open(path) {
        return Ok(LogFile { file, is_new: true });
    }
    let open = |flags: OFlags| options(flags).open(path);
    let is_link = |e: &io::Error| Errno::from_io_error(e) == Some(Errno::LOOP);
    let file = match open(flags | OFlags::NOFOLLOW) {
        Err(error) if is_link(&error) && is_trusted_link(path) => open(flags),
        Err(error) if is_link(&error) => {
            return Err(io::Error::other("it is a symbolic link of another user"));
        }
        opened => opened,
    };
    let file = file.map_err(|error| without_reader(path).unwrap_or(error))?;
    if file.metadata()?.file_type().is_block_device() {
        return Err(io::Error::other("it is a block device"));
    }
    // The thread of the log may wait for a slow reader.
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(LogFile {
        file,
        is_new: false,
    })
}

/// Why a file that is no regular one cannot be opened for writing, where the kernel names a device.
fn without_reader(path: &Path) -> Option<io::Error> {
    let kind = fs::metadata(path).ok()?.file_type();
    let what = if kind.is_fifo() {
        "it is a pipe that nobody reads"
    } else if kind.is_socket() {
        "it is a socket"
    } else {
        return None;
    };
    Some(io::Error::other(what))
}

fn is_trusted_link(path: &Path) -> bool {
    let me = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(path).is_ok_and(|meta| meta.uid() == 0 || meta.uid() == me)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let why = |path: &Path| append(path).unwrap_err().to_string();
        mknodat(
            CWD,
            path("pipe"),
            FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        assert_eq!(why(&path("pipe")), "it is a pipe that nobody reads");
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        assert_eq!(why(&path("socket")), "it is a socket");
        assert!(why(directory.path()).contains("directory"));
    }

    #[test]
    fn a_pipe_with_a_reader_and_a_device_are_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let mut options = OpenOptions::new();
        let nonblock = OFlags::NONBLOCK.bits().cast_signed();
        let mut reader = options
            .read(true)
            .custom_flags(nonblock)
            .open(&pipe)
            .unwrap();
        let mut file = append(&pipe).unwrap().file;
        let flags = rustix::fs::fcntl_getfl(&file).unwrap();
        assert!(
            !flags.contains(OFlags::NONBLOCK),
            "a slow reader is waited for"
        );
        file.write_all(b"line\n").unwrap();
        let mut read = [0; 5];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"line\n");
        append(Path::new("/dev/null"))
            .unwrap()
            .file
            .write_all(b"x")
            .unwrap();
    }
}
