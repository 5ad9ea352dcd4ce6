//! The text of the files that say how names are resolved, line by line: a line that cannot be used is
//! left out and told, and costs no other line.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

use tracing::warn;

/// The largest file that is read; lists of blocked hosts have several MiB.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// So many lines that are left out are told one by one.
const TOLD_MAX: usize = 8;

/// A line that is not used, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unused {
    /// Its number, from 1.
    pub(super) line: usize,
    pub(super) why: String,
}

/// Writes what is not used of a file to the log.
pub(super) fn tell(file: &str, unused: &[Unused]) {
    for Unused { line, why } in unused.iter().take(TOLD_MAX) {
        warn!(%file, line, %why, "a line is not used for resolving names");
    }
    if let Some(more) = unused.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
        warn!(%file, more, "further lines are not used for resolving names");
    }
}

/// The lines of a file with their numbers, without a byte-order mark and without spaces around them.
/// Bytes that are not UTF-8 become U+FFFD, which no name contains.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, String)> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    lines.map(|(index, line)| {
        let line = String::from_utf8_lossy(line.trim_ascii());
        (index + 1, line.into_owned())
    })
}

/// The content of a file; empty if there is none. Anything but a regular file is not read: opening a pipe
/// would wait for a writer.
///
/// # Errors
///
/// If the file is there and cannot be read.
pub(super) fn read(path: &str) -> io::Result<Vec<u8>> {
    let open = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path);
    let file = match open {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        open => open?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Tells one content of a file from the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Option<(SystemTime, u64, u64)>);

impl Stamp {
    pub(super) fn of(path: &str) -> Self {
        let meta = Path::new(path).metadata().ok();
        Self(meta.and_then(|meta| Some((meta.modified().ok()?, meta.len(), meta.ino()))))
    }
}
