//! What is shown, and what keys do to it.

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::feed::{News, State};
use super::input::Key;
use crate::cli::ctl::columns::list;
use crate::cli::ctl::times::time;

/// What connections can be sorted by, in the order of the key `s`.
const SORTS: [&str; 10] = [
    "rate", "bytes", "up", "down", "age", "idle", "source", "sni", "route", "stage",
];

/// The most connections that are asked for.
const ROWS: usize = 500;

/// What fills the lower part of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pane {
    #[default]
    Connections,
    Origins,
    Routes,
    Failures,
}

impl Pane {
    pub(super) const ALL: [Self; 4] = [
        Self::Connections,
        Self::Origins,
        Self::Routes,
        Self::Failures,
    ];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Origins => "origins",
            Self::Routes => "routes",
            Self::Failures => "failures",
        }
    }

    fn next(self) -> Self {
        let place = Self::ALL.iter().position(|pane| *pane == self);
        let next = place.map_or(0, |place| (place + 1) % Self::ALL.len());
        Self::ALL.get(next).copied().unwrap_or_default()
    }
}

/// What the line at the bottom asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Prompt {
    /// A filter, as far as it is written.
    Filter(String),
    /// Whether to end the connection with this id, and whose it is.
    Kill { id: String, client: String },
}

/// What has to be done after a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Show,
    /// The query has changed, or an answer is wanted now.
    Ask,
    Kill(String),
    Quit,
}

#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) state: State,
    /// Why the last refresh has failed.
    pub(super) error: Option<String>,
    /// What the last command has done.
    pub(super) note: Option<String>,
    pub(super) pane: Pane,
    pub(super) prompt: Option<Prompt>,
    /// The filter as it was written.
    pub(super) filter: String,
    pub(super) is_paused: bool,
    /// The row that is marked.
    pub(super) row: usize,
    sort: usize,
    is_reversed: bool,
}

impl View {
    pub(super) fn learn(&mut self, news: &News) {
        match news {
            News::State(state) if !self.is_paused => {
                let marked = self.marked().map(|row| id(row).to_owned());
                self.state = (**state).clone();
                self.error = None;
                // The mark stays on its connection while others come and go.
                let rows = self.rows();
                let place = marked.and_then(|marked| rows.iter().position(|row| id(row) == marked));
                self.row = place.unwrap_or(self.row).min(rows.len().saturating_sub(1));
            }
            News::State(_) => self.error = None,
            News::Failed(error) => self.error = Some(error.clone()),
            News::Done(note) => self.note = Some(note.clone()),
        }
    }

    /// The rows of the pane.
    pub(super) fn rows(&self) -> &[Value] {
        match self.pane {
            Pane::Connections => list(&self.state.connections, "connections"),
            Pane::Origins => list(&self.state.origins, "origins"),
            Pane::Routes => list(&self.state.stats, "routes"),
            Pane::Failures => list(&self.state.failures, "failures"),
        }
    }

    pub(super) fn sort(&self) -> &'static str {
        SORTS.get(self.sort).copied().unwrap_or("age")
    }

    pub(super) const fn is_reversed(&self) -> bool {
        self.is_reversed
    }

    /// The body of the request for connections.
    pub(super) fn query(&self) -> Value {
        let mut query = conditions(&self.filter);
        query.insert("sort".to_owned(), json!(self.sort()));
        query.insert("reverse".to_owned(), json!(self.is_reversed));
        query.insert("limit".to_owned(), json!(ROWS));
        query.insert("rates".to_owned(), json!(true));
        Value::Object(query)
    }

    pub(super) fn press(&mut self, key: Key) -> Next {
        if key == Key::Interrupt {
            return Next::Quit;
        }
        self.note = None;
        match self.prompt.take() {
            Some(Prompt::Filter(text)) => self.write_filter(text, key),
            Some(Prompt::Kill { id, .. }) => match key {
                Key::Char('y' | 'Y') => Next::Kill(id),
                _ => Next::Show,
            },
            None => self.command(key),
        }
    }

    fn write_filter(&mut self, mut text: String, key: Key) -> Next {
        match key {
            Key::Enter => {
                self.filter = text.trim().to_owned();
                self.row = 0;
                return Next::Ask;
            }
            Key::Escape => return Next::Show,
            Key::Backspace => drop(text.pop()),
            Key::Char(char) => text.push(char),
            _ => {}
        }
        self.prompt = Some(Prompt::Filter(text));
        Next::Show
    }

    fn command(&mut self, key: Key) -> Next {
        let last = self.rows().len().saturating_sub(1);
        match key {
            Key::Char('q') => return Next::Quit,
            Key::Char('s') => {
                self.sort = (self.sort + 1) % SORTS.len();
                self.row = 0;
                return Next::Ask;
            }
            Key::Char('r') => {
                self.is_reversed = !self.is_reversed;
                self.row = 0;
                return Next::Ask;
            }
            Key::Char(' ') => self.is_paused = !self.is_paused,
            Key::Char('/' | 'f') => self.prompt = Some(Prompt::Filter(self.filter.clone())),
            Key::Char('k') => {
                self.prompt = self.marked().map(|row| Prompt::Kill {
                    id: id(row).to_owned(),
                    client: text(row, "client").to_owned(),
                });
            }
            Key::Tab => {
                self.pane = self.pane.next();
                self.row = 0;
            }
            Key::Up => self.row = self.row.saturating_sub(1),
            Key::Down => self.row = (self.row + 1).min(last),
            Key::PageUp => self.row = self.row.saturating_sub(10),
            Key::PageDown => self.row = (self.row + 10).min(last),
            Key::Home => self.row = 0,
            Key::End => self.row = last,
            Key::Escape if !self.filter.is_empty() => {
                self.filter.clear();
                return Next::Ask;
            }
            _ => {}
        }
        Next::Show
    }

    /// The connection that is marked.
    fn marked(&self) -> Option<&Value> {
        (self.pane == Pane::Connections)
            .then(|| self.rows().get(self.row))
            .flatten()
    }
}

fn id(row: &Value) -> &str {
    text(row, "id")
}

fn text<'r>(row: &'r Value, key: &str) -> &'r str {
    row.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The conditions of a filter: `key=value` words, as the flags of `ctl connections`. A word alone is an
/// address, a network or a server name.
fn conditions(filter: &str) -> Map<String, Value> {
    let mut conditions = Map::new();
    for word in filter.split_whitespace() {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key.replace('-', "_"), value),
            None if is_network(word) => ("source".to_owned(), word),
            None => ("sni".to_owned(), word),
        };
        let value = match key.as_str() {
            "older_than" | "idle_for" => seconds(value).map_or_else(|| json!(value), |n| json!(n)),
            _ => json!(value),
        };
        conditions.insert(key, value);
    }
    conditions
}

fn is_network(word: &str) -> bool {
    word.parse::<std::net::IpAddr>().is_ok() || word.parse::<ipnet::IpNet>().is_ok()
}

/// Seconds of a number with a unit, `s` if it has none.
fn seconds(text: &str) -> Option<f64> {
    let time = text
        .parse()
        .map(Duration::from_secs)
        .or_else(|_| time(text));
    time.ok().map(|time| time.as_secs_f64())
}
