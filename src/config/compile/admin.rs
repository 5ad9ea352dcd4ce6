//! The admin socket and the metrics listener.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::compiler::Compiler;
use crate::config::reader::admin_address::AdminAddress;
use crate::config::reader::problem::Span;
use crate::config::spec;
use crate::snapshot::admin::{self, AdminListen, AdminSettings, Token};
use crate::tls::material::file::{Exposed, FileReader, MaterialError};

impl Compiler<'_> {
    /// `None` if there are errors, or if the token was not read.
    pub(super) fn admin(&mut self) -> Option<AdminSettings> {
        let spec = &self.spec.admin;
        let metrics = spec.metrics.as_ref().map(|metrics| metrics.value.0);
        let listen = match &spec.listen {
            None => std::env::var("RUNTIME_DIRECTORY")
                .ok()
                .and_then(|all| admin::socket_in(&all))
                .map(|path| self.unix(path)),
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
                .help("clients of a unix socket need no token; see `permissions`");
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
                .help("anyone who can connect could stop this process; `unix:PATH` needs no token");
            return None;
        };
        let token = self.token(file, token)?;
        Some(AdminListen::Tcp { address, token })
    }
}

/// Reads the token of a file, without the end of its line.
fn token(files: &mut FileReader, path: &Path) -> Result<Token, MaterialError> {
    let make = || format!("make one: `openssl rand -hex 32 > {}`", path.display());
    let file = files.read(path).map_err(|error| error.help(make()))?;
    if let Some(Exposed(error)) = file.exposed("token") {
        return Err(error.help(format!("chmod 0640 {}", path.display())));
    }
    let text = file.bytes.trim_ascii();
    if text.len() < Token::LEN_MIN || !text.iter().all(u8::is_ascii_graphic) {
        let least = Token::LEN_MIN;
        let what = format!("a token is one line of at least {least} printable characters");
        return Err(file.error(what).help(make()));
    }
    Ok(Token::new(text))
}
