//! Colours at a terminal.

use std::io::{self, IsTerminal};

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paint(bool);

/// What a text says about what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Title,
    Good,
    Doubtful,
    Bad,
    Plain,
}

impl Paint {
    /// For a file or a pipe.
    pub(super) const PLAIN: Self = Self(false);

    /// For standard output: coloured at a terminal, unless `NO_COLOR` is set (no-color.org) or the terminal
    /// cannot do it.
    pub(super) fn of_stdout() -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self(io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb)
    }

    /// A text in the colour of its mood.
    pub(super) fn text(self, text: &str, mood: Mood) -> String {
        let code = match mood {
            _ if !self.0 => return text.to_owned(),
            Mood::Title => "1",
            Mood::Good => "32",
            Mood::Doubtful => "33",
            Mood::Bad => "31",
            Mood::Plain => return text.to_owned(),
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}
