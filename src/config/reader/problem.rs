//! Problems of a configuration and their spans: [`Span`], [`Problem`] and the collector [`Problems`].
//! Knows nothing of what a configuration means.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::printable::visible;

/// The most problems that are kept: more are not read, and a hostile file stays cheap.
const MOST: usize = 200;

/// A span of the file: `len` characters from `line` and `column`, both counted from 1, columns in
/// characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters on that line.
    pub len: usize,
}

/// Stands for the outermost map of a file.
pub const TOP: Span = Span {
    line: 0,
    column: 0,
    len: 0,
};

/// How severe a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration can be used.
    Warning,
    /// Information.
    Notice,
}

impl Severity {
    /// The word in front of a message.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

/// One problem, with its span and a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its severity.
    pub severity: Severity,
    /// Its span, if it has one.
    pub at: Option<Span>,
    /// The message. Lower case, no full stop.
    pub message: String,
    /// The hint; each line is printed as one.
    pub help: Option<String>,
    /// A second span that the problem is about, and what is there.
    pub also: Option<Box<(Span, &'static str)>>,
}

impl Problem {
    /// An error at a place.
    pub fn error(at: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            at: at.into(),
            message: message.into(),
            help: None,
            also: None,
        }
    }

    /// Sets the second span, and what is there.
    pub fn also(&mut self, at: Span, what: &'static str) -> &mut Self {
        self.also = Some(Box::new((at, what)));
        self
    }

    /// Sets the hint.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// The problem as one line, for logs: `config.yaml:12:15: error: …`.
    pub fn to_line(&self, path: &str) -> String {
        let mut line = visible(path);
        if let Some(at) = self.at {
            let _ = write!(line, ":{}:{}", at.line, at.column);
        }
        let _ = write!(
            line,
            ": {}: {}",
            self.severity.as_str(),
            visible(&self.message)
        );
        if let Some((at, what)) = self.also.as_deref() {
            let _ = write!(line, ", {what} at {}:{}", at.line, at.column);
        }
        if let Some(help) = &self.help {
            let help: Vec<_> = help.lines().map(visible).collect();
            let _ = write!(line, " ({})", help.join("; "));
        }
        line
    }
}

/// How many characters of a text of the file a message holds.
pub(super) const QUOTED_MAX: usize = 64;

/// A text of the file within a message: in backticks, truncated when long.
pub fn quoted(text: &str) -> String {
    let mut text_in_file: String = text.chars().take(QUOTED_MAX).collect();
    if text_in_file.len() < text.len() {
        text_in_file.push('…');
    }
    format!("`{text_in_file}`")
}

/// Several texts as `a`, `b`, `c`.
pub fn quoted_list<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    texts.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// A text of the file that holds variables, and its value.
#[derive(Clone, Debug)]
pub struct Expansion {
    /// The span of the text.
    pub at: Span,
    /// The text, or one variable of it.
    pub written: String,
    /// The value.
    pub value: String,
}

/// Collects the problems of one reading.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    problems: Vec<Problem>,
    /// Scratch space for the problems beyond [`MOST`], which are discarded.
    spare: Option<Problem>,
    pub(super) left_out: usize,
    errors: usize,
    /// The values that messages may hold and must not show.
    pub(super) expansions: Vec<Expansion>,
    /// The spans of the maps of which a key was rejected.
    incomplete: HashSet<Span>,
}

impl Problems {
    /// Adds an error.
    pub fn error(
        &mut self,
        at: impl Into<Option<Span>>,
        message: impl Into<String>,
    ) -> &mut Problem {
        self.push(Problem::error(at, message))
    }

    /// Adds a warning.
    pub fn warning(
        &mut self,
        at: impl Into<Option<Span>>,
        message: impl Into<String>,
    ) -> &mut Problem {
        self.push(Problem {
            severity: Severity::Warning,
            ..Problem::error(at, message)
        })
    }

    /// Adds a notice.
    pub fn notice(
        &mut self,
        at: impl Into<Option<Span>>,
        message: impl Into<String>,
    ) -> &mut Problem {
        self.push(Problem {
            severity: Severity::Notice,
            ..Problem::error(at, message)
        })
    }

    /// Adds a problem. The same message at the same span counts once: an aliased block is read once for
    /// each of its uses.
    pub fn push(&mut self, problem: Problem) -> &mut Problem {
        let same = |other: &Problem| other.at == problem.at && other.message == problem.message;
        let known = self.problems.iter().position(same);
        if known.is_none() {
            self.errors += usize::from(problem.severity == Severity::Error);
        }
        let index = known.unwrap_or_else(|| self.place_for(&problem));
        match self.problems.get_mut(index) {
            Some(existing) => existing,
            None => self.spare.insert(problem),
        }
    }

    /// The index for a new problem; one past the end when there is no room. An error replaces a warning,
    /// so that warnings cannot hide errors.
    fn place_for(&mut self, problem: &Problem) -> usize {
        if self.problems.len() < MOST {
            self.problems.push(problem.clone());
            return self.problems.len() - 1;
        }
        self.left_out += 1;
        let is_warning = |problem: &Problem| problem.severity != Severity::Error;
        let warning = self.problems.iter().rposition(is_warning);
        let warning = warning.filter(|_| problem.severity == Severity::Error);
        if let Some(replaced) = warning.and_then(|place| self.problems.get_mut(place)) {
            replaced.clone_from(problem);
        }
        warning.unwrap_or(MOST)
    }

    /// All problems, in the order of their reports.
    pub fn into_vec(self) -> Vec<Problem> {
        self.problems
    }

    /// All problems, to change their texts.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Problem> {
        self.problems.iter_mut()
    }

    /// Whether there is an error.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Whether there is an error or a warning.
    pub fn has_warnings(&self) -> bool {
        let is_notice = |problem: &Problem| problem.severity == Severity::Notice;
        self.left_out > 0 || !self.problems.iter().all(is_notice)
    }

    /// Notes that a key of the map at this span was rejected.
    pub(super) fn mark_incomplete(&mut self, map: Span) {
        self.incomplete.insert(map);
    }

    /// Whether a key of the map at this span was rejected: what the map then lacks is no second problem.
    pub fn is_incomplete(&self, map: Span) -> bool {
        self.incomplete.contains(&map)
    }

    /// Whether there is no problem.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// All problems in file order; those without a span come last.
    pub fn sorted(&self) -> Vec<&Problem> {
        let mut sorted: Vec<_> = self.problems.iter().collect();
        sorted.sort_by_key(|problem| (problem.at.is_none(), problem.at));
        sorted
    }
}
