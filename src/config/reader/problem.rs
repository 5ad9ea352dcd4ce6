//! What is wrong with a configuration, and where: owns [`Span`], [`Problem`]
//! and the collector [`Problems`]. It must not know what a configuration means.

use super::snippet;
use std::fmt::Write as _;

/// More than this is not worth reading, and keeps a hostile file cheap.
const MOST: usize = 200;

/// A place in the text of the file: `len` characters from `line` and `column`,
/// both counted from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters on that line.
    pub len: usize,
}

/// Whether a problem stops the configuration from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is used all the same.
    Warning,
    /// Nothing is wrong; somebody may want to know.
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

/// One thing that is wrong, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// The place in the file, if it has one.
    pub at: Option<Span>,
    /// What is wrong. Lower case, no full stop.
    pub message: String,
    /// What to do about it; each line is shown as one.
    pub help: Option<String>,
}

impl Problem {
    /// An error at a place.
    pub fn error(at: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            at: at.into(),
            message: message.into(),
            help: None,
        }
    }

    /// Says what to do about it.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// The problem as one line, for logs: `config.yaml:12:15: error: …`.
    pub fn to_line(&self, path: &str) -> String {
        let mut line = snippet::visible(path);
        if let Some(at) = self.at {
            let _ = write!(line, ":{}:{}", at.line, at.column);
        }
        let _ = write!(
            line,
            ": {}: {}",
            self.severity.as_str(),
            snippet::visible(&self.message)
        );
        if let Some(help) = &self.help {
            let help: Vec<_> = help.lines().map(snippet::visible).collect();
            let _ = write!(line, " ({})", help.join("; "));
        }
        line
    }
}

/// A text of the file within a message: in backticks, and cut when long.
pub fn quoted(text: &str) -> String {
    const MOST: usize = 64;
    let mut shown: String = text.chars().take(MOST).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// Several texts as `a`, `b`, `c`.
pub fn quoted_list<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    texts.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// How a problem begins that is about a key that nothing knows.
pub(super) const UNKNOWN_KEY: &str = "unknown key";

/// Collects every problem of one reading.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    kept: Vec<Problem>,
    /// Where the problems beyond [`MOST`] are written, and lost.
    spare: Option<Problem>,
    left_out: usize,
    errors: usize,
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

    /// Adds a problem. The same message at the same place counts once: an
    /// aliased block is read once for each of its uses.
    pub fn push(&mut self, problem: Problem) -> &mut Problem {
        let same = |other: &Problem| other.at == problem.at && other.message == problem.message;
        let known = self.kept.iter().position(same);
        if known.is_none() {
            self.errors += usize::from(problem.severity == Severity::Error);
        }
        let index = known.unwrap_or_else(|| self.place_for(&problem));
        match self.kept.get_mut(index) {
            Some(kept) => kept,
            None => self.spare.insert(problem),
        }
    }

    /// Keeps a new problem and says where; beyond the end when there is no room. What is refused must
    /// be seen, however much there is to be warned of.
    fn place_for(&mut self, problem: &Problem) -> usize {
        if self.kept.len() < MOST {
            self.kept.push(problem.clone());
            return self.kept.len() - 1;
        }
        self.left_out += 1;
        let is_warning = |kept: &Problem| kept.severity != Severity::Error;
        let warning = self.kept.iter().rposition(is_warning);
        let warning = warning.filter(|_| problem.severity == Severity::Error);
        if let Some(kept) = warning.and_then(|place| self.kept.get_mut(place)) {
            kept.clone_from(problem);
        }
        warning.unwrap_or(MOST)
    }

    /// Whether any of them stops the configuration from being used.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Whether any of them is an error or a warning.
    pub fn has_warnings(&self) -> bool {
        let is_notice = |kept: &Problem| kept.severity == Severity::Notice;
        self.left_out > 0 || !self.kept.iter().all(is_notice)
    }

    /// Whether there is a key that nothing knows at this place or behind it.
    pub fn has_unknown_key_from(&self, at: Span) -> bool {
        let unknown = |problem: &&Problem| problem.message.starts_with(UNKNOWN_KEY);
        let mut places = self
            .kept
            .iter()
            .filter(unknown)
            .filter_map(|problem| problem.at);
        places.any(|other| other >= at)
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// All of them in the order of the file; those without a place come last.
    pub fn sorted(&self) -> Vec<&Problem> {
        let mut sorted: Vec<_> = self.kept.iter().collect();
        sorted.sort_by_key(|problem| (problem.at.is_none(), problem.at));
        sorted
    }

    /// All of them for a reader, with the lines of the file they are about.
    pub fn render(&self, path: &str, text: &str) -> String {
        let lines = snippet::lines(text);
        let mut out = Vec::new();
        for problem in self.sorted() {
            out.push(snippet::render(problem, path, &lines));
        }
        if self.left_out > 0 {
            out.push(format!("and {} more\n", self.left_out));
        }
        out.join("\n")
    }
}
