//! Objects as facts, one on each line.

use serde_json::Value;

use super::cells::{cell, mood, plain, span};
use crate::cli::paint::Paint;

/// One field per line; a list has one item per line under its name.
pub(super) fn facts(response: &Value, paint: Paint) -> String {
    let mut out = String::new();
    let fields = response.as_object().into_iter().flatten();
    for (key, value) in ordered(fields) {
        let name = plain(&key.replace('_', " "));
        if let Some(seconds) = key
            .ends_with("uptime_seconds")
            .then(|| value.as_i64())
            .flatten()
        {
            out.push_str(&format!("uptime: {}\n", span(seconds)));
            continue;
        }
        let list = match value {
            Value::Array(items) if items.is_empty() => continue,
            Value::Array(items) => {
                out.push_str(&format!("{name}:\n"));
                Some(items)
            }
            value => {
                let text = plain(&line(value));
                let text = paint.text(&text, mood(&text));
                out.push_str(&format!("{name}: {text}\n"));
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
