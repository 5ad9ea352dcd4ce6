//! The fleet that a command is about, and who asks.

use std::path::Path;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

use crate::cli::config_file::search;
use crate::cli::exit::Exit;
use crate::cli::output::eprint_line;
use crate::cli::start::unreadable;
use crate::config::compile::{Files, LoadOptions, Purpose};
use crate::config::load;
use crate::fleet::{Etcd, FleetSettings, IS_BUILT_IN, Store};
use crate::observe::escape;
use crate::tls::sessions::Sessions;

/// The fleet of a configuration, and the requests to its store.
pub(super) struct Place {
    settings: Arc<FleetSettings>,
    etcd: Etcd,
    runtime: Runtime,
}

impl Place {
    /// The fleet of this file, or of the one that is found. An error was printed.
    pub(super) fn of(config: Option<&Path>) -> Result<Self, Exit> {
        if !IS_BUILT_IN {
            eprint_line("reseal: this build has no fleets: build it with the feature `fleet`");
            return Err(Exit::Refused);
        }
        let Some(path) = config.map(Path::to_owned).or_else(search) else {
            eprint_line(
                "reseal: no configuration file: neither --config nor RESEAL_CONFIG names one, and there is no\n\
                 ./config.yaml and no /etc/reseal/config.yaml. It needs a `fleet:` block, which says where etcd is.",
            );
            return Err(Exit::Refused);
        };
        let sessions = Sessions::default();
        let options = LoadOptions::first(Files::Read, Purpose::Check, &sessions);
        let (loaded, settings) = match load::fleet(&path, options) {
            Ok(found) => found,
            Err(error) => return Err(unreadable(&path, &error)),
        };
        if loaded.problems.has_errors() {
            eprint_line(&loaded.report());
            return Err(Exit::Refused);
        }
        let Some(settings) = settings else {
            let path = path.display();
            eprint_line(&format!(
                "reseal: {path}: it has no `fleet:` block, which says where etcd is"
            ));
            return Err(Exit::Refused);
        };
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| {
            eprint_line(&format!("reseal: cannot start: {error}"));
            Exit::Internal
        })?;
        Ok(Self {
            etcd: Etcd::new(&settings.store, 0),
            settings,
            runtime,
        })
    }

    /// Does something with the store. An error is printed.
    pub(super) fn ask<T, E: std::fmt::Display>(
        &mut self,
        work: impl AsyncFnOnce(&mut Store<'_>) -> Result<T, E>,
    ) -> Result<T, Exit> {
        let mut store = Store::of(&self.settings, &mut self.etcd);
        self.runtime.block_on(work(&mut store)).map_err(|error| {
            eprint_line(&format!("reseal: {}", escape::text(&error.to_string())));
            Exit::Bad
        })
    }
}

/// Who runs this command, for those who ask later.
pub(super) fn who() -> String {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = variable("SUDO_USER").or_else(|| variable("USER"));
    let user = user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let text = format!("{user}@{}", host.trim());
    text.chars()
        .filter(|char| !char.is_control())
        .take(128)
        .collect()
}
