//! `reseal run`.

use std::path::PathBuf;

use super::config_file::ConfigFile;
use super::exit::Exit;
use super::start::{self, Start};
use crate::config::load::Source;
use crate::server::{Predecessor, StopMode};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,

    /// Take over the sockets of the process that serves now, which then drains: the one at the admin socket
    /// of the configuration, or at this one
    #[arg(
        long,
        value_name = "unix:PATH",
        num_args = 0..=1,
        require_equals = true,
        value_parser = admin_socket
    )]
    takeover: Option<Option<PathBuf>>,
    /// Be ready (/readyz, and the service manager) only once every certificate of `acme` is there
    #[arg(long)]
    wait_certificates: bool,
}

fn admin_socket(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix:").filter(|path| !path.is_empty());
    path.map(PathBuf::from)
        .ok_or_else(|| "it is not unix:PATH".to_owned())
}

pub(super) fn main(args: &Args) -> Exit {
    let Some(path) = args.config.find() else {
        return Exit::Refused;
    };
    let predecessor = args.takeover.as_ref().map(|at| match at {
        Some(path) => Predecessor::At(path.clone()),
        None => Predecessor::OfConfiguration,
    });
    let start = Start {
        predecessor: predecessor.as_ref(),
        waits: args.wait_certificates,
    };
    start::serve_as(&start, Source::File(path), StopMode::Drain, |_| ())
}
