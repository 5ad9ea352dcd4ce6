//! `reseal run`.

use super::config_file::ConfigFile;
use super::exit::Exit;
use super::start;
use crate::config::load::Source;
use crate::server::StopMode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn main(args: &Args) -> Exit {
    let Some(path) = args.config.find() else {
        return Exit::Refused;
    };
    start::serve(Source::File(path), StopMode::Drain, |_| ())
}
