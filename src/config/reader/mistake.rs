//! A mistake in the syntax of a file, and the lines that it is looked for in. Knows no key.

use super::problem::Span;

/// Where a mistake is, what it is, and how to write it.
pub(super) struct Mistake {
    pub(super) at: Span,
    pub(super) message: String,
    pub(super) help: String,
    pub(super) also: Option<(Span, &'static str)>,
}

impl Mistake {
    pub(super) fn new(at: Span, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
            help: help.into(),
            also: None,
        }
    }
}

/// A span of a line; `column` is counted from 0 in characters.
pub(super) fn span(line: usize, column: usize, len: usize) -> Span {
    Span {
        line,
        column: column + 1,
        len: len.max(1),
    }
}

/// The line of this number, from 1; empty if there is none, or if it is so long that a file like it was not
/// written by hand.
pub(super) fn line<'t>(lines: &[&'t str], number: usize) -> &'t str {
    let found = number.checked_sub(1).and_then(|index| lines.get(index));
    let found = found.filter(|line| line.len() <= LINE_MAX);
    found.copied().unwrap_or_default()
}

/// The numbers of the lines before one, as many as are looked at.
pub(super) fn earlier(number: usize) -> std::ops::Range<usize> {
    number.saturating_sub(LINES_MAX).max(1)..number
}

/// Bounds on what is looked at, since a hostile file may be one line of megabytes, or a million lines.
const LINE_MAX: usize = 500;
const LINES_MAX: usize = 2000;
