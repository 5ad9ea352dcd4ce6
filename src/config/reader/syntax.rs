//! Errors of YAML syntax in plain words, with the place and the usual cause. Knows no key.

use granit_parser::ScanError;

use super::brackets;
use super::indentation;
use super::mistake::{Mistake, earlier, line, span};
use super::problem::{Problem, Span};
use super::snippet;

/// The problem that an error of the parser is.
pub(super) fn syntax_problem(error: &ScanError, text: &str) -> Problem {
    let marker = error.marker();
    let at = span(marker.line(), marker.col(), 1);
    let lines = snippet::lines(text);
    let info = &*error.info().to_string();
    let found = alias(info, &lines, at)
        .or_else(|| ipv6(&lines, at))
        .or_else(|| tab(&lines, at))
        .or_else(|| variable(info, &lines, at))
        .or_else(|| escape(info, at))
        .or_else(|| quote(info, &lines, at))
        .or_else(|| brackets::mistake(info, &lines, at))
        .or_else(|| separator(&lines, at))
        .or_else(|| indentation::mistake(info, &lines, at))
        .or_else(|| second_colon(info, &lines, at));
    let Some(found) = found else {
        return Problem::error(at, format!("this is not valid YAML: {info}"));
    };
    let mut problem = Problem::error(
        found.at,
        format!("this is not valid YAML: {}", found.message),
    );
    problem.help(found.help);
    problem.also = found.also.map(Box::new);
    problem
}

/// The characters of a line from a column on, counted from 1.
fn from_column(line: &str, column: usize) -> &str {
    let start = line.char_indices().nth(column.saturating_sub(1));
    start.map_or("", |(start, _)| line.get(start..).unwrap_or_default())
}

/// A text that begins with `*`.
fn alias(info: &str, lines: &[&str], at: Span) -> Option<Mistake> {
    let rest = from_column(line(lines, at.line), at.column);
    if !(info.contains("anchor") || info.contains("alias")) || !rest.starts_with('*') {
        return None;
    }
    let end = rest.find([' ', ',', ']', '}']).unwrap_or(rest.len());
    let value = rest.get(..end)?;
    let len = value.chars().count();
    Some(Mistake::new(
        Span { len, ..at },
        "a bare `*` begins an alias",
        format!("quote it: `\"{value}\"`"),
    ))
}

/// An IPv6 address with a port and without quotes, on the line of the error or the one before.
fn ipv6(lines: &[&str], at: Span) -> Option<Mistake> {
    [at.line, at.line.wrapping_sub(1)]
        .iter()
        .find_map(|number| {
            let text = line(lines, *number);
            text.match_indices('[').find_map(|(start, _)| {
                let (before, value) = (text.get(..start)?, text.get(start..)?);
                let value = value.split([' ', ',', '}']).next()?;
                let is_value = before.trim_end().ends_with([':', '-', '[', '{', ',']);
                let is_address = value.contains("::") || value.matches(':').count() > 2;
                let is_whole =
                    value.starts_with('[') && !value.starts_with("[[") && value.contains("]:");
                (is_value && is_address && is_whole).then(|| {
                    Mistake::new(
                        span(*number, before.chars().count(), value.chars().count()),
                        "a bare `[` begins a list",
                        format!("quote it: `\"{value}\"`"),
                    )
                })
            })
        })
}

fn tab(lines: &[&str], at: Span) -> Option<Mistake> {
    let tab = |number: &usize| {
        let mut indent = line(lines, *number)
            .chars()
            .take_while(|c| c.is_whitespace());
        indent.position(|c| c == '\t')
    };
    // The parser may stop at the end of the previous line.
    let (number, column) = [at.line, at.line + 1]
        .iter()
        .find_map(|number| Some((*number, tab(number)?)))?;
    Some(Mistake::new(
        span(number, column, 1),
        "a tab in the indentation",
        "indent with spaces: YAML does not allow tabs here",
    ))
}

fn variable(info: &str, lines: &[&str], at: Span) -> Option<Mistake> {
    line(lines, at.line)
        .contains("${")
        .then(|| Mistake::new(at, info, "quote it inside { }: `key: \"${VARIABLE}\"`"))
}

