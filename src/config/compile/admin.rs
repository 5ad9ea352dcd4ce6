//! The admin socket and the metrics listener.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Compiler, Files};
use crate::admin::settings::{AdminListen, AdminSettings, Token};
use crate::config::reader::admin_address::AdminAddress;
use crate::config::reader::problem::Span;
use crate::config::spec;

/// The name of the socket in the directory that a service manager makes for us.
const SOCKET: &str = "admin.sock";

impl Compiler<'_> {
    /// `None` after problems were told, or when the token was not read.
    pub(super) fn admin(&mut self) -> Option<AdminSettings> {
        let spec = &self.spec.admin;
        let metrics = spec.metrics.as_ref().map(|metrics| metrics.value.0);
        let listen = match &spec.listen {
            None => runtime_directory().map(|directory| self.unix(directory.join(SOCKET))),
            Some(listen) => Some(match &listen.value {
                AdminAddress::Unix(path) => self.unix(self.resolve(path)),
                AdminAddress::Ip(address) => self.tcp(listen.at, *address)?,
            }),
        };
        if !matches!(listen, Some(AdminListen::Tcp { .. }))
            && let Some(token) = &spec.token_file
        {
            self.problems
                .warning(token.at, "`token_file` has no effect without a TCP address")
                .help("whoever may open a unix socket needs no token; see `permissions`");
        }
        Some(AdminSettings { listen, metrics })
    }

    fn unix(&self, path: PathBuf) -> AdminListen {
        let spec::Admin {
            permissions,
            owner,
            group,
            ..
        } = &self.spec.admin.value;
        AdminListen::Unix {
            path,
            permissions: permissions.0,
            owner: owner.as_ref().map(|owner| owner.0.clone()),
            group: group.as_ref().map(|group| group.0.clone()),
        }
    }

    fn tcp(&mut self, at: Span, address: SocketAddr) -> Option<AdminListen> {
        let Some(file) = &self.spec.admin.token_file else {
            self.problems
                .error(at, "a TCP address for the admin socket needs `token_file`")
                .help(
                    "everybody who reaches it could stop this process; `unix:PATH` needs no token",
                );
            return None;
        };
        if self.files == Files::Skip {
            return None;
        }
        match token(&self.resolve(file)) {
            Ok(token) => Some(AdminListen::Tcp { address, token }),
            Err((message, help)) => {
                self.problems.error(file.at, message).help(help);
                None
            }
        }
    }
}

/// The directory that systemd made for this process; of several, the first.
fn runtime_directory() -> Option<PathBuf> {
    let directories = std::env::var("RUNTIME_DIRECTORY").ok()?;
    let first = directories.split(':').next()?;
    (!first.is_empty()).then(|| first.into())
}

/// The token in a file, without the line's end. Else what is wrong, and the way out.
fn token(path: &Path) -> Result<Token, (String, String)> {
    let shown = path.display();
    let unreadable = |error| {
        (
            format!("{shown}: cannot be read: {error}"),
            format!("make one: `openssl rand -hex 32 > {shown}`"),
        )
    };
    let text = fs::read(path).map_err(unreadable)?;
    let mode = fs::metadata(path).map_err(unreadable)?.mode();
    if mode & 0o004 != 0 {
        return Err((
            format!(
                "{shown}: every user may read this token (mode {:04o})",
                mode & 0o7777
            ),
            format!("chmod 0640 {shown}"),
        ));
    }
    let text = text.trim_ascii();
    if text.len() < Token::LEN_MIN || !text.iter().all(u8::is_ascii_graphic) {
        return Err((
            format!(
                "{shown}: a token is one line of at least {} printable characters",
                Token::LEN_MIN
            ),
            format!("make one: `openssl rand -hex 32 > {shown}`"),
        ));
    }
    Ok(Token::new(text))
}
