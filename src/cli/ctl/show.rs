//! Answers for people.

use serde_json::Value;

use crate::cli;

/// A column: its title, and the key of its cells.
pub(super) type Column = (&'static str, &'static str);

pub(super) const CONNECTIONS: [Column; 9] = [
    ("ID", "id"),
    ("ENDPOINT", "endpoint"),
    ("CLIENT", "client"),
    ("SNI", "sni"),
    ("ROUTE", "route"),
    ("ORIGIN", "origin"),
    ("SECONDS", "seconds"),
    ("UP", "bytes_up"),
    ("DOWN", "bytes_down"),
];

const CERTIFICATES: [Column; 4] = [
    ("CERTIFICATE", "name"),
    ("ENDPOINT", "endpoint"),
    ("NAMES", "names"),
    ("EXPIRES", "not_after"),
];

const CLIENT_CERTIFICATES: [Column; 4] = [
    ("CERTIFICATE", "name"),
    ("UPSTREAM", "upstream"),
    ("SUBJECT", "subject"),
    ("EXPIRES", "not_after"),
];

const AUTHORITIES: [Column; 3] = [
    ("CA", "subject"),
    ("FILE", "file"),
    ("EXPIRES", "not_after"),
];

const LISTS: [Column; 3] = [
    ("REVOCATION LIST OF", "issuer"),
    ("FILE", "file"),
    ("NEXT UPDATE", "next_update"),
];

/// What is presented, and whom it is believed from, one table for each kind.
pub(super) fn certificates(answer: &Value) -> String {
    let is_there = |key: &str| {
        let rows = answer.get(key).and_then(Value::as_array);
        rows.is_some_and(|rows| !rows.is_empty())
    };
    let mut tables = vec![table(answer, "certificates", &CERTIFICATES)];
    for (key, shown) in [
        (
            "client_certificates",
            table(answer, "client_certificates", &CLIENT_CERTIFICATES),
        ),
        ("authorities", table(answer, "authorities", &AUTHORITIES)),
        (
            "revocation_lists",
            table(answer, "revocation_lists", &LISTS),
        ),
    ] {
        if is_there(key) {
            tables.push(shown);
        }
    }
    tables.join("\n")
}

const CHANGES: [Column; 5] = [
    ("WHAT", "what"),
    ("NAME", "name"),
    ("CHANGE", "change"),
    ("CONNECTIONS", "connections"),
    ("THEY", "fate"),
];

pub(super) const ORIGINS: [Column; 7] = [
    ("UPSTREAM", "upstream"),
    ("ORIGIN", "name"),
    ("ADDRESS", "address"),
    ("STATE", "state"),
    ("WEIGHT", "weight"),
    ("CONNECTIONS", "connections"),
    ("CHECK", "check"),
];

/// The objects under `key`, one a line.
pub(super) fn table<const N: usize>(answer: &Value, key: &str, columns: &[Column; N]) -> String {
    let rows = answer.get(key).and_then(Value::as_array);
    let cells = |row: &Value| columns.map(|(_, key)| cell(row.get(key)));
    let title = columns.map(|(title, _)| title.to_owned());
    let rows = rows.into_iter().flatten().map(cells);
    cli::table(&[title].into_iter().chain(rows).collect::<Vec<_>>())
}

/// What a reload has changed, or would change.
pub(super) fn changes(answer: &Value, none: &str) -> String {
    let mut rest = answer.clone();
    let changes = rest.as_object_mut().and_then(|rest| rest.remove("changes"));
    let is_empty = changes.and_then(|c| c.as_array().map(Vec::is_empty)) != Some(false);
    let shown = if is_empty {
        format!("{none}\n")
    } else {
        table(answer, "changes", &CHANGES)
    };
    shown + &facts(&rest)
}

/// One fact a line; of a list, one a line under its name.
pub(super) fn facts(answer: &Value) -> String {
    let mut out = String::new();
    let fields = answer.as_object().into_iter().flatten();
    for (key, value) in ordered(fields) {
        let name = key.replace('_', " ");
        let list = match value {
            Value::Array(items) if items.is_empty() => continue,
            Value::Array(items) => {
                out.push_str(&format!("{name}:\n"));
                Some(items)
            }
            value => {
                out.push_str(&format!("{name}: {}\n", plain(&line(value))));
                value.get("reasons").and_then(Value::as_array)
            }
        };
        for item in list.into_iter().flatten() {
            out.push_str(&format!("  {}\n", line(item)));
        }
    }
    out
}

/// First what people look for first.
fn ordered<'a>(
    fields: impl Iterator<Item = (&'a String, &'a Value)>,
) -> Vec<(&'a String, &'a Value)> {
    const FIRST: [&str; 12] = [
        "phase",
        "config",
        "generation",
        "connections",
        "started",
        "uptime_seconds",
        "pid",
        "version",
        "time",
        "result",
        "address",
        "endpoint",
    ];
    let place = |key: &str| FIRST.iter().position(|first| *first == key);
    let mut fields: Vec<_> = fields.collect();
    fields.sort_by_key(|(key, _)| place(key).unwrap_or(FIRST.len()));
    fields
}

/// The text under `key`.
pub(super) fn text(answer: &Value, key: &str) -> String {
    plain(answer.get(key).and_then(Value::as_str).unwrap_or_default())
}

/// A text that a terminal may see: it may hold lines, but nothing that steers.
pub(super) fn plain(text: &str) -> String {
    let harmless = |c: char| c == '\n' || !c.is_control();
    text.chars()
        .map(|c| if harmless(c) { c } else { '\u{fffd}' })
        .collect()
}

/// The values of an object, one beside the other; of anything else, itself.
fn line(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let single = fields.iter().filter(|(_, value)| !value.is_array());
            let cells = ordered(single).into_iter();
            let cells: Vec<_> = cells.map(|(_, value)| cell(Some(value))).collect();
            cells.join("  ")
        }
        value => cell(Some(value)),
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => plain(text).replace('\n', " "),
        Some(Value::Array(items)) => {
            let items: Vec<_> = items.iter().map(|item| cell(Some(item))).collect();
            items.join(" ")
        }
        Some(value) => value.to_string(),
    }
}
