//! `reseal man`: the man pages. Those of the commands are made from the command line, reseal.yaml(5) from the
//! table of keys.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::{Command, ValueEnum};
use clap_mangen::Man;

use super::exit::Exit;
use super::output::{eprint_line, print};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Of the commands, or of the configuration file
    #[arg(value_enum, default_value_t = Page::Reseal)]
    page: Page,
    /// Write all pages to this directory: reseal.1, one for each command, reseal.yaml.5
    #[arg(long, short, value_name = "DIR", conflicts_with = "page")]
    out: Option<PathBuf>,
}

/// A man page.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Page {
    /// reseal(1)
    #[value(name = "reseal")]
    Reseal,
    /// reseal.yaml(5)
    #[value(name = "reseal.yaml")]
    Configuration,
}

/// The date on the pages, when they were last changed. That of the build would make no two builds equal.
const DATE: &str = "2026-11-28";

/// What reseal(1) says after the commands.
const AFTER: &str = include_str!("man_after.roff");

/// The end of a page about one command.
const SEE_ALSO: &str = ".SH SEE ALSO\n.BR reseal (1),\n.BR reseal.yaml (5)\n";

/// `cli` is the whole command line.
pub(super) fn main(args: &Args, cli: Command) -> Exit {
    let written = match (&args.out, args.page) {
        (Some(directory), _) => write_all(directory, cli),
        (None, Page::Configuration) => return print(&crate::config::man_page(DATE)),
        (None, Page::Reseal) => match overview(&built(cli)) {
            Ok(page) => return print(&page),
            Err(error) => Err(error),
        },
    };
    match written {
        Ok(()) => Exit::Good,
        Err(error) => {
            eprint_line(&format!("reseal: {error}"));
            Exit::Bad
        }
    }
}

fn write_all(directory: &Path, cli: Command) -> io::Result<()> {
    let about = |path: &Path, error: io::Error| {
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    };
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o755).create(directory);
    made.map_err(|error| about(directory, error))?;
    for (name, text) in pages(cli)? {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| about(&path, error))?;
    }
    Ok(())
}

/// Every page, with its file name.
fn pages(cli: Command) -> io::Result<Vec<(String, String)>> {
    let plain = cli.clone();
    let cli = built(cli);
    let mut pages = vec![
        ("reseal.1".to_owned(), overview(&cli)?),
        ("reseal.yaml.5".to_owned(), crate::config::man_page(DATE)),
    ];
    for command in cli.get_subcommands() {
        let name = command.get_name();
        let inner = plain.find_subcommand(name);
        let inner = inner.into_iter().flat_map(Command::get_subcommands);
        let text = of_command(command, inner)?;
        pages.push((format!("reseal-{name}.1"), text));
    }
    Ok(pages)
}

/// With the names that clap gives to commands, and flags that all commands have.
fn built(cli: Command) -> Command {
    let mut cli = cli.disable_help_subcommand(true);
    cli.build();
    cli
}

/// reseal(1).
fn overview(cli: &Command) -> io::Result<String> {
    let man = Man::new(cli.clone());
    rendered(|out| {
        out.extend_from_slice(title("reseal").as_bytes());
        man.render_name_section(out)?;
        man.render_synopsis_section(out)?;
        man.render_description_section(out)?;
        man.render_subcommands_section(out)?;
        out.extend_from_slice(AFTER.as_bytes());
        Ok(())
    })
}

/// The page of one command. `inner` are its own commands, which are on the same page, without the flags that
/// they share.
fn of_command<'a>(
    command: &Command,
    inner: impl Iterator<Item = &'a Command>,
) -> io::Result<String> {
    let man = Man::new(command.clone());
    let title = title(&format!("reseal\\-{}", command.get_name()));
    let mut page = rendered(|out| {
        out.extend_from_slice(title.as_bytes());
        man.render_name_section(out)?;
        man.render_synopsis_section(out)?;
        man.render_description_section(out)?;
        man.render_options_section(out)
    })?;
    let mut heading = ".SH COMMANDS\n";
    for inner in inner {
        page.push_str(heading);
        page.push_str(&section(command, inner)?);
        heading = "";
    }
    page.push_str(SEE_ALSO);
    Ok(page)
}

/// A command of a command: its synopsis, what it does, its flags.
fn section(command: &Command, inner: &Command) -> io::Result<String> {
    let full = format!("reseal {} {}", command.get_name(), inner.get_name());
    let title = full.replace('-', "\\-");
    let man = Man::new(inner.clone().bin_name(full).disable_help_flag(true));
    let body = rendered(|out| {
        man.render_synopsis_section(out)?;
        out.extend_from_slice(b".PP\n");
        man.render_description_section(out)?;
        if inner.get_arguments().next().is_some() {
            man.render_options_section(out)?;
        }
        Ok(())
    })?;
    // What are sections of a page of its own are parts of one section here.
    let lines = body.lines().filter(|line| !line.starts_with(".SH "));
    let lines: Vec<_> = lines.collect();
    Ok(format!(".SS \"{title}\"\n{}\n", lines.join("\n")))
}

/// The first line of a page. clap_mangen leaves out an empty date, and what follows takes its place.
fn title(name: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(".TH {name} 1 {DATE} \"reseal {version}\" Reseal\n")
}

/// What `render` writes, as text.
fn rendered(render: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<String> {
    let mut page = Vec::new();
    render(&mut page)?;
    let page = String::from_utf8(page).map_err(io::Error::other)?;
    // The empty line between two breaks is a paragraph, and the breaks have no effect.
    Ok(page.replace(".br\n\n.br\n", ".sp\n"))
}
