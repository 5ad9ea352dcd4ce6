//! Responses as text and tables.

use serde_json::Value;

use crate::cli::output;

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

/// The certificates in use and the trusted CAs and CRLs, one table for each kind.
pub(super) fn certificates(response: &Value) -> String {
    let is_there = |key: &str| {
        let rows = response.get(key).and_then(Value::as_array);
        rows.is_some_and(|rows| !rows.is_empty())
    };
    let mut tables = vec![table(response, "certificates", &CERTIFICATES)];
    for (key, text) in [
        (
            "client_certificates",
            table(response, "client_certificates", &CLIENT_CERTIFICATES),
        ),
        ("authorities", table(response, "authorities", &AUTHORITIES)),
        (
            "revocation_lists",
            table(response, "revocation_lists", &LISTS),
        ),
    ] {
        if is_there(key) {
            tables.push(text);
        }
    }
    tables.join("\n")
}

pub(super) const LIMITS: [Column; 5] = [
    ("OF", "of"),
    ("LIMIT", "limit"),
    ("VALUE", "value"),
    ("USED", "used"),
    ("NEXT CLIENT", "next"),
];

const CHANGES: [Column; 5] = [
    ("WHAT", "what"),
    ("NAME", "name"),
    ("CHANGE", "change"),
    ("CONNECTIONS", "connections"),
    ("LIVE CONNECTIONS", "fate"),
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

/// The objects under `key`, one per line.
pub(super) fn table<const N: usize>(response: &Value, key: &str, columns: &[Column; N]) -> String {
    let rows = response.get(key).and_then(Value::as_array);
    let cells = |row: &Value| columns.map(|(_, key)| cell(row.get(key)));
    let title = columns.map(|(title, _)| title.to_owned());
    let rows = rows.into_iter().flatten().map(cells);
    output::table(&[title].into_iter().chain(rows).collect::<Vec<_>>())
}

/// What a reload has changed, or would change.
pub(super) fn changes(response: &Value, none: &str) -> String {
    let mut rest = response.clone();
    let changes = rest.as_object_mut().and_then(|rest| rest.remove("changes"));
    let is_empty = changes.and_then(|c| c.as_array().map(Vec::is_empty)) != Some(false);
    let text = if is_empty {
        format!("{none}\n")
    } else {
        table(response, "changes", &CHANGES)
    };
    text + &facts(&rest)
}

/// One field per line; a list has one item per line under its name.
pub(super) fn facts(response: &Value) -> String {
    let mut out = String::new();
    let fields = response.as_object().into_iter().flatten();
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
            let text = limit(item).unwrap_or_else(|| line(item));
            out.push_str(&format!("  {text}\n"));
        }
    }
    out
}

/// A limit, and how much of it is in use; `None` for anything else.
fn limit(value: &Value) -> Option<String> {
    let limit = value.get("limit")?;
    let mut text = match (value.get("max"), value.get("used")) {
        (Some(Value::Null), Some(used)) => format!("{}: {used}, no limit", cell(Some(limit))),
        (Some(max), Some(used)) => format!("{}: {used} of {max}", cell(Some(limit))),
        _ => format!("{}: {}", cell(Some(limit)), cell(value.get("value"))),
    };
    for (key, what) in [
        ("waiting", "waiting"),
        ("delayed_bytes", "bytes delayed"),
        ("would_delay_bytes", "bytes that it would have delayed"),
        ("refused", "refused"),
        ("would_refuse", "that it would have refused"),
    ] {
        if let Some(count @ 1..) = value.get(key).and_then(Value::as_u64) {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    if let Some(times @ 1..) = value.get("reached").and_then(Value::as_u64) {
        let times = if times == 1 {
            "once".to_owned()
        } else {
            format!("{times} times")
        };
        text.push_str(&format!(", reached {times}"));
    }
    Some(text)
}

/// The fields in order of interest.
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
pub(super) fn text(response: &Value, key: &str) -> String {
    plain(
        response
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default(),
    )
}

/// A text that is safe for a terminal: line breaks pass, other control characters are escaped.
pub(super) fn plain(text: &str) -> String {
    let harmless = |c: char| c == '\n' || !c.is_control();
    text.chars()
        .map(|c| if harmless(c) { c } else { '\u{fffd}' })
        .collect()
}

/// The fields of an object on one line; any other value as it is.
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
