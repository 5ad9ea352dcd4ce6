//! `reseal completions`: what clap makes of the command line, and names of the running process beside it.

use clap::Command;
use clap_complete::{Shell, generate};

use super::exit::Exit;
use super::output::print;

/// How bash asks for names. Nothing of a name is expanded.
const BASH: &str = include_str!("completions/names.bash");

/// How zsh does.
const ZSH: &str = include_str!("completions/names.zsh");

/// How fish does.
const FISH: &str = include_str!("completions/names.fish");

/// Values whose names the running process knows, as clap writes them for zsh.
const VALUES: [(&str, &str); 8] = [
    (":ENDPOINT:_default", "endpoints"),
    (":ROUTE:_default", "routes"),
    (":UPSTREAM:_default", "upstreams"),
    (":ORIGIN:_default", "origins"),
    (":ID:_default", "connections"),
    (":REASON:_default", "reasons"),
    (":endpoint -- Name of the endpoint:_default", "endpoints"),
    (":upstream -- Name of the upstream:_default", "upstreams"),
];

pub(super) fn main(shell: Shell, mut cli: Command) -> Exit {
    let mut script = Vec::new();
    generate(shell, &mut cli, "reseal", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    print(&match shell {
        Shell::Bash => script + BASH,
        Shell::Fish => script + FISH,
        Shell::Zsh => zsh(script),
        _ => script,
    })
}

fn zsh(mut script: String) -> String {
    for (value, names) in VALUES {
        let asks = value.replace("_default", &format!("{{_reseal_names {names}}}"));
        script = script.replace(&format!("{value}'"), &format!("{asks}'"));
    }
    // The file is the body of a function, which the shell calls at the first completion: what it calls in
    // turn has to be defined by then.
    match script.split_once('\n') {
        Some((first, rest)) => format!("{first}\n{ZSH}{rest}"),
        None => script,
    }
}
