//! `reseal acme`: what can be done by hand with the issuers of a running process.

use clap::Subcommand;

use super::ctl::{self, Place};
use super::exit::Exit;
use super::output::{eprint_line, print};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: AcmeCommand,
}

#[derive(Debug, Subcommand)]
enum AcmeCommand {
    /// Order a certificate as its issuer would, and do not install it: CAs count such orders, too
    Try {
        /// Name of the certificate, or one of the hosts that it is for
        name: String,
    },
}

pub(super) fn main(args: &Args) -> Exit {
    let AcmeCommand::Try { name } = &args.command;
    match ctl::try_order(&args.place, name) {
        Ok(text) => print(&text),
        Err(why) => {
            eprint_line(&format!("reseal: {why}"));
            Exit::Bad
        }
    }
}
