//! `ctl top`: what happens now, live at a terminal.

mod feed;
mod input;
mod screen;
mod terminal;
mod view;

use std::io::{self, IsTerminal};
use std::time::Duration;

use super::place::Place;
use crate::cli::exit::Exit;
use feed::Feed;
use input::Keys;
use terminal::Terminal;
use view::{Next, View};

/// How long a key is waited for before the screen is drawn again.
const TURN: Duration = Duration::from_millis(100);

/// How often the process is asked.
#[derive(Debug, clap::Args)]
pub(super) struct TopArgs {
    /// Seconds between two refreshes
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    interval: u64,
}

/// Runs until the operator quits.
pub(super) fn run(place: &Place, args: &TopArgs) -> Result<(), (Exit, String)> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        let message = "`top` needs a terminal; `reseal ctl stats` and `connections` print the same for scripts";
        return Err((Exit::Refused, message.to_owned()));
    }
    // An address that is wrong is told before the screen changes.
    place.resolve().map_err(|error| (Exit::Bad, error))?;
    let failed = |error: io::Error| (Exit::Bad, format!("the terminal: {error}"));
    let feed = Feed::start(place, Duration::from_secs(args.interval)).map_err(failed)?;
    let mut terminal = Terminal::open().map_err(failed)?;
    let mut view = View::default();
    let mut keys = Keys::default();
    feed.ask(view.query());
    loop {
        let mut is_new = feed.news().inspect(|news| view.learn(news)).is_some();
        for key in keys.read(terminal.read(TURN).map_err(failed)?) {
            is_new = true;
            match view.press(key) {
                Next::Show => {}
                Next::Ask => feed.ask(view.query()),
                Next::Kill(id) => feed.kill(id),
                Next::Quit => return Ok(()),
            }
        }
        if terminal.has_resized() || is_new {
            terminal
                .draw(&screen::lines(&view, terminal.size()))
                .map_err(failed)?;
        }
    }
}
