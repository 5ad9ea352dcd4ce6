//! Files of trust and of secrets as they lie on the disk: their bytes, and who may read them. Knows
//! nothing of what they hold.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// No file that we read is larger; a bundle of every public CA has a fifth of a megabyte.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// What is wrong with a file, and what to do about it.
#[derive(Debug)]
pub struct MaterialError {
    /// The file.
    pub path: PathBuf,
    /// One sentence that names the file.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
}

impl MaterialError {
    /// Something is wrong with this file.
    pub fn new(path: &Path, what: impl Display) -> Self {
        Self {
            path: path.to_owned(),
            message: format!("{}: {what}", path.display()),
            help: None,
        }
    }

    /// Something is wrong with this line of a file, counted from 1.
    pub fn at_line(path: &Path, line: usize, what: impl Display) -> Self {
        Self {
            path: path.to_owned(),
            message: format!("{}:{line}: {what}", path.display()),
            help: None,
        }
    }

    /// The same with a way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A secret that every user of the machine may read.
#[derive(Debug)]
pub struct Exposed(pub MaterialError);

/// The content of a regular file of at most 16 MiB, and its permissions. Both are taken from one
/// descriptor: what is judged is what was read, whatever the path leads to by then.
pub struct Contents {
    /// Where it was read from.
    pub path: PathBuf,
    /// All its bytes. They may be a secret, so this type has no `Debug`.
    pub bytes: Vec<u8>,
    mode: u32,
}

impl Contents {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be opened or read, is no regular file, or is larger than 16 MiB.
    pub fn read(path: &Path) -> Result<Self, MaterialError> {
        let cannot = |error: io::Error| cannot_read(path, &error);
        // Opening a pipe to read from it would wait for somebody who writes; a terminal would become ours.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .map_err(cannot)?;
        let meta = file.metadata().map_err(cannot)?;
        if !meta.is_file() {
            return Err(MaterialError::new(path, "not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(FILE_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(cannot)?;
        if bytes.len() as u64 > FILE_MAX {
            return Err(MaterialError::new(path, "larger than 16 MiB"));
        }
        Ok(Self {
            path: path.to_owned(),
            bytes,
            mode: meta.mode() & 0o7777,
        })
    }

    /// Something is wrong with this file.
    pub fn error(&self, what: impl Display) -> MaterialError {
        MaterialError::new(&self.path, what)
    }

    /// Whether every user of the machine may read this file, which is the secret that `what` names.
    pub fn exposed(&self, what: &str) -> Option<Exposed> {
        let mode = self.mode;
        (mode & 0o004 != 0).then(|| {
            let error = self.error(format_args!(
                "every user may read this {what} (mode {mode:04o})"
            ));
            Exposed(error.help(format!(
                "chmod 0640 {}; in Kubernetes set `defaultMode: 0440` on the secret's volume; or set `process.key_permissions: warn`",
                self.path.display()
            )))
        })
    }
}

/// A file or directory cannot be read, for this reason.
pub(super) fn cannot_read(path: &Path, error: &io::Error) -> MaterialError {
    let found = MaterialError::new(path, format_args!("cannot be read: {}", plain(error)));
    match error.kind() {
        io::ErrorKind::NotFound => found.help(
            "paths are relative to the configuration file; `reseal certs --out DIR NAME` makes certificates to try with",
        ),
        _ => found,
    }
}

/// An I/O error without the number that std puts behind it.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}
