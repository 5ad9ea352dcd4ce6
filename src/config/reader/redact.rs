//! Takes the values of variables out of messages: these show the text of the file.

use super::problem::{Expansion, Problem, Problems, QUOTED_MAX};

/// Shorter values are replaced only in messages about their own span: elsewhere they may be any word.
const DISTINCT_MIN: usize = 6;

/// Replaces the values of variables by the texts of the file.
pub fn variables(problems: &mut Problems) {
    let mut expansions = std::mem::take(&mut problems.expansions);
    expansions.retain(|expansion| !expansion.value.is_empty());
    // The longest first: it may contain others.
    expansions.sort_by_key(|expansion| std::cmp::Reverse(expansion.value.len()));
    for problem in problems.iter_mut() {
        for expansion in &expansions {
            if problem.at == Some(expansion.at) || expansion.value.len() >= DISTINCT_MIN {
                redact(problem, expansion);
            }
        }
    }
}

fn redact(problem: &mut Problem, expansion: &Expansion) {
    let Expansion { value, written, .. } = expansion;
    // `quoted` truncates a long value.
    let start: String = value.chars().take(QUOTED_MAX).collect();
    let truncated = (start.len() < value.len()).then(|| format!("{start}…"));
    for value in std::iter::once(value).chain(&truncated) {
        problem.message = replace(&problem.message, value, written);
        if let Some(help) = &mut problem.help {
            *help = replace(help, value, written);
        }
    }
}

/// The text with `value` replaced where it is not part of a longer word.
fn replace(text: &str, value: &str, written: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(value) {
        out.push_str(before);
        let is_part = out.ends_with(char::is_alphanumeric)
            && value.starts_with(char::is_alphanumeric)
            || after.starts_with(char::is_alphanumeric) && value.ends_with(char::is_alphanumeric);
        out.push_str(if is_part { value } else { written });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::super::problem::{Span, quoted};
    use super::*;

    fn at(column: usize) -> Span {
        Span {
            line: 1,
            column,
            len: 1,
        }
    }

    /// The redacted message of a problem at `column`; each expansion is its column, text and value.
    fn message(expansions: &[(usize, &str, &str)], column: usize, text: &str) -> String {
        let mut problems = Problems::default();
        let all = expansions.iter().map(|(column, written, value)| Expansion {
            at: at(*column),
            written: (*written).to_owned(),
            value: (*value).to_owned(),
        });
        problems.expansions.extend(all);
        problems.error(at(column), text);
        variables(&mut problems);
        problems.sorted()[0].message.clone()
    }

    #[test]
    fn a_message_shows_the_text_of_the_file() {
        let all = [
            (1, "${DIR}/a.pem", "/secret/a.pem"),
            (1, "${DIR}", "/secret"),
            (9, "${USE}", "tls"),
        ];
        for (column, text, redacted) in [
            (1, "/secret/a.pem: no", "${DIR}/a.pem: no"),
            (1, "in /secret/b.pem", "in ${DIR}/b.pem"),
            (5, "in /secret/b.pem", "in ${DIR}/b.pem"),
            (1, "/secrets", "/secrets"),
            (9, "`tls` is no mode", "`${USE}` is no mode"),
            (1, "it speaks tls", "it speaks tls"),
        ] {
            assert_eq!(message(&all, column, text), redacted);
        }
    }

    #[test]
    fn a_value_that_was_truncated_is_replaced_as_well() {
        let long = "x".repeat(100);
        let quoted = quoted(&long);
        assert_eq!(message(&[(1, "${LONG}", &long)], 1, &quoted), "`${LONG}`");
    }
}
