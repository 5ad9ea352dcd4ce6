//! The admin socket and the metrics listener.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::client_auth::fits_every_client;
use super::compiler::{Compiler, Files};
use super::pairs::PairPlaces;
use crate::config::reader::admin_address::AdminAddress;
use crate::config::reader::problem::Span;
use crate::config::reader::read::Located;
use crate::config::spec;
use crate::snapshot::admin::{self, Access, AdminListen, AdminSettings, AdminTls, Tokens};
use crate::tls::listener_config::listener_config;
use crate::tls::material::file::{Exposed, FileReader, MaterialError};
use crate::tls::pair_files::PairFiles;
use crate::tls::usage::Presented;
use crate::tls::verify::client::{AtExpiry, ClientAuth, ClientAuthority, ClientVerifier, Recheck};

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
        if !matches!(&spec.listen, Some(listen) if matches!(listen.value, AdminAddress::Ip(_))) {
            let token = spec
                .token_file
                .as_ref()
                .map(|token| (token.at, "token_file"));
            let tls = spec.tls.as_ref().map(|tls| (tls.at, "tls"));
            for (at, key) in [token, tls].into_iter().flatten() {
                self.problems
                    .warning(at, format!("`{key}` has no effect without a TCP address"))
                    .help("clients of a unix socket need no token; see `permissions`");
            }
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
        let spec = &self.spec.admin;
        let (token_file, tls) = (spec.token_file.as_ref(), spec.tls.as_ref());
        let verifies = tls.is_some_and(|tls| tls.client_ca.is_some());
        if token_file.is_none() && !verifies && !self.problems.is_incomplete(spec.at) {
            self.problems
                .error(at, "a TCP address for the admin socket needs `token_file`")
                .help(
                    "anyone who can connect could stop this process; `tls: { client_ca: FILE }` admits by \
                     certificate, and `unix:PATH` needs neither",
                );
        }
        if tls.is_none() && !address.ip().is_loopback() {
            self.problems
                .warning(at, "tokens are sent to this address in clear text")
                .help("add `tls: { cert: FILE, key: FILE }`, or listen on loopback or `unix:PATH`");
        }
        let tokens = token_file.map(|file| self.tokens(file, tokens));
        let tls = tls.map(|tls| self.admin_tls(tls));
        let access = Access {
            tokens: tokens.map_or(Some(None), |tokens| tokens.map(Some))?,
            tls: tls.map_or(Some(None), |tls| tls.map(Some))?,
        };
        Some(AdminListen::Tcp {
            address,
            access: Arc::new(access),
        })
    }

    fn admin_tls(&mut self, spec: &Located<spec::AdminTls>) -> Option<AdminTls> {
        let cert = self.resolve(&spec.cert);
        let (at, key) = (spec.cert.at, spec.key.as_ref());
        let files = PairFiles {
            key: key.map_or_else(|| cert.clone(), |key| self.resolve(key)),
            ocsp: None,
            password: None,
            cert,
        };
        let places = PairPlaces {
            key: key.map_or(at, |key| key.at),
            ..PairPlaces::all(at)
        };
        let pair = self.certified(places, files);
        let clients = match &spec.client_ca {
            None => Some(ClientAuth::Off),
            Some(ca) => self.bundle(ca.at, ca).map(|roots| {
                ClientAuth::Required(ClientAuthority {
                    send_ca_names: fits_every_client(&roots),
                    roots,
                    revocation: None,
                    rules: None,
                    recheck: Recheck::Off,
                    at_expiry: AtExpiry::Log,
                })
            }),
        };
        if self.files == Files::Skip {
            return None;
        }
        let pair = pair?;
        self.presented(at, &pair, Presented::ToClients);
        match listener_config(&pair, &ClientVerifier::new(clients?)) {
            Ok(config) => Some(AdminTls {
                config: Arc::new(config),
                pair,
            }),
            Err(error) => {
                self.problems.error(spec.at, error.to_string());
                None
            }
        }
    }
}

/// Reads the tokens of a file.
fn tokens(files: &mut FileReader, path: &Path) -> Result<Arc<Tokens>, MaterialError> {
    let make = || format!("make one: `openssl rand -hex 32 > {}`", path.display());
    let file = files.read(path).map_err(|error| error.help(make()))?;
    if let Some(Exposed(error)) = file.exposed("token") {
        return Err(error.help(format!("chmod 0640 {}", path.display())));
    }
    let tokens = Tokens::parse(&file.bytes).map_err(|error| match error.line {
        Some(line) => MaterialError::at_line(path, line, error.why),
        None => file.error(error.why),
    });
    Ok(Arc::new(tokens.map_err(|error| error.help(make()))?))
}
