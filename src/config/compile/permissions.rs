//! Checks who else can write the files that the configuration trusts: its own file, the materials, and
//! the directories of these and of unix sockets. Write access for every user is an error; for a group or
//! another user, which may be intended, it is a warning.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::compiler::{Compiler, Files, Purpose};
use crate::config::reader::admin_address::AdminAddress;
use crate::config::reader::listen::Listen;
use crate::config::reader::problem::{Problem, Problems, Severity, Span};
use crate::config::spec::KeyPermissions;
use crate::tls::material::file::{FileReader, MaterialError};

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
    if meta.is_file()
        && let Some(error) = writable_by_all(path, meta.mode())
    {
        problems.push(Problem {
            severity: severity(policy),
            at: None,
            message: error.message,
            also: None,
            help: error.help,
        });
    }
}

/// Whether every user may write this file.
fn writable_by_all(path: &Path, mode: u32) -> Option<MaterialError> {
    (mode & ALL_WRITE != 0).then(|| {
        MaterialError::new(
            path,
            format_args!(
                "every user may write this file (mode {:04o})",
                mode & 0o7777
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
    /// Reports materials that every user may write or replace; an error means that they must not be used.
    /// The modes of files are those of the descriptors that they were read from.
    pub(super) fn check_permissions<'a>(
        &mut self,
        at: Span,
        paths: impl Iterator<Item = &'a Path>,
        files: &FileReader,
    ) -> Result<(), MaterialError> {
        for path in paths {
            self.check_directory(at, if path.is_dir() { path } else { parent(path) });
        }
        for (path, mode) in files.modes() {
            let Some(error) = writable_by_all(path, mode) else {
                continue;
            };
            match severity(self.spec.process.key_permissions.value) {
                Severity::Error => return Err(error),
                Severity::Warning | Severity::Notice => {
                    let problem = self.problems.warning(at, error.message);
                    problem.help(error.help.unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    fn check_directory(&mut self, at: Span, directory: &Path) {
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
                Listen::Unix(unix) => Some((listen.at, self.resolve(&unix.unix))),
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
                        "the directory {dir} should belong to root or to the user that Reseal runs as, and \
                         be writable by no other; or set its sticky bit: chmod +t {dir}"
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
    if mode & GROUP_WRITES != 0 && !sticky && gid != 0 && !is_own_group(gid) {
        return Some(format!("the group {gid}"));
    }
    let me = rustix::process::geteuid().as_raw();
    // Root may check a configuration that a service's own user will run.
    let knows_user = purpose == Purpose::Serve || me != 0;
    (uid != 0 && uid != me && knows_user).then(|| format!("the user {uid}"))
}

/// Whether this process is in a group, which may be a supplementary one (`fsGroup` of Kubernetes).
pub(super) fn is_own_group(gid: u32) -> bool {
    let is_it = |own: rustix::process::Gid| own.as_raw() == gid;
    let supplementary = rustix::process::getgroups().unwrap_or_default();
    is_it(rustix::process::getegid()) || supplementary.into_iter().any(is_it)
}

pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
