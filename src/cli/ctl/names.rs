//! Names of a running process, for completions of the shell.

use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::ask::send;
use super::columns::list;
use super::place::Place;
use crate::outcome::Reason;

/// How long a shell waits for names.
const LIMIT: Duration = Duration::from_secs(2);

/// How many connections are offered.
const CONNECTIONS: usize = 200;

#[derive(Debug, clap::Args)]
pub(super) struct NamesArgs {
    /// Which names
    kind: Kind,
    /// The command line so far, which may say where the admin socket is
    #[arg(last = true)]
    words: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Endpoints,
    Routes,
    Upstreams,
    Origins,
    Connections,
    Reasons,
}

/// The names, one per line; none if the process does not answer.
pub(super) fn print(args: &NamesArgs, place: &Place) -> String {
    let place = place.named_in(&args.words);
    let ask =
        |path: &str, body: Option<&Value>| send(&place, path, body, LIMIT).unwrap_or_default();
    let mut names: Vec<String> = match args.kind {
        Kind::Reasons => Reason::ALL.iter().map(ToString::to_string).collect(),
        Kind::Endpoints => texts(list(&ask("/status", None), "endpoints"), "endpoint"),
        Kind::Routes => list(&ask("/status", None), "endpoints")
            .iter()
            .flat_map(|endpoint| list(endpoint, "routes"))
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
        Kind::Upstreams => texts(list(&ask("/origins", None), "origins"), "upstream"),
        Kind::Origins => texts(list(&ask("/origins", None), "origins"), "name"),
        Kind::Connections => {
            let body = json!({ "limit": CONNECTIONS });
            texts(list(&ask("/connections", Some(&body)), "connections"), "id")
        }
    };
    names.sort();
    names.dedup();
    // Whatever a shell could take for more than a name is left out.
    let is_plain = |c: char| c.is_alphanumeric() || "._-:/[]@".contains(c);
    names.retain(|name| !name.starts_with('-') && name.chars().all(is_plain));
    names.into_iter().map(|name| name + "\n").collect()
}

fn texts(rows: &[Value], key: &str) -> Vec<String> {
    let texts = rows.iter().filter_map(|row| row.get(key)?.as_str());
    texts.map(str::to_owned).collect()
}
