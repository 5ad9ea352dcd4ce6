//! What a start would stumble over on this machine, found while the file is read: log files, unix sockets,
//! their users and groups, addresses that this process may not listen on. `run` itself reports the last three
//! when it binds; a reload opens no log.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::compiler::{Compiler, Files, Purpose};
use super::permissions::{is_own_group, parent};
use crate::config::reader::admin_address::AdminAddress;
use crate::config::reader::listen::Listen;
use crate::config::reader::problem::{Span, quoted};
use crate::config::reader::read::Located;
use crate::config::reader::values::{Output, Text};
use crate::listener::preflight;

/// Where systemd and others make directories at the start of a service, which a check may come before.
const MADE_AT_START: [&str; 2] = ["/run", "/var/run"];

const OTHER_USER: &str =
    "if Reseal runs as another user, check as that user: `sudo -u USER reseal check …`";

impl Compiler<'_> {
    pub(super) fn startable(&mut self) {
        if self.files == Files::Skip || self.running.is_some() {
            return;
        }
        let spec = self.spec;
        for output in [&spec.log.output, &spec.access_log.output] {
            self.log(output);
        }
        if self.purpose == Purpose::Serve {
            return;
        }
        for listen in spec.endpoints.iter().flat_map(|e| e.listen.iter()) {
            match &listen.value {
                Listen::Ip(address) => self.must_bind(listen.at, preflight::endpoint(*address)),
                Listen::Any(port) => self.must_bind(listen.at, preflight::everywhere(*port)),
                Listen::Unix(unix) => {
                    self.socket(listen.at, &self.resolve(&unix.unix));
                    self.accounts(unix.owner.as_ref(), unix.group.as_ref());
                }
                Listen::Systemd(_) => {}
            }
        }
        let admin = &spec.admin;
        if let Some(listen) = &admin.listen {
            match &listen.value {
                AdminAddress::Unix(path) => {
                    self.socket(listen.at, &self.resolve(path));
                    self.accounts(admin.owner.as_ref(), admin.group.as_ref());
                }
                AdminAddress::Ip(address) => self.must_bind(listen.at, preflight::admin(*address)),
            }
        }
        if let Some(metrics) = &admin.metrics {
            self.must_bind(metrics.at, preflight::admin(metrics.value.0));
        }
    }

    fn log(&mut self, output: &Located<Output>) {
        let Output::File(path) = &output.value else {
            return;
        };
        let path = self.resolve(path);
        match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => {
                let message = format!("{} is a directory, and a log is a file", path.display());
                let problem = self.problems.error(output.at, message);
                problem.help(format!("{}", path.join("reseal.log").display()));
            }
            Ok(meta) if meta.file_type().is_socket() || meta.file_type().is_block_device() => {
                let message = format!("{} is not a file to append to", path.display());
                self.problems.error(output.at, message);
            }
            Ok(_) if !may(&path, Access::WRITE_OK) => {
                let message = format!("this user may not write {}", path.display());
                self.problems.error(output.at, message).help(OTHER_USER);
            }
            Ok(meta) if meta.file_type().is_fifo() => {
                let message = format!("{} is a pipe", path.display());
                let help =
                    "a program has to read it before Reseal starts, which does not wait for one";
                self.problems.notice(output.at, message).help(help);
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // The start creates the file, also at the end of links.
                let created = end_of_links(&path);
                self.must_hold_files(output.at, parent(&created), Missing::Refused);
            }
            Err(error) => self.unreachable(output.at, &path, &error),
        }
    }

    fn socket(&mut self, at: Span, path: &Path) {
        match fs::symlink_metadata(path) {
            Ok(meta) if !meta.file_type().is_socket() => {
                let path = path.display();
                let message = format!("{path} exists and is not a socket, and is not replaced");
                self.problems.error(at, message);
            }
            // The start removes a socket that nobody listens on, if it may.
            Ok(_) => self.must_hold_files(at, parent(path), Missing::Refused),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let at_start = MADE_AT_START.iter().any(|place| path.starts_with(place));
                let missing = if at_start {
                    Missing::Noted
                } else {
                    Missing::Refused
                };
                self.must_hold_files(at, parent(path), missing);
            }
            Err(error) => self.unreachable(at, path, &error),
        }
    }

    /// Reports a directory in which this process cannot create a file.
    fn must_hold_files(&mut self, at: Span, directory: &Path, missing: Missing) {
        let shown = directory.display();
        match fs::metadata(directory) {
            Ok(meta) if !meta.is_dir() => {
                let message = format!("{shown} is not a directory");
                self.problems.error(at, message);
            }
            Ok(_) if !may(directory, Access::WRITE_OK | Access::EXEC_OK) => {
                let message = format!("this user may not create files in {shown}");
                self.problems.error(at, message).help(OTHER_USER);
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let message = format!("the directory {shown} does not exist");
                match missing {
                    Missing::Refused => self.problems.error(at, message).help(format!(
                        "create it: mkdir -p {shown}; systemd does with `LogsDirectory=` or \
                         `RuntimeDirectory=` in the unit"
                    )),
                    Missing::Noted => self.problems.notice(at, message).help(
                        "it has to exist when Reseal starts: `RuntimeDirectory=` in the unit makes it",
                    ),
                };
            }
            Err(error) => self.unreachable(at, directory, &error),
        }
    }

    fn unreachable(&mut self, at: Span, path: &Path, error: &io::Error) {
        let message = format!("{}: {error}", path.display());
        let problem = self.problems.error(at, message);
        if error.kind() == ErrorKind::PermissionDenied {
            problem.help(OTHER_USER);
        }
    }

    fn accounts(&mut self, owner: Option<&Located<Text>>, group: Option<&Located<Text>>) {
        let me = rustix::process::geteuid().as_raw();
        if let Some(owner) = owner {
            let user = preflight::user(&owner.0);
            self.account(owner, user, |id| me != 0 && id != me);
        }
        if let Some(group) = group {
            let found = preflight::group(&group.0);
            self.account(group, found, |id| me != 0 && !is_own_group(id));
        }
    }

    fn account(
        &mut self,
        name: &Located<Text>,
        found: io::Result<u32>,
        needs_root: impl FnOnce(u32) -> bool,
    ) {
        match found {
            Err(error) => {
                self.problems.error(name.at, error.to_string());
            }
            Ok(id) if needs_root(id) => {
                let message = format!("this user may not give a socket to {}", quoted(&name.0));
                let help = "a process without root may give it to its own user and groups alone";
                self.problems.notice(name.at, message).help(help);
            }
            Ok(_) => {}
        }
    }

    /// Notes what the start would fail with. The configuration is sound: the rights come with the unit or the
    /// program, and an address may come later.
    fn must_bind(&mut self, at: Span, refused: Option<String>) {
        if let Some(message) = refused {
            let help =
                "`reseal run` as this user, on this machine as it is, would end with exit code 3";
            self.problems.notice(at, message).help(help);
        }
    }
}

/// The file that a path leads to, which need not exist.
fn end_of_links(path: &Path) -> PathBuf {
    // The kernel follows at most as many (path_resolution(7)).
    const LINKS_MAX: usize = 40;
    let mut end = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&end) {
            Ok(target) => end = parent(&end).join(target),
            Err(_) => break,
        }
    }
    end
}

/// What a directory that does not exist is.
#[derive(Clone, Copy)]
enum Missing {
    Refused,
    Noted,
}

/// Whether this process has these rights. What it cannot find out, the start shows.
fn may(path: &Path, rights: Access) -> bool {
    accessat(CWD, path, rights, AtFlags::EACCESS).is_ok()
}
