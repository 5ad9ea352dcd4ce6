//! Checks who else can write the files that the configuration trusts: its own file, the materials, and
//! the directories of these and of unix sockets. Write access for every user is an error; for a group or
//! another user, which may be intended, it is a warning.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Compiler, Files, Purpose};
use crate::config::reader::address;
use crate::config::reader::admin_address::AdminAddress;
use crate::config::reader::problem::{Problem, Problems, Severity, Span};
use crate::config::spec::KeyPermissions;
use crate::tls::material::file::MaterialError;

const STICKY: u32 = 0o1000;
const GROUP_WRITES: u32 = 0o020;
const ALL_WRITE: u32 = 0o002;

/// Reports that every user may write the configuration file with this metadata.
pub(in crate::config) fn configuration(
    path: &Path,
    meta: &Metadata,
    policy: KeyPermissions,
    problems: &mut Problems,
) {
    if let Some(error) = writable_by_all(path, meta) {
        problems.push(Problem {
            severity: severity(policy),
            at: None,
            message: error.message,
            help: error.help,
        });
    }
}

/// Whether every user may write this file.
fn writable_by_all(path: &Path, meta: &Metadata) -> Option<MaterialError> {
    (meta.is_file() && meta.mode() & ALL_WRITE != 0).then(|| {
        MaterialError::new(
            path,
            format_args!(
                "every user may write this file (mode {:04o})",
                meta.mode() & 0o7777
            ),
        )
        .help(format!(
            "chmod o-w {}; or set `process.key_permissions: warn`",
            path.display()
        ))
    })
}

const fn severity(policy: KeyPermissions) -> Severity {
    match policy {
        KeyPermissions::Refuse => Severity::Error,
        KeyPermissions::Warn => Severity::Warning,
    }
}

impl Compiler<'_> {
    /// Reports a material that every user may write or replace; an error means that it must not be used.
    /// The check is by path and after the read: only a user with write access to the directory could
    /// swap the file in between, and that is reported separately.
    pub(super) fn check_permissions(&mut self, at: Span, path: &Path) -> Result<(), MaterialError> {
        // The read of the file reports why it is not accessible.
        let Ok(meta) = fs::metadata(path) else {
            return Ok(());
        };
        let directory = if meta.is_dir() { path } else { parent(path) };
        if let Ok(meta) = fs::metadata(directory)
            && meta.mode() & ALL_WRITE != 0
            && meta.mode() & STICKY == 0
            && self.seen_directories.insert(directory.to_owned())
        {
            let mode = meta.mode() & 0o7777;
            let directory = directory.display();
            self.problems
                .warning(
                    at,
                    format!("every user may replace the files in {directory} (mode {mode:04o})"),
                )
                .help(format!("chmod o-w {directory}"));
        }
        let Some(error) = writable_by_all(path, &meta) else {
            return Ok(());
        };
        match severity(self.spec.process.key_permissions.value) {
            Severity::Error => Err(error),
            Severity::Warning | Severity::Notice => {
                let problem = self.problems.warning(at, error.message);
                problem.help(error.help.unwrap_or_default());
                Ok(())
            }
        }
    }

    /// Warns about directories of unix sockets in which another user may replace the socket.
    pub(super) fn socket_directories(&mut self) {
        if self.files == Files::Skip {
            return;
        }
        let spec = self.spec;
        let listens = spec.endpoints.iter().flat_map(|e| e.listen.iter());
        let mut sockets: Vec<(Span, PathBuf)> = listens
            .filter_map(|listen| match &listen.value {
                address::Listen::Unix(unix) => Some((listen.at, self.resolve(&unix.unix))),
                _ => None,
            })
            .collect();
        if let Some(listen) = &spec.admin.listen
            && let AdminAddress::Unix(path) = &listen.value
        {
            sockets.push((listen.at, self.resolve(path)));
        }
        for (at, socket) in sockets {
            // A missing directory is created, or reported, at the start.
            let directory = parent(&socket);
            let Ok(meta) = fs::metadata(directory) else {
                continue;
            };
            if let Some(who) = others(&meta, self.purpose) {
                let (socket, dir) = (socket.display(), directory.display());
                self.problems
                    .warning(at, format!("{who} may put another socket in the place of {socket}"))
                    .help(format!(
                        "the directory {dir} should belong to root or to the user that Reseal runs as, and be writable by no other; or set its sticky bit: chmod +t {dir}"
                    ));
            }
        }
    }
}

/// The group or user that may also replace files of a directory.
fn others(directory: &Metadata, purpose: Purpose) -> Option<String> {
    let mode = directory.mode();
    let sticky = mode & STICKY != 0;
    if mode & ALL_WRITE != 0 && !sticky {
        return Some("every user".to_owned());
    }
    let (uid, gid) = (directory.uid(), directory.gid());
    if mode & GROUP_WRITES != 0 && !sticky && gid != 0 && gid != rustix::process::getegid().as_raw()
    {
        return Some(format!("the group {gid}"));
    }
    let me = rustix::process::geteuid().as_raw();
    // Root may check a configuration that a service's own user will run.
    let knows_user = purpose == Purpose::Serve || me != 0;
    (uid != 0 && uid != me && knows_user).then(|| format!("the user {uid}"))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
