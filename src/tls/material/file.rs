//! Reads files of certificates and secrets, with their permissions. Knows nothing of their formats.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::carried::{CarriedFiles, is_carried};

/// The largest file that is read. A bundle of every public CA has 0.2 MiB.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// An error in a file, with a remedy.
#[derive(Debug)]
pub struct MaterialError {
    /// The file.
    pub path: PathBuf,
    /// One sentence that names the file.
    pub message: String,
    /// How to fix it.
    pub help: Option<String>,
}

impl MaterialError {
    /// An error in this file.
    pub fn new(path: &Path, what: impl Display) -> Self {
        Self {
            path: path.to_owned(),
            message: format!("{}: {what}", path.display()),
            help: None,
        }
    }

    /// An error in a line of this file, counted from 1.
    pub fn at_line(path: &Path, line: usize, what: impl Display) -> Self {
        Self {
            path: path.to_owned(),
            message: format!("{}:{line}: {what}", path.display()),
            help: None,
        }
    }

    /// Adds how to fix it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Reads files, and remembers the permissions of those that it has read: the caller decides what they mean.
#[derive(Debug, Default)]
pub struct FileReader {
    read: Vec<(PathBuf, u32)>,
    carried: Option<Arc<CarriedFiles>>,
}

impl FileReader {
    /// Reads files of the machine, and these at their places.
    pub fn with(carried: Option<&Arc<CarriedFiles>>) -> Self {
        Self {
            carried: carried.cloned(),
            ..Self::default()
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// As [`Contents::read`].
    pub fn read(&mut self, path: &Path) -> Result<Contents, MaterialError> {
        let contents = match &self.carried {
            Some(files) if is_carried(path) => Contents::carried(files, path)?,
            _ => Contents::read(path)?,
        };
        self.read.push((path.to_owned(), contents.mode));
        Ok(contents)
    }

    /// The files that were read, each with the mode of the descriptor that it was read from.
    pub fn modes(&self) -> impl Iterator<Item = (&Path, u32)> {
        self.read.iter().map(|(path, mode)| (path.as_path(), *mode))
    }
}

/// A secret that every user of the machine may read.
#[derive(Debug)]
pub struct Exposed(pub MaterialError);

/// The content of a regular file of at most 16 MiB, and its permissions. Both come from one descriptor,
/// so the permissions are those of the file that was read, even if the path is replaced meanwhile.
pub struct Contents {
    /// Where it was read from.
    pub path: PathBuf,
    /// All its bytes. They may be a secret, so this type has no `Debug`, and they are overwritten when
    /// dropped.
    pub bytes: Zeroizing<Vec<u8>>,
    mode: u32,
    /// Device and inode.
    id: (u64, u64),
}

impl Contents {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it cannot be opened or read, is no regular file, or is larger than 16 MiB.
    pub fn read(path: &Path) -> Result<Self, MaterialError> {
        let cannot = |error: io::Error| cannot_read(path, &error);
        // Without O_NONBLOCK, opening a pipe waits for a writer; without O_NOCTTY, a terminal becomes
        // the controlling one.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .map_err(|error| match error.raw_os_error() {
                // What open(2) says of a socket.
                Some(libc::ENXIO) => not_a_file(path, false),
                _ => cannot(error),
            })?;
        let meta = file.metadata().map_err(cannot)?;
        if !meta.is_file() {
            return Err(not_a_file(path, meta.is_dir()));
        }
        // Memory that is outgrown would keep a copy.
        let len = usize::try_from(meta.len().min(FILE_MAX)).unwrap_or_default();
        let mut bytes = Zeroizing::new(Vec::with_capacity(len + 1));
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
            id: (meta.dev(), meta.ino()),
        })
    }

    /// A file that came with a document. Only Reseal can read it.
    fn carried(files: &CarriedFiles, path: &Path) -> Result<Self, MaterialError> {
        let lacks = || MaterialError::new(path, "the document of the fleet carries no such file");
        let bytes = files.get(path).ok_or_else(lacks)?;
        Ok(Self {
            path: path.to_owned(),
            bytes: bytes.clone(),
            mode: 0o600,
            // No file has this device.
            id: (u64::MAX, bytes.as_ptr().addr() as u64),
        })
    }

    /// Its device and inode.
    pub(super) const fn id(&self) -> (u64, u64) {
        self.id
    }

    /// An error in this file.
    pub fn error(&self, what: impl Display) -> MaterialError {
        MaterialError::new(&self.path, what)
    }

    /// The error if every user of the machine may read this file, a secret that `what` names.
    pub fn exposed(&self, what: &str) -> Option<Exposed> {
        let mode = self.mode;
        (mode & 0o004 != 0).then(|| {
            let error = self.error(format_args!(
                "every user may read this {what} (mode {mode:04o})"
            ));
            Exposed(error.help(format!(
                "chmod 0640 {}; in Kubernetes set `defaultMode: 0440` on the secret's volume; \
                 or set `process.key_permissions: warn`",
                self.path.display()
            )))
        })
    }
}

