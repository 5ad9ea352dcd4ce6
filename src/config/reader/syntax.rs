//! Errors of YAML syntax, with hints about the usual causes. Knows no key.

use granit_parser::ScanError;

use super::problem::{Problem, Span};
use super::snippet;

/// The problem that an error of the parser is.
pub(super) fn syntax_problem(error: &ScanError, text: &str) -> Problem {
    let marker = error.marker();
    let at = Span {
        line: marker.line(),
        column: marker.col() + 1,
        len: 1,
    };
    let mut problem = Problem::error(at, format!("this is not valid YAML: {}", error.info()));
    let lines = snippet::lines(text);
    let line = |number: usize| {
        lines
            .get(number.wrapping_sub(1))
            .copied()
            .unwrap_or_default()
    };
    let indented_by_tab = |number: &usize| {
        let indent = line(*number).chars().take_while(|c| c.is_whitespace());
        indent.into_iter().any(|c| c == '\t')
    };
    if line(at.line).contains("${") {
        problem.help("quote it inside { }: `key: \"${VARIABLE}\"`");
    } else if error.info().contains("anchor") && line(at.line).contains('*') {
        problem.help("quote it: in YAML a bare `*` begins an alias, `\"*.example.com\"` is a text");
    } else if let Some(value) = [at.line, at.line.wrapping_sub(1)]
        .iter()
        .find_map(|number| bare_ipv6(line(*number)))
    {
        problem.help(format!(
            "quote it: in YAML a bare `[` begins a list, `\"{value}\"` is a text"
        ));
    } else if let Some(number) = [at.line, at.line + 1].iter().find(|n| indented_by_tab(n)) {
        if *number != at.line {
            // The parser stops at the end of the previous line.
            problem.at = Some(Span {
                line: *number,
                column: 1,
                len: 1,
            });
        }
        problem.help("indent with spaces: YAML does not allow tabs here");
    }
    problem
}

/// The IPv6 address with a port that stands on a line without quotes.
fn bare_ipv6(line: &str) -> Option<&str> {
    let (before, value) = line.split_at(line.find('[')?);
    let value = value.split_whitespace().next()?;
    let is_value = before.trim_end().ends_with([':', '-']);
    let is_address = value.contains("::") || value.matches(':').count() > 2;
    (is_value && is_address && value.contains("]:")).then_some(value)
}