fn escape(info: &str, at: Span) -> Option<Mistake> {
    info.contains("escape").then(|| {
        Mistake::new(
            at,
            "within double quotes, `\\` begins an escape, and this one is unknown",
            "use single quotes, in which `\\` is an ordinary character",
        )
    })
}

/// A quote that is not closed on its line.
fn quote(info: &str, lines: &[&str], at: Span) -> Option<Mistake> {
    if !info.contains("quote") {
        return None;
    }
    let odd = |number: usize| {
        let text = line(lines, number);
        ['"', '\''].into_iter().find_map(|mark| {
            let marks = || text.char_indices().filter(|(_, char)| *char == mark);
            let begins = |(start, _): &(usize, char)| {
                let before = text.get(..*start).unwrap_or_default().trim_end();
                before.is_empty() || before.ends_with([':', '-', '[', '{', ','])
            };
            let last = marks().rfind(begins)?;
            (marks().count() % 2 == 1)
                .then(|| (mark, text.get(..last.0).unwrap_or_default().chars().count()))
        })
    };
    let (number, (mark, column)) = earlier(at.line)
        .chain([at.line])
        .find_map(|number| Some((number, odd(number)?)))?;
    let len = line(lines, number)
        .trim_end()
        .chars()
        .count()
        .saturating_sub(column);
    Some(Mistake::new(
        span(number, column, len),
        "this quote is not closed",
        format!("close it with `{mark}` at the end of the text"),
    ))
}

/// A key or an item without the space behind its `:` or `-`, and what other formats have in their place.
fn separator(lines: &[&str], at: Span) -> Option<Mistake> {
    let before = earlier(at.line)
        .rev()
        .find(|number| !line(lines, *number).trim().is_empty());
    [Some(at.line), before]
        .into_iter()
        .flatten()
        .find_map(|number| separator_on(line(lines, number), number))
}

fn separator_on(text: &str, number: usize) -> Option<Mistake> {
    let content = text.trim_start();
    let indent = text.chars().count() - content.chars().count();
    let (content, indent) = match content.strip_prefix("- ") {
        Some(item) => (item.trim_start(), indent + 2),
        None => (content, indent),
    };
    let content = content.trim_end();
    let whole = span(number, indent, content.chars().count());
    let is_key = |key: &str| {
        !key.is_empty()
            && key
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || "_-".contains(char))
    };
    if content.starts_with("//") || content.starts_with("/*") || content.starts_with(';') {
        return Some(Mistake::new(
            whole,
            "this is neither a key nor a comment",
            "comments begin with `#`",
        ));
    }
    if let Some(item) = content.strip_prefix('-')
        && item.starts_with(|char: char| char.is_ascii_alphabetic())
        && (item.contains(": ") || item.ends_with(':'))
    {
        return Some(Mistake::new(
            span(number, indent, 1),
            "there is no space after `-`",
            format!("write `- {item}`"),
        ));
    }
    if content.contains(": ") || content.ends_with(':') || content.starts_with('-') {
        return None;
    }
    if let Some((key, value)) = content.split_once(':')
        && is_key(key)
        && !value.starts_with("//")
    {
        return Some(Mistake::new(
            whole,
            format!("there is no space after `{key}:`"),
            format!("write `{key}: {value}`"),
        ));
    }
    let (key, value) = content.split_once(['=', ' '])?;
    let value = value
        .trim_start_matches([' ', '=', ':'])
        .trim_end_matches(';');
    let (key, is_known) = (key.trim(), is_key(key.trim()));
    is_known.then(|| {
        Mistake::new(
            whole,
            format!("there is no `:` after `{key}`"),
            format!("write `{key}: {value}`"),
        )
    })
}

/// A value that holds `: `.
fn second_colon(info: &str, lines: &[&str], at: Span) -> Option<Mistake> {
    let text = line(lines, at.line);
    (info.contains("mapping values are not allowed") && text.matches(": ").count() > 1).then(|| {
        Mistake::new(
            at,
            "a second `: ` on this line",
            "put a value that holds `: ` in quotes; a map within a line needs { }",
        )
    })
}
