//! The command line: one file per command. `exit.rs` has the exit codes, `output.rs` what is printed.

mod acme;
mod certs;
mod check;
mod completions;
mod config_file;
mod connect;
mod convert;
mod ctl;
mod demo;
mod document;
mod exit;
mod explain;
mod explanation;
mod fleet;
mod flow;
mod forward;
mod init;
mod man;
mod output;
mod paint;
mod routes;
mod run;
mod start;
mod start_fleet;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use self::output::print;
use crate::config::load::Source;
use crate::control::signals;
use crate::server::StopMode;

/// A TLS-terminating and re-encrypting TCP proxy.
#[derive(Debug, Parser)]
#[command(name = "reseal", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy
    Run(run::Args),
    /// Check a configuration: report all problems, or print a summary
    Check(check::Args),
    /// Show how a connection would be handled, and why
    Explain(explain::Args),
    /// Print a commented configuration to start from
    Init(init::Args),
    /// Convert the configuration of another program
    Convert(convert::Args),
    /// Run every mode on loopback with throw-away certificates, and print commands to try
    Demo(demo::Args),
    /// Make development certificates: a CA, servers and a client
    Certs(certs::Args),
    /// Query or control a running process
    Ctl(Box<ctl::Args>),
    /// Try the issuers of `acme` of a running process
    Acme(acme::Args),
    /// Push documents to a fleet, and see what its instances do
    Fleet(Box<fleet::Args>),
    /// Forward one port, without a configuration file
    Forward(Box<forward::Args>),
    /// Print the JSON Schema of the configuration file
    Schema,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print a man page, or write all of them
    Man(man::Args),
}

impl Command {
    /// Whether the command runs until a signal ends it.
    const fn serves(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Demo(_) | Self::Forward(_))
    }
}

/// Runs the configuration of this file. Calls `on_listening` with the addresses of the endpoints, in the
/// sandbox, once clients can connect. For a test whose own code runs in the process.
pub fn serve(config: PathBuf, on_listening: impl FnOnce(&[(Arc<str>, String)])) -> ExitCode {
    let _ = signals::block();
    start::serve(Source::File(config), StopMode::Drain, on_listening).into()
}

/// Runs the command of the command line.
pub fn main() -> ExitCode {
    // First, before anything that takes time. Blocking a valid signal cannot fail.
    let _ = signals::block();
    let command = Cli::parse().command;
    if !command.serves() {
        let _ = signals::unblock();
    }
    let exit = match command {
        Command::Run(args) => run::main(&args),
        Command::Check(args) => check::main(&args),
        Command::Explain(args) => explain::main(&args),
        Command::Init(args) => init::main(&args),
        Command::Convert(args) => convert::main(&args),
        Command::Demo(args) => demo::main(&args),
        Command::Certs(args) => certs::main(&args),
        Command::Ctl(args) => ctl::main(&args),
        Command::Acme(args) => acme::main(&args),
        Command::Fleet(args) => fleet::main(&args),
        Command::Forward(args) => forward::main(&args),
        Command::Schema => print(&format!("{:#}\n", crate::config::schema())),
        Command::Completions { shell } => completions::main(shell, Cli::command()),
        Command::Man(args) => man::main(&args, Cli::command()),
    };
    exit.into()
}
