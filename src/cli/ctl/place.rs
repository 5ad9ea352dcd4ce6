//! Where the admin socket is: from the flags, the environment, or a configuration file.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::client::AdminAddress;
use crate::cli::config_file;
use crate::config::Spec;
use crate::config::load;
use crate::config::reader::admin_address::AdminAddress as Listen;

/// What the command line says about the admin socket.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Place {
    /// Address of the admin socket: unix:PATH or http://ADDRESS:PORT [default: $RESEAL_ADMIN, then
    /// `admin.listen` of the configuration, then admin.sock in $RUNTIME_DIRECTORY, then in /run/reseal]
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
    /// File with the token, for http:// [default: `admin.token_file` of the configuration]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
}

impl Place {
    /// The place that a configuration names.
    pub(crate) fn of(path: &Path, spec: Option<&Spec>) -> Self {
        let (admin, token_file) = spec.map(|spec| named_by(path, spec)).unwrap_or_default();
        Self {
            admin,
            token_file,
            config: None,
        }
    }

    /// The address, and the file of the token.
    pub(super) fn resolve(&self) -> Result<(AdminAddress, Option<PathBuf>), String> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(path) = &self.config {
            let (admin, token) = self.of_named(path)?;
            return self.or_default(admin, token);
        }
        let named = self.admin.clone().or_else(|| variable("RESEAL_ADMIN"));
        match named {
            Some(named) => Ok((AdminAddress::parse(&named)?, self.token_file.clone())),
            None => {
                let (admin, token) = found().unwrap_or_default();
                self.or_default(admin, token)
            }
        }
    }

    fn or_default(
        &self,
        admin: Option<String>,
        token: Option<PathBuf>,
    ) -> Result<(AdminAddress, Option<PathBuf>), String> {
        let address = match admin {
            Some(admin) => AdminAddress::parse(&admin)?,
            None => {
                let directories = std::env::var("RUNTIME_DIRECTORY").ok();
                AdminAddress::default_address(directories.as_deref())
            }
        };
        Ok((address, self.token_file.clone().or(token)))
    }

    fn of_named(&self, path: &Path) -> Result<(Option<String>, Option<PathBuf>), String> {
        let shown = path.display();
        let spec = load::keys(path, |_| true)
            .map_err(|error| format!("{shown}: cannot be read: {error}"))?;
        let spec = spec.ok_or_else(|| {
            format!(
                "{shown}: it has errors, so the admin socket is not known; `reseal check {shown}` shows them, \
                 --admin gives the address"
            )
        })?;
        Ok(named_by(path, &spec))
    }
}

/// The admin socket and the file of the token in the configuration that `run` would take. One of another user
/// is left alone: it could send a token anywhere. One that cannot be read says nothing.
fn found() -> Option<(Option<String>, Option<PathBuf>)> {
    let path = config_file::search()?;
    let us = rustix::process::geteuid().as_raw();
    let is_ours = |meta: &Metadata| meta.uid() == 0 || meta.uid() == us;
    let spec = load::keys(&path, is_ours).ok().flatten()?;
    Some(named_by(&path, &spec))
}

fn named_by(path: &Path, spec: &Spec) -> (Option<String>, Option<PathBuf>) {
    let beside = |file: &Path| path.with_file_name("").join(file);
    let admin = spec
        .admin
        .listen
        .as_ref()
        .map(|listen| match &listen.value {
            Listen::Unix(socket) => format!("unix:{}", beside(socket).display()),
            Listen::Ip(address) => format!("http://{address}"),
        });
    let token = spec.admin.token_file.as_ref();
    (admin, token.map(|file| beside(file)))
}
