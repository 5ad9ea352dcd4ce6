//! `reseal init`: a commented configuration for a job, to start from.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::exit::Exit;
use super::output::{eprint_line, print};

#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(super) struct Args {
    /// What the configuration is for
    #[arg(value_enum)]
    job: Job,
    /// Write to this file, which must not exist, instead of standard output
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What a configuration is for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Job {
    /// Clients with certificates, new TLS connections to the origins, the leader by health checks
    Vault,
    /// Several TLS services on one port, chosen by server name; nothing is decrypted
    Passthrough,
    /// Plain connections of this machine, verified TLS to remote services
    UpstreamTls,
    /// Databases behind client certificates, sources and limits
    Database,
    /// Plain TCP from one port to another
    Datapipe,
}

impl Job {
    const fn configuration(self) -> &'static str {
        match self {
            Self::Vault => include_str!("vault.yaml"),
            Self::Passthrough => include_str!("passthrough.yaml"),
            Self::UpstreamTls => include_str!("upstream-tls.yaml"),
            Self::Database => include_str!("database.yaml"),
            Self::Datapipe => include_str!("datapipe.yaml"),
        }
    }
}

pub(super) fn main(args: &Args) -> Exit {
    let text = args.job.configuration();
    let Some(path) = &args.out else {
        return print(text);
    };
    match write(path, text) {
        Ok(()) => print(&format!(
            "written to {0}\nedit it, then: reseal check {0}\n",
            path.display()
        )),
        Err(reason) => {
            eprint_line(&format!("reseal: {}: {reason}", path.display()));
            Exit::Bad
        }
    }
}

/// Writes a new file. An existing one, also a dangling symbolic link, is left alone.
fn write(path: &Path, text: &str) -> Result<(), String> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => "exists already, and is not overwritten".to_owned(),
        _ => error.to_string(),
    })?;
    file.write_all(text.as_bytes()).map_err(|error| {
        // Half a configuration is worse than none.
        let _ = fs::remove_file(path);
        error.to_string()
    })
}
