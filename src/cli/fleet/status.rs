//! `reseal fleet status`.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::instances::{State, View};
use super::place::Place;
use crate::cli::exit::Exit;
use crate::cli::output::{eprint_line, painted_table, print};
use crate::cli::paint::{Mood, Paint};
use crate::fleet::Pointer;
use crate::observe::escape;

/// How often the store is asked while somebody waits.
const LOOK: Duration = Duration::from_millis(300);

/// How often the table is drawn again.
const REDRAW: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print a list of instances as JSON
    #[arg(long)]
    json: bool,
    /// Wait until every live instance has applied or refused what is wanted; exit 1 if one refuses
    #[arg(long)]
    wait: bool,
    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120, requires = "wait")]
    timeout: u64,
    /// Draw the table again every second, until ctrl-C
    #[arg(long, conflicts_with_all = ["json", "wait"])]
    watch: bool,
}

pub(super) fn main(place: &mut Place, args: &Args) -> Result<Exit, Exit> {
    let look = |place: &mut Place| place.ask(async |store| View::read(store).await);
    if args.watch {
        loop {
            let view = look(place)?;
            print(&format!("\x1b[H\x1b[2J{}", table(&view)));
            sleep(REDRAW);
        }
    }
    let end = Instant::now() + Duration::from_secs(args.timeout);
    let mut view = look(place)?;
    while args.wait && !view.is_settled() && Instant::now() < end {
        sleep(LOOK);
        view = look(place)?;
    }
    let printed = print(&match args.json {
        true => format!(
            "{:#}\n",
            view.instances.iter().map(|i| i.json()).collect::<Value>()
        ),
        false => table(&view),
    });
    if !args.wait {
        return Ok(printed);
    }
    if !view.is_settled() {
        let why = match view.pointer {
            None => "nothing was pushed yet",
            Some(_) if view.has(State::Stale) => "an instance has neither applied nor refused it",
            Some(_) => "no instance is there",
        };
        eprint_line(&format!("reseal: waited {} s: {why}", args.timeout));
        return Err(Exit::Bad);
    }
    match view.has(State::Refused) {
        true => Err(Exit::Bad),
        false => Ok(printed),
    }
}

fn table(view: &View) -> String {
    let wanted = match &view.pointer {
        None => "nothing".to_owned(),
        Some(Pointer {
            id, canary: None, ..
        }) => escape::text(id),
        Some(Pointer {
            id,
            canary: Some(canary),
            ..
        }) => {
            let who = escape::text(&canary.who.text());
            format!(
                "{}, and {} of {who}",
                escape::text(id),
                escape::text(&canary.id)
            )
        }
    };
    let titles = [
        "INSTANCE",
        "GROUP",
        "STATE",
        "GENERATION",
        "SINCE",
        "CONNECTIONS",
        "VERSION",
        "REASON",
    ];
    let mut rows = vec![titles.map(|title| (title.to_owned(), Mood::Title)).to_vec()];
    for instance in &view.instances {
        let mood = match instance.state {
            State::Serving => Mood::Good,
            State::Stale => Mood::Doubtful,
            State::Refused | State::Gone => Mood::Bad,
        };
        let drained = if instance.is_drained() {
            ", drained"
        } else {
            ""
        };
        let plain = |text: &str| (escape::text(text), Mood::Plain);
        rows.push(vec![
            plain(&instance.name),
            plain(&instance.text("group")),
            (format!("{}{drained}", instance.state.word()), mood),
            plain(&instance.text("generation")),
            plain(&instance.text("since")),
            plain(&instance.text("connections")),
            plain(&instance.text("version")),
            plain(instance.reason.as_deref().unwrap_or_default()),
        ]);
    }
    format!(
        "wanted: {}\n{}",
        wanted,
        painted_table(&rows, Paint::of_stdout())
    )
}
