//! Keys and items of YAML that do not begin in the column of their neighbours. Knows no key.

use super::mistake::{Mistake, earlier, line, span};
use super::problem::Span;

/// A column in which keys or items begin.
struct Level<'t> {
    column: usize,
    line: usize,
    is_item: bool,
    word: &'t str,
}

/// The mistake in the indentation that an error of the parser comes from.
pub(super) fn mistake(info: &str, lines: &[&str], at: Span) -> Option<Mistake> {
    let is_about = [
        "did not find expected key",
        "did not find expected '-'",
        "mapping values are not allowed",
    ];
    if !is_about.iter().any(|words| info.contains(words)) {
        return None;
    }
    let mut levels: Vec<Level<'_>> = Vec::new();
    for number in earlier(at.line) {
        for level in levels_of(line(lines, number), number) {
            levels.retain(|other| {
                other.column < level.column
                    || (other.column == level.column && !level.is_item && other.is_item)
            });
            levels.push(level);
        }
    }
    let wrong = levels_of(line(lines, at.line), at.line)
        .into_iter()
        .next()?;
    let distance = |level: &&Level<'_>| level.column.abs_diff(wrong.column);
    let nearest = levels
        .iter()
        .filter(|level| level.is_item == wrong.is_item)
        .min_by_key(|level| (distance(level), usize::MAX - level.column))?;
    if nearest.column == wrong.column {
        return None;
    }
    let (here, there, before) = (wrong.column, nearest.column, nearest.line);
    let (message, help) = if wrong.is_item {
        (
            format!(
                "this `-` is indented by {}, the one of line {before} by {}",
                spaces(here),
                there
            ),
            "the items of a list begin in the same column",
        )
    } else {
        (
            format!(
                "`{}` is indented by {}, `{}` of line {before} by {there}",
                wrong.word,
                spaces(here),
                nearest.word
            ),
            "the keys of a map begin in the same column",
        )
    };
    let len = |level: &Level<'_>| {
        if level.is_item {
            1
        } else {
            level.word.chars().count()
        }
    };
    let mut mistake = Mistake::new(span(at.line, here, len(&wrong)), message, help);
    mistake.also = Some((span(before, there, len(nearest)), "its neighbour"));
    Some(mistake)
}

fn spaces(number: usize) -> String {
    match number {
        1 => "1 space".to_owned(),
        number => format!("{number} spaces"),
    }
}

/// The items and the key that begin on a line.
fn levels_of(text: &str, number: usize) -> Vec<Level<'_>> {
    let mut levels = Vec::new();
    let mut rest = text.trim_start_matches(' ');
    if rest.starts_with('#') {
        return levels;
    }
    let column = |rest: &str| text.chars().count() - rest.chars().count();
    while let Some(item) = rest.strip_prefix("- ") {
        levels.push(Level {
            column: column(rest),
            line: number,
            is_item: true,
            word: "-",
        });
        rest = item.trim_start_matches(' ');
    }
    if let Some((key, after)) = rest.split_once(':')
        && (after.is_empty() || after.starts_with(' '))
        && !key.contains([' ', '"', '{', '['])
    {
        levels.push(Level {
            column: column(rest),
            line: number,
            is_item: false,
            word: key,
        });
    }
    levels
}
