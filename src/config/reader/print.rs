//! The printed form of a configuration: YAML layout and quoting. Knows no key.

use std::fmt::Write as _;

use super::expand::escape;
use super::rendered::Rendered;

/// The YAML text of a value.
pub fn print(rendered: &Rendered) -> String {
    let mut out = String::new();
    match inline(rendered) {
        Some(text) => {
            out.push_str(&text);
            out.push('\n');
        }
        None => block(&mut out, rendered, 0),
    }
    out
}

/// The form on the line of its key, for values that need no lines of their own.
fn inline(rendered: &Rendered) -> Option<String> {
    match rendered {
        Rendered::Text(_) | Rendered::Variable { .. } => scalar(rendered),
        Rendered::Map(entries) => entries.is_empty().then(|| "{}".to_owned()),
        Rendered::List(items) => {
            let texts: Option<Vec<_>> = items.iter().map(scalar).collect();
            texts.map(|texts| format!("[{}]", texts.join(", ")))
        }
    }
}

fn block(out: &mut String, rendered: &Rendered, indent: usize) {
    match rendered {
        Rendered::Text(_) | Rendered::Variable { .. } => {
            let text = scalar(rendered).unwrap_or_default();
            let _ = writeln!(out, "{:indent$}{text}", "");
        }
        Rendered::Map(entries) => {
            for (key, value) in entries {
                let key = quote_if_needed(key);
                match inline(value) {
                    Some(text) => {
                        let _ = writeln!(out, "{:indent$}{key}: {text}", "");
                    }
                    None => {
                        let _ = writeln!(out, "{:indent$}{key}:", "");
                        block(out, value, indent + 2);
                    }
                }
            }
        }
        Rendered::List(items) => {
            for item in items {
                match inline(item) {
                    Some(text) => {
                        let _ = writeln!(out, "{:indent$}- {text}", "");
                    }
                    None => {
                        // The dash replaces the indent of the first line.
                        let mut lines = String::new();
                        block(&mut lines, item, indent + 2);
                        let _ = write!(out, "{:indent$}- {}", "", lines.trim_start());
                    }
                }
            }
        }
    }
}

fn scalar(rendered: &Rendered) -> Option<String> {
    match rendered {
        Rendered::Text(text) => Some(quote_if_needed(&escape(text))),
        Rendered::Variable { written, .. } => Some(quote_if_needed(written)),
        Rendered::List(_) | Rendered::Map(_) => None,
    }
}

/// Quotes a text that a YAML reader could take for another type.
fn quote_if_needed(text: &str) -> String {
    let safe = |char: char| char.is_ascii_alphanumeric() || "._/:-".contains(char);
    let starts_well =
        text.starts_with(|char: char| char.is_ascii_alphanumeric() || char == '/' || char == '.');
    let octal = text.len() > 1 && text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    let null = text.eq_ignore_ascii_case("null");
    if starts_well && text.chars().all(safe) && !text.ends_with(':') && !octal && !null {
        return text.to_owned();
    }
    let mut out = String::from('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => {
                out.push('\\');
                out.push(char);
            }
            ' '..='~' => out.push(char),
            char if char.is_alphanumeric() => out.push(char),
            char => {
                let _ = write!(out, "\\U{:08X}", u32::from(char));
            }
        }
    }
    out.push('"');
    out
}
