//! Brackets and braces of YAML that are not closed, closed twice, or lack a comma. Knows no key.

use super::mistake::{Mistake, earlier, line, span};
use super::problem::Span;

/// An open bracket: its character, its line and its column from 0.
#[derive(Clone, Copy)]
struct Open {
    bracket: char,
    line: usize,
    column: usize,
}

/// The mistake with brackets that an error of the parser comes from.
pub(super) fn mistake(info: &str, lines: &[&str], at: Span) -> Option<Mistake> {
    let is_about = ["flow", "bracket", "','", "placement of ':'"];
    if !is_about.iter().any(|word| info.contains(word)) {
        return None;
    }
    if info.contains("misplaced bracket") {
        let bracket = line(lines, at.line)
            .chars()
            .nth(at.column.saturating_sub(1))?;
        return Some(Mistake::new(
            at,
            format!("this `{bracket}` closes nothing"),
            "take it out",
        ));
    }
    if info.contains("mismatched") {
        let open = line(lines, at.line)
            .chars()
            .nth(at.column.saturating_sub(1))?;
        let (closing, wrong) = if open == '[' { (']', '}') } else { ('}', ']') };
        return Some(Mistake::new(
            at,
            format!("this `{open}` is closed by a `{wrong}`"),
            format!("close it by `{closing}`"),
        ));
    }
    if let Some(found) = within_text(line(lines, at.line), at) {
        return Some(found);
    }
    let Some(open) = unclosed(lines, at.line) else {
        return missing_comma(line(lines, at.line), at);
    };
    if open.line < at.line || info.contains("unclosed") {
        let closing = if open.bracket == '[' { ']' } else { '}' };
        return Some(Mistake::new(
            span(open.line, open.column, 1),
            format!("this `{}` is not closed", open.bracket),
            format!("add a `{closing}`"),
        ));
    }
    missing_comma(line(lines, at.line), at)
}

/// A bracket in the middle of a text that has no quotes, such as a regular expression.
fn within_text(text: &str, at: Span) -> Option<Mistake> {
    let (before, rest) = text.split_at_checked(text.char_indices().nth(at.column - 1)?.0)?;
    let is_bracket =
        rest.starts_with(['[', '{']) && !before.contains("${") && !before.ends_with('$');
    let start = before.rfind([' ', '\t']).map_or(0, |space| space + 1);
    let word = before.get(start..)?;
    if !is_bracket || word.is_empty() || word.ends_with(['[', '{', ',', ':', '"', '\'']) {
        return None;
    }
    let end = rest.find([' ', '\t']).unwrap_or(rest.len());
    let whole = format!("{word}{}", rest.get(..end)?);
    let column = before.get(..start)?.chars().count();
    Some(Mistake::new(
        span(at.line, column, whole.chars().count()),
        "within { } and [ ], a bracket ends a text without quotes",
        format!("quote it: `'{whole}'`"),
    ))
}

/// A second key within a line, without a comma before it.
fn missing_comma(text: &str, at: Span) -> Option<Mistake> {
    let before: String = text.chars().take(at.column.saturating_sub(1)).collect();
    let key = before.rsplit([' ', ',', '{', '[']).next()?;
    let is_key = !key.is_empty()
        && key
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || char == '_');
    is_key.then(|| {
        let len = key.chars().count();
        let column = before.chars().count() - len;
        Mistake::new(
            span(at.line, column, len),
            format!("there is no `,` before `{key}`"),
            "within { } and [ ], commas stand between the entries",
        )
    })
}

/// The first bracket that is not closed on a line before `last`, or on it.
fn unclosed(lines: &[&str], last: usize) -> Option<Open> {
    let mut open: Vec<Open> = Vec::new();
    for number in earlier(last).chain([last]) {
        let text = line(lines, number);
        let indent = text.chars().take_while(|char| *char == ' ').count();
        // A key that is not indented further begins a new entry outside of the brackets.
        let is_entry = text.contains(": ")
            || text.trim_end().ends_with(':')
            || text.trim_start().starts_with("- ");
        let outer = |open: &Open| {
            let of = line(lines, open.line);
            of.chars().take_while(|char| *char == ' ').count()
        };
        if let Some(first) = open.first()
            && is_entry
            && indent <= outer(first) + 2
        {
            return Some(*first);
        }
        scan(text, number, &mut open);
    }
    open.first().copied()
}

/// Follows the brackets of one line, outside of quotes and comments.
fn scan(text: &str, number: usize, open: &mut Vec<Open>) {
    let mut quote = None;
    let mut before = '\n';
    let mut is_value = true;
    for (column, char) in text.chars().enumerate() {
        match (quote, char) {
            (Some(mark), char) if char == mark && before != '\\' => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if is_value => quote = Some(char),
            (None, '#') if before == ' ' || before == '\n' => return,
            (None, '[' | '{') if is_value => open.push(Open {
                bracket: char,
                line: number,
                column,
            }),
            (None, ']' | '}') => drop(open.pop()),
            _ => {}
        }
        if char != ' ' {
            is_value = matches!(char, '[' | '{' | ',' | '-' | ':');
        }
        before = char;
    }
}
