//! `reseal forward`: one route from the command line. The flags become the text of a configuration, which is
//! loaded like any other.

mod args;
mod compose;
mod peers;
mod sides;

use std::path::{Path, PathBuf};

pub(super) use self::args::Args;
use self::sides::Sides;
use super::exit::Exit;
use super::output::{eprint_line, print};
use super::start;
use crate::config::compile::{Files, LoadOptions, Purpose};
use crate::config::load::{self, Source};
use crate::server::StopMode;
use crate::tls::sessions::Sessions;

/// What stands for the file in problems.
const PATH: &str = "(from the flags)";

pub(super) fn main(args: &Args) -> Exit {
    let text = match Sides::of(args).and_then(|sides| sides.fit(args).map(|()| sides)) {
        Ok(sides) => compose::document(args, &sides).print(),
        Err(invalid) => {
            eprint_line(&format!("reseal: {invalid}"));
            return Exit::Refused;
        }
    };
    if args.print {
        return print_good(text);
    }
    let source = Source::Text {
        text,
        path: PATH.into(),
        dir: PathBuf::new(),
    };
    start::serve(source, StopMode::Immediate, |_| ())
}

/// Prints a configuration without errors. Its files are not read: it may be for another machine.
fn print_good(text: String) -> Exit {
    let sessions = Sessions::default();
    let options = LoadOptions::first(Files::Skip, Purpose::Check, &sessions);
    let loaded = load::text_in(text, Path::new(PATH), Path::new(""), options);
    if loaded.problems.has_errors() {
        eprint_line(&loaded.report());
        return Exit::Refused;
    }
    print(&loaded.text)
}