/// The error for what is not a regular file.
fn not_a_file(path: &Path, is_directory: bool) -> MaterialError {
    if !is_directory {
        return MaterialError::new(path, "not a regular file");
    }
    let found = MaterialError::new(path, "a directory, not a file");
    let mut names: Vec<_> = std::fs::read_dir(path)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(path.join(entry.ok()?.file_name()).display().to_string()))
        .filter(|name| {
            [".pem", ".crt", ".cer", ".crl", ".key"]
                .iter()
                .any(|end| name.ends_with(end))
        })
        .collect();
    names.sort_unstable();
    names.truncate(FILES_NAMED_MAX);
    match names.is_empty() {
        true => found.help("name the files in it"),
        false => found.help(format!(
            "name the files in it, as in `[{}]`",
            names.join(", ")
        )),
    }
}

/// How many files of a directory are named.
const FILES_NAMED_MAX: usize = 4;

/// The error for a file or directory that cannot be read.
pub(super) fn cannot_read(path: &Path, error: &io::Error) -> MaterialError {
    let found = MaterialError::new(path, format_args!("cannot be read: {}", plain(error)));
    if error.kind() == io::ErrorKind::NotFound && is_in_hardware(path) {
        return MaterialError::new(path, "a key in hardware (PKCS#11) is not supported").help(
            "have the CA in the hardware sign a short-lived certificate for a key in a file; or let a program with \
             PKCS#11 terminate TLS, and lead a route with `mode: passthrough` to it",
        );
    }
    match error.kind() {
        io::ErrorKind::NotFound => found.help(no_path(path).unwrap_or(
            "paths are relative to the configuration file; \
             `reseal certs --out DIR NAME` makes certificates to try with",
        )),
        io::ErrorKind::InvalidFilename => match no_path(path) {
            Some(help) => found.help(help),
            None => found,
        },
        _ => found,
    }
}

/// Whether a path, which has a directory before it, is the URI of a key in hardware (RFC 7512).
fn is_in_hardware(path: &Path) -> bool {
    let mut parts = path.components();
    parts.any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"pkcs11:"))
}

/// What to write in place of a text that names no file by the rules of a shell or of a URL, or is the content
/// of one. Relative paths have the directory of the configuration before them.
fn no_path(path: &Path) -> Option<&'static str> {
    let text = path.to_string_lossy();
    let has = |part: &str| path.components().any(|found| found.as_os_str() == part);
    Some(if text.contains("-----BEGIN") {
        "this is the content of a file: name the file that holds it"
    } else if has("~") {
        "`~` is not expanded: write the whole path"
    } else if has("file:") {
        "write the path alone, without `file:`"
    } else if text.contains('$') {
        "an environment variable is written `${NAME}`"
    } else {
        return None;
    })
}

/// An I/O error without the number that std appends.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}
