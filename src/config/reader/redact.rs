//! Takes the values of variables out of messages: these show the text of the file.

use super::problem::{Expansion, Problems, QUOTED_MAX};

/// Shorter values are replaced only in messages about their own span: elsewhere they may be any word.
const DISTINCT_MIN: usize = 6;

/// Replaces the values of variables by the texts of the file.
pub fn variables(problems: &mut Problems) {
    let mut expansions = std::mem::take(&mut problems.expansions);
    expansions.retain(|expansion| !expansion.value.is_empty());
    // The longest first: it may contain others.
    expansions.sort_by_key(|expansion| std::cmp::Reverse(expansion.value.len()));
    for problem in problems.iter_mut() {
        let at = problem.at;
        let matters = |e: &&Expansion| at == Some(e.at) || e.value.len() >= DISTINCT_MIN;
        let values: Vec<_> = expansions.iter().filter(matters).flat_map(forms).collect();
        problem.message = replace(&problem.message, &values);
        if let Some(help) = &mut problem.help {
            *help = replace(help, &values);
        }
    }
}

/// The value, also as `quoted` truncates a long one, with the text that replaces it. The text itself stays.
fn forms(expansion: &Expansion) -> impl Iterator<Item = (String, &str)> {
    let Expansion { value, written, .. } = expansion;
    let start: String = value.chars().take(QUOTED_MAX).collect();
    let truncated = (start.len() < value.len()).then(|| format!("{start}…"));
    let values = [written.clone(), value.clone()]
        .into_iter()
        .chain(truncated);
    values.map(|value| (value, written.as_str()))
}

/// The text with each value replaced where it is not part of a longer word; of several at one place the
/// first. Texts that were put in are not searched: their defaults may be the values of others.
fn replace(text: &str, values: &[(String, &str)]) -> String {
    let present = values.iter().filter(|(value, _)| text.contains(value));
    let present: Vec<_> = present.collect();
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut last) = (text, None);
    while let Some(next) = rest.chars().next() {
        let whole = |value: &str| {
            rest.strip_prefix(value)
                .is_some_and(|after| is_whole(last, value, after))
        };
        let (length, put) = match present.iter().find(|(value, _)| whole(value)) {
            Some((value, written)) => (value.len(), *written),
            None => (next.len_utf8(), &rest[..next.len_utf8()]),
        };
        out.push_str(put);
        let (used, after) = rest.split_at(length);
        (last, rest) = (used.chars().next_back(), after);
    }
    out
}

/// Whether `value`, between the character `before` and the text `after`, is not part of a longer word.
fn is_whole(before: Option<char>, value: &str, after: &str) -> bool {
    let joins_before =
        value.starts_with(char::is_alphanumeric) && before.is_some_and(char::is_alphanumeric);
    let joins_after =
        value.ends_with(char::is_alphanumeric) && after.starts_with(char::is_alphanumeric);
    !joins_before && !joins_after
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
            (20, "${CA:-/secret/ca.pem}", "/secret/ca.pem"),
        ];
        for (column, text, redacted) in [
            (1, "/secret/a.pem: no", "${DIR}/a.pem: no"),
            (1, "in /secret/b.pem", "in ${DIR}/b.pem"),
            (5, "in /secret/b.pem", "in ${DIR}/b.pem"),
            (1, "/secrets", "/secrets"),
            (9, "`tls` is no mode", "`${USE}` is no mode"),
            (1, "it speaks tls", "it speaks tls"),
            (20, "/secret/ca.pem: no", "${CA:-/secret/ca.pem}: no"),
            (20, "${CA:-/secret/ca.pem}", "${CA:-/secret/ca.pem}"),
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
