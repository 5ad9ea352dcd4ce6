//! Where the admin socket is: from the flags, the environment, or a configuration file.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::address::AdminAddress;
use super::client::Admin;
use super::trust::Trust;
use crate::cli::config_file;
use crate::config::reader::admin_address::AdminAddress as Listen;
use crate::config::spec;
use crate::config::{Spec, load};
use crate::snapshot::admin::strongest;
use crate::tls::material::file::Contents;

/// What the command line says about the admin socket.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Place {
    /// Address of the admin socket: unix:PATH, http://ADDRESS:PORT or https://ADDRESS:PORT [default:
    /// $RESEAL_ADMIN, then `admin.listen` of the configuration, then admin.sock in $RUNTIME_DIRECTORY, then
    /// in /run/reseal]
    #[arg(long, global = true, value_name = "PLACE")]
    pub(super) admin: Option<String>,
    /// Configuration of the process, which says where its admin socket is [default: as `reseal run`]
    #[arg(
        long,
        short,
        global = true,
        value_name = "FILE",
        conflicts_with = "admin"
    )]
    config: Option<PathBuf>,
    /// File with the token, for http:// and https:// [default: `admin.token_file` of the configuration]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// File with the CA of the listener's certificate, for https:// [default: the certificate in `admin.tls`
    /// of the configuration is the one that is trusted, else the public CAs are]
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// File with our certificate, for https:// with `client_ca`
    #[arg(long, global = true, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// File with its private key [default: the file of --cert]
    #[arg(long, global = true, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The listener's own certificate, which a configuration names.
    #[arg(skip)]
    pinned: Option<PathBuf>,
}

/// What a configuration says about its admin socket.
#[derive(Debug, Default)]
struct Named {
    admin: Option<String>,
    token_file: Option<PathBuf>,
    /// The certificate of `admin.tls`.
    cert: Option<PathBuf>,
}

impl Place {
    /// The place that a configuration names.
    pub(crate) fn of(path: &Path, spec: Option<&Spec>) -> Self {
        let named = spec.map(|spec| named_by(path, &spec.admin));
        let named = named.unwrap_or_default();
        Self {
            admin: named.admin,
            token_file: named.token_file,
            pinned: named.cert,
            ..Self::default()
        }
    }

    /// The place that flags among these words name, or else this one.
    pub(super) fn named_in(&self, words: &[String]) -> Self {
        let value = |flags: &[&str]| {
            words.iter().enumerate().find_map(|(n, word)| {
                if flags.contains(&word.as_str()) {
                    return words.get(n + 1).cloned();
                }
                let (flag, value) = word.split_once('=')?;
                flags.contains(&flag).then(|| value.to_owned())
            })
        };
        Self {
            admin: value(&["--admin"]).or_else(|| self.admin.clone()),
            config: value(&["--config", "-c"])
                .map(PathBuf::from)
                .or_else(|| self.config.clone()),
            token_file: value(&["--token-file"])
                .map(PathBuf::from)
                .or_else(|| self.token_file.clone()),
            ..self.clone()
        }
    }

    /// The address, and what it takes to be admitted.
    pub(super) fn resolve(&self) -> Result<Admin, String> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let named = match &self.config {
            Some(path) => Self::of_named(path)?,
            None => match self.admin.clone().or_else(|| variable("RESEAL_ADMIN")) {
                Some(admin) => Named {
                    admin: Some(admin),
                    ..Named::default()
                },
                None => found().unwrap_or_default(),
            },
        };
        let address = match &named.admin {
            Some(admin) => AdminAddress::parse(admin)?,
            None => {
                let directories = std::env::var("RUNTIME_DIRECTORY").ok();
                AdminAddress::default_address(directories.as_deref())
            }
        };
        // A unix socket takes no token, so its file need not be readable.
        let is_unix = matches!(address, AdminAddress::Unix(_));
        let token_file = self.token_file.clone().or(named.token_file);
        let token = token_file.filter(|_| !is_unix);
        let tls = match &address {
            AdminAddress::Tls(_) => {
                let trust = Trust {
                    ca: self.ca.clone(),
                    pinned: self.pinned.clone().or(named.cert),
                    cert: self.cert.clone(),
                    key: self.key.clone(),
                };
                Some(Arc::new(trust.config()?))
            }
            AdminAddress::Unix(_) | AdminAddress::Tcp(_) => None,
        };
        Ok(Admin {
            address,
            token: token.as_deref().map(token_in).transpose()?,
            tls,
        })
    }

    fn of_named(path: &Path) -> Result<Named, String> {
        let shown = path.display();
        let admin = load::admin(path, |_| true)
            .map_err(|error| format!("{shown}: cannot be read: {error}"))?;
        let admin = admin.ok_or_else(|| {
            format!(
                "{shown}: it has errors, so the admin socket is not known; `reseal check {shown}` shows them, \
                 --admin gives the address"
            )
        })?;
        Ok(named_by(path, &admin))
    }
}

/// The admin socket of the configuration that `run` would take. One of another user
/// is left alone: it could send a token anywhere. One that cannot be read says nothing.
fn found() -> Option<Named> {
    let path = config_file::search()?;
    let us = rustix::process::geteuid().as_raw();
    let is_ours = |meta: &Metadata| meta.uid() == 0 || meta.uid() == us;
    let admin = load::admin(&path, is_ours).ok().flatten()?;
    Some(named_by(&path, &admin))
}

fn named_by(path: &Path, admin: &spec::Admin) -> Named {
    let beside = |file: &Path| path.with_file_name("").join(file);
    let scheme = if admin.tls.is_some() { "https" } else { "http" };
    let listen = admin.listen.as_ref().map(|listen| match &listen.value {
        Listen::Unix(socket) => format!("unix:{}", beside(socket).display()),
        Listen::Ip(address) => format!("{scheme}://{address}"),
    });
    Named {
        admin: listen,
        token_file: admin.token_file.as_ref().map(|file| beside(file)),
        cert: admin.tls.as_ref().map(|tls| beside(&tls.cert)),
    }
}

/// The token of a file that has most rights, as the file of the process may have several.
fn token_in(path: &Path) -> Result<Zeroizing<String>, String> {
    let file = Contents::read(path).map_err(|error| error.message)?;
    let text = std::str::from_utf8(&file.bytes);
    let text = text.map_err(|_| file.error("it is not UTF-8 text").message)?;
    let token = strongest(text);
    let token = token.ok_or_else(|| file.error("there is no token in it").message)?;
    Ok(Zeroizing::new(token.to_owned()))
}
