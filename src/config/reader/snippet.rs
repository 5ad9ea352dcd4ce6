//! Renders one problem with its line and a caret: escapes and aligns text of the file for a terminal.

use super::problem::Problem;
use std::fmt::Write as _;

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

/// The text with control, bidi and invisible characters escaped.
pub(super) fn visible(text: &str) -> String {
    text.chars().map(|char| printable(char).0).collect()
}

/// One problem, as several lines.
pub(super) fn render(problem: &Problem, path: &str, lines: &[&str]) -> String {
    let severity = problem.severity.as_str();
    let mut out = format!("{severity}: {}\n", visible(&problem.message));
    let path = visible(path);
    let Some(at) = problem.at else {
        let _ = writeln!(out, " --> {path}");
        let _ = footer(&mut out, 1, problem.help.as_deref());
        return out;
    };
    let gutter = at.line.to_string().len();
    let _ = writeln!(out, "{:gutter$}--> {path}:{}:{}", "", at.line, at.column);
    let Some(line) = at.line.checked_sub(1).and_then(|index| lines.get(index)) else {
        let _ = footer(&mut out, gutter, problem.help.as_deref());
        return out;
    };
    let drawn = Drawn::new(line, at.column.saturating_sub(1), at.len);
    let beside = problem.help.as_deref().filter(|help| {
        !help.contains('\n')
            && help.chars().count() <= HELP_BESIDE_MAX
            && drawn.indent <= BEFORE_CARET_MAX + HELP_BESIDE_MAX
    });
    let _ = writeln!(out, "{:gutter$} |", "");
    let _ = writeln!(out, "{} | {}", at.line, drawn.text);
    let _ = write!(
        out,
        "{:gutter$} | {:2$}{3}",
        "",
        "",
        drawn.indent,
        "^".repeat(drawn.carets)
    );
    match beside {
        Some(help) => {
            let _ = writeln!(out, " {}", visible(help));
        }
        None => {
            out.push('\n');
            let _ = footer(&mut out, gutter, problem.help.as_deref());
        }
    }
    out
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

/// The printed form of a character, and its columns.
fn printable(char: char) -> (String, usize) {
    match char {
        '\t' => ("    ".to_owned(), 4),
        // Direction marks and invisible characters would disguise the line.
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' => escaped(char),
        char if char.is_control() => escaped(char),
        char => (char.to_string(), width(char)),
    }
}

fn escaped(char: char) -> (String, usize) {
    let text = char.escape_unicode().to_string();
    let width = text.len();
    (text, width)
}

/// The columns of a printable character, by the blocks that terminals agree on. A caret does not justify
/// a whole Unicode table.
fn width(char: char) -> usize {
    match char {
        '\u{0300}'..='\u{036f}'
        | '\u{1ab0}'..='\u{1aff}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{fe20}'..='\u{fe2f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}'
        | '\u{a960}'..='\u{a97c}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}
