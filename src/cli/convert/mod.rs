//! `reseal convert`: configurations of other programs, as far as their meaning is certain.

mod ghostunnel;
mod stunnel;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::document::Document;
use super::exit::Exit;
use super::output::{eprint_line, print};
use crate::config::compile::{Files, LoadOptions, Purpose};
use crate::config::load;
use crate::tls::sessions::Sessions;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// Convert a configuration file of stunnel
    Stunnel {
        /// Its configuration file; - is standard input
        file: PathBuf,
    },
    /// Convert a command line of ghostunnel
    Ghostunnel {
        /// Its arguments, `server` or `client` first
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

/// The largest file that is read, in bytes. Real ones have some kilobytes.
const FILE_MAX: u64 = 1024 * 1024;

pub(super) fn main(args: &Args) -> Exit {
    let document = match &args.from {
        From::Stunnel { file } => read(file).and_then(|bytes| {
            stunnel::convert(&file.display().to_string(), &bytes)
                .map_err(|reason| format!("{}: {reason}", file.display()))
        }),
        From::Ghostunnel { args } => ghostunnel::convert(args),
    };
    match document {
        Ok(document) => finish(&document),
        Err(reason) => {
            eprint_line(&format!("reseal: {reason}"));
            Exit::Refused
        }
    }
}

/// Prints the configuration, and on standard error what is left to do.
fn finish(document: &Document) -> Exit {
    let text = document.print();
    let exit = print(&text);
    let left_out = document.all_left_out().count();
    if left_out > 0 {
        eprint_line(&format!(
            "reseal: {left_out} lines or arguments were not converted: look for `# not converted`"
        ));
    }
    if document.upstreams.is_empty() {
        eprint_line("reseal: no service was converted: the configuration is not complete");
        return exit;
    }
    let sessions = Sessions::default();
    let options = LoadOptions::first(Files::Skip, Purpose::Check, &sessions);
    let path = Path::new("(the result)");
    let loaded = load::text_in(text, path, Path::new(""), options);
    if loaded.problems.has_errors() {
        eprint_line(&loaded.report());
        return Exit::Bad;
    }
    exit
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let unreadable = |error: io::Error| format!("{shown}: cannot be read: {error}");
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        let read = io::stdin()
            .lock()
            .take(FILE_MAX + 1)
            .read_to_end(&mut bytes);
        read.map_err(unreadable)?;
    } else {
        let file = File::open(path).map_err(unreadable)?;
        let read = file.take(FILE_MAX + 1).read_to_end(&mut bytes);
        read.map_err(unreadable)?;
    }
    if bytes.len() as u64 > FILE_MAX {
        return Err(format!(
            "{shown}: more than {FILE_MAX} bytes: no configuration is that large"
        ));
    }
    Ok(bytes)
}
