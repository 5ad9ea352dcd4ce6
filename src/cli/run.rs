//! `reseal run`.

use std::path::{Path, PathBuf};

use super::exit::Exit;
use super::output::eprint_line;
use super::start;
use crate::config::load::Source;
use crate::server::StopMode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration file [default: $RESEAL_CONFIG, ./config.yaml, /etc/reseal/config.yaml]
    #[arg(long, short, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// Where a configuration is searched when none is given.
const PLACES: [&str; 2] = ["config.yaml", "/etc/reseal/config.yaml"];

pub(super) fn main(args: &Args) -> Exit {
    let Some(path) = find(args.config.as_deref()) else {
        return Exit::Refused;
    };
    start::serve(Source::File(path), StopMode::Drain, |_| ())
}

/// The configuration file: the given one, or the first that exists. `None` after printing what is
/// missing and how to get it.
pub(super) fn find(named: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = named {
        return Some(path.to_owned());
    }
    let variable = std::env::var_os("RESEAL_CONFIG");
    if let Some(path) = variable.filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let found = PLACES.iter().map(PathBuf::from).find(|path| path.exists());
    if found.is_none() {
        eprint_line(
            "reseal: no configuration file: neither --config nor RESEAL_CONFIG names one, and there is no\n\
             ./config.yaml and no /etc/reseal/config.yaml\n\
             \n\
             To get one, copy config.yaml.example, which comes with Reseal, and edit it. Without one:\n  \
             reseal demo                                              try every mode on this machine\n  \
             reseal forward --listen 127.0.0.1:8080 --to HOST:PORT    forward one port\n  \
             reseal certs --out certs vault.example.com               make development certificates",
        );
    }
    found
}
