//! The configuration file of a command: where it is named and searched.

use std::path::{Path, PathBuf};

use super::output::eprint_line;

/// Names a configuration file, with or without its flag.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigFile {
    /// Configuration file; - is standard input [default: $RESEAL_CONFIG, ./config.yaml,
    /// /etc/reseal/config.yaml]
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// The same, as a flag
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Where a configuration is searched when none is given.
const PLACES: [&str; 2] = ["config.yaml", "/etc/reseal/config.yaml"];

impl ConfigFile {
    /// The file that is named, or the first that exists. `None` after printing what is missing and how to
    /// get it.
    pub(super) fn find(&self) -> Option<PathBuf> {
        let named = self.config.as_ref().or(self.file.as_ref());
        let found = named.cloned().or_else(search);
        if found.is_none() {
            eprint_line(
                "reseal: no configuration file: neither --config nor RESEAL_CONFIG names one, and there is no\n\
                 ./config.yaml and no /etc/reseal/config.yaml\n\
                 \n\
                 To get one:\n  \
                 reseal init vault --out config.yaml                      a commented one; also for other jobs\n\
                 Without one:\n  \
                 reseal demo                                              try every mode on this machine\n  \
                 reseal forward --listen 127.0.0.1:8080 --to HOST:PORT    forward one port\n  \
                 reseal certs --out certs vault.example.com               make development certificates",
            );
        }
        found
    }
}

/// The configuration file that is used when none is named.
pub(super) fn search() -> Option<PathBuf> {
    let variable = std::env::var_os("RESEAL_CONFIG");
    if let Some(path) = variable.filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let found = PLACES.iter().map(Path::new).find(|path| path.exists());
    found.map(Path::to_owned)
}
