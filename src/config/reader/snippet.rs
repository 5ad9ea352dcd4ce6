//! Renders one problem with its line and a caret: escapes and aligns text of the file for a terminal.

use std::fmt::Write as _;

use super::printable::{printable, visible};
use super::problem::{Problem, Problems, Span};

/// A longer hint goes below the line instead of beside the caret.
const HELP_BESIDE_MAX: usize = 60;
/// Characters of a long line that are printed before the caret, and in all.
const BEFORE_CARET_MAX: usize = 60;
const LINE_MAX: usize = 140;

/// The lines as the parser counts them: ended by `\n`, `\r\n` or a lone `\r`.
pub(super) fn lines(text: &str) -> Vec<&str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.split('\n')
        .flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
        .collect()
}

impl Problems {
    /// All problems as text, with the lines that they are about.
    pub fn render(&self, path: &str, text: &str) -> String {
        let lines = lines(text);
        let mut out = Vec::new();
        for problem in self.sorted() {
            out.push(render(problem, path, &lines));
        }
        if self.left_out > 0 {
            out.push(format!("and {} more\n", self.left_out));
        }
        out.join("\n")
    }
}

/// One problem, as several lines.
fn render(problem: &Problem, path: &str, lines: &[&str]) -> String {
    let severity = problem.severity.as_str();
    let mut out = format!("{severity}: {}\n", visible(&problem.message));
    let path = visible(path);
    let Some(at) = problem.at else {
        let _ = writeln!(out, " --> {path}");
        let _ = footer(&mut out, 1, problem.help.as_deref());
        return out;
    };
    let also = problem.also.as_deref();
    let last = also.map_or(at.line, |(also, _)| also.line.max(at.line));
    let gutter = last.to_string().len();
    let _ = writeln!(out, "{:gutter$}--> {path}:{}:{}", "", at.line, at.column);
    let help = problem.help.as_deref();
    let beside = draw(&mut out, gutter, lines, at, '^', help);
    if let Some(&(also, what)) = also {
        let _ = writeln!(
            out,
            "{:gutter$}::: {path}:{}:{}",
            "", also.line, also.column
        );
        draw(&mut out, gutter, lines, also, '-', Some(what));
    }
    if !beside {
        let _ = footer(&mut out, gutter, help);
    }
    out
}

/// Draws the line of a span with a mark below it, and a note beside the mark. Returns whether there was room
/// for the note.
fn draw(
    out: &mut String,
    gutter: usize,
    lines: &[&str],
    at: Span,
    mark: char,
    note: Option<&str>,
) -> bool {
    let Some(line) = at.line.checked_sub(1).and_then(|index| lines.get(index)) else {
        return false;
    };
    let drawn = Drawn::new(line, at.column.saturating_sub(1), at.len);
    let beside = note.filter(|note| {
        !note.contains('\n')
            && note.chars().count() <= HELP_BESIDE_MAX
            && drawn.indent <= BEFORE_CARET_MAX + HELP_BESIDE_MAX
    });
    let marks = mark.to_string().repeat(drawn.carets);
    let _ = writeln!(out, "{:gutter$} |", "");
    let _ = writeln!(out, "{:>gutter$} | {}", at.line, drawn.text);
    let _ = write!(out, "{:gutter$} | {:2$}{marks}", "", "", drawn.indent);
    if let Some(note) = beside {
        let _ = write!(out, " {}", visible(note));
    }
    out.push('\n');
    beside.is_some()
}

fn footer(out: &mut String, gutter: usize, help: Option<&str>) -> std::fmt::Result {
    for line in help.into_iter().flat_map(str::lines) {
        writeln!(out, "{:gutter$} = help: {}", "", visible(line))?;
    }
    Ok(())
}

/// The part of a line around the caret, and the position of the caret.
struct Drawn {
    text: String,
    indent: usize,
    carets: usize,
}

impl Drawn {
    fn new(line: &str, caret: usize, len: usize) -> Self {
        let cut = if line.len() > LINE_MAX {
            caret.saturating_sub(BEFORE_CARET_MAX)
        } else {
            0
        };
        let mut drawn = Self {
            text: String::new(),
            indent: 0,
            carets: 0,
        };
        if cut > 0 {
            drawn.add("…", 1, true);
        }
        let mut rest = line.chars().enumerate().skip(cut);
        for (index, char) in rest.by_ref().take(LINE_MAX) {
            let (piece, width) = printable(char);
            drawn.add(&piece, width, index < caret);
            if (caret..caret.saturating_add(len)).contains(&index) {
                drawn.carets += width;
            }
        }
        if rest.next().is_some() {
            drawn.text.push('…');
        }
        drawn.text.truncate(drawn.text.trim_end().len());
        drawn.carets = drawn.carets.max(1);
        drawn
    }

    fn add(&mut self, piece: &str, width: usize, before: bool) {
        self.text.push_str(piece);
        if before {
            self.indent += width;
        }
    }
}
