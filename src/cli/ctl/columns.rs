//! Tables of the objects in a response.

use serde_json::Value;

use super::cells::{Kind, written};
use crate::cli::output;
use crate::cli::paint::{Mood, Paint};

/// A column: its title, the key of its cells, and what they are.
pub(super) type Column = (&'static str, &'static str, Kind);

/// The rows, one per line; columns that no row has a value for are left out, except those that `keeps` counts
/// from the left.
pub(super) fn of_rows(rows: &[Value], columns: &[Column], keeps: usize, paint: Paint) -> String {
    let is_used = |(n, (_, key, _)): &(usize, &Column)| {
        *n < keeps
            || rows
                .iter()
                .any(|row| row.get(key).is_some_and(|value| !value.is_null()))
    };
    let columns: Vec<_> = columns
        .iter()
        .enumerate()
        .filter(is_used)
        .map(|(_, c)| c)
        .collect();
    let title = columns
        .iter()
        .map(|(title, ..)| ((*title).to_owned(), Mood::Title));
    let mut cells = vec![title.collect::<Vec<_>>()];
    for row in rows {
        let of_row = columns
            .iter()
            .map(|(_, key, kind)| written(row.get(key), *kind));
        cells.push(of_row.collect());
    }
    output::painted_table(&cells, paint)
}

/// The same for the objects under `key` of a response.
pub(super) fn table(
    response: &Value,
    key: &str,
    columns: &[Column],
    keeps: usize,
    paint: Paint,
) -> String {
    of_rows(list(response, key), columns, keeps, paint)
}

/// The objects under `key` of a response.
pub(super) fn list<'a>(response: &'a Value, key: &str) -> &'a [Value] {
    let rows = response.get(key).and_then(Value::as_array);
    rows.map(Vec::as_slice).unwrap_or_default()
}
