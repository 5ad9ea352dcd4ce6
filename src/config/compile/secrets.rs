//! Secrets: ticket secrets and the admin tokens, and the rule on who may read a secret.

use std::path::Path;
use std::sync::Arc;

use super::compiler::Compiler;
use super::reading::{ReadError, cached};
use crate::config::reader::problem::{Problems, Span};
use crate::config::reader::read::Located;
use crate::config::reader::values;
use crate::config::spec::KeyPermissions;
use crate::negotiate::Authorization;
use crate::snapshot::admin::Tokens;
use crate::tls::material;
use crate::tls::material::file::{Exposed, FileReader, MaterialError};
use crate::tls::sessions::TicketSecret;

impl Compiler<'_> {
    /// The tokens of the admin socket.
    pub(super) fn tokens(
        &mut self,
        file: &Located<values::Path>,
        read: fn(&mut FileReader, &Path) -> Result<Arc<Tokens>, MaterialError>,
    ) -> Option<Arc<Tokens>> {
        let path = self.resolve(file);
        self.material(file.at, cached!(tokens), path.clone(), |reader, _| {
            Ok(read(reader, &path)?)
        })
    }

    /// What an HTTP proxy is shown.
    pub(super) fn authorization(&mut self, file: &Located<values::Path>) -> Option<Authorization> {
        const HELP: &str = "it holds the value of Proxy-Authorization alone, in one line, such as \
            `Basic ` and the base64 of USER:PASSWORD";
        let path = self.resolve(file);
        let policy = self.spec.process.key_permissions.value;
        let read = |reader: &mut FileReader, problems: &mut Problems| {
            let secret = reader.read(&path).map_err(|e| e.help(HELP))?;
            secrecy(policy, file.at, secret.exposed("authorization"), problems)?;
            let text = std::str::from_utf8(&secret.bytes).unwrap_or_default();
            let text = text.strip_suffix('\n').unwrap_or(text);
            let text = text.strip_suffix('\r').unwrap_or(text);
            let is_field = text.to_ascii_lowercase().starts_with("proxy-authorization");
            let found = Authorization::new(text).filter(|_| !is_field);
            let refused = || {
                secret
                    .error("not the value of a Proxy-Authorization field")
                    .help(HELP)
            };
            Ok(found.ok_or_else(refused)?)
        };
        self.material(file.at, cached!(authorizations), path.clone(), read)
    }

    /// The secrets for ticket keys; empty if none are configured.
    pub(super) fn ticket_secrets(&mut self) -> Option<Vec<TicketSecret>> {
        let Some(files) = &self.spec.process.ticket_secret else {
            return Some(Vec::new());
        };
        if files.is_empty() {
            self.problems
                .error(files.at, "an empty list of secrets")
                .help("leave `ticket_secret` out to use keys of this process alone");
            return None;
        }
        let mut secrets = Vec::new();
        for file in files.iter() {
            let path = self.resolve(file);
            let policy = self.spec.process.key_permissions.value;
            let read = |reader: &mut FileReader, problems: &mut Problems| {
                let make = || format!("make one: `openssl rand -out {} 32`", path.display());
                let secret = reader.read(&path).map_err(|e| e.help(make()))?;
                secrecy(policy, file.at, secret.exposed("ticket secret"), problems)?;
                Ok(material::ticket_secret(&secret)?)
            };
            secrets.push(self.material(file.at, cached!(secrets), path.clone(), read));
        }
        secrets.into_iter().collect()
    }
}

/// Refuses a secret whose file every user may read.
pub(super) fn secrecy(
    policy: KeyPermissions,
    at: Span,
    exposed: Option<Exposed>,
    problems: &mut Problems,
) -> Result<(), ReadError> {
    let Some(Exposed(error)) = exposed else {
        return Ok(());
    };
    match policy {
        KeyPermissions::Refuse => Err(ReadError {
            at: Some(at),
            error,
        }),
        KeyPermissions::Warn => {
            let problem = problems.warning(at, error.message);
            if let Some(help) = error.help {
                problem.help(help);
            }
            Ok(())
        }
    }
}
