//! One record on one line, as JSON, logfmt or plain text.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// The format of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// `key=value` pairs.
    Logfmt,
    /// Text for people.
    Text,
}

/// A record under construction. Strings must be printable (see [`escape`](super::escape)); quoting for the
/// format is done here.
#[derive(Debug)]
pub struct LogLine {
    format: Format,
    out: String,
    first: bool,
    group: Option<&'static str>,
}

impl LogLine {
    /// An empty record.
    pub fn new(format: Format) -> Self {
        let mut out = String::with_capacity(512);
        if format == Format::Json {
            out.push('{');
        }
        Self {
            format,
            out,
            first: true,
            group: None,
        }
    }

    /// Adds a string.
    pub fn string(&mut self, key: &str, value: &str) {
        self.key(key);
        match self.format {
            Format::Json => push_json_string(&mut self.out, value),
            Format::Logfmt | Format::Text => push_logfmt_value(&mut self.out, value),
        }
    }

    /// Adds a string if there is one.
    pub fn maybe(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.string(key, value);
        }
    }

    /// Adds a number or boolean, which needs no quotes.
    pub fn number(&mut self, key: &str, value: impl std::fmt::Display) {
        self.key(key);
        let _ = write!(self.out, "{value}");
    }

    /// Adds a list of strings.
    pub fn list(&mut self, key: &str, values: &[String]) {
        if self.format != Format::Json {
            // A comma within a value must not look like a separator.
            let values: Vec<_> = values.iter().map(|v| v.replace(',', "\\,")).collect();
            return self.string(key, &values.join(","));
        }
        self.key(key);
        self.out.push('[');
        for (n, value) in values.iter().enumerate() {
            if n > 0 {
                self.out.push(',');
            }
            push_json_string(&mut self.out, value);
        }
        self.out.push(']');
    }

    /// Adds fields under a common key: an object in JSON, `key.field` elsewhere.
    pub fn group(&mut self, key: &'static str, fields: impl FnOnce(&mut Self)) {
        if self.format == Format::Json {
            self.key(key);
            self.out.push('{');
            let first = std::mem::replace(&mut self.first, true);
            fields(self);
            self.first = first;
            self.out.push('}');
        } else {
            self.group = Some(key);
            fields(self);
            self.group = None;
        }
    }

    /// The finished line.
    pub fn finish(mut self) -> String {
        if self.format == Format::Json {
            self.out.push('}');
        }
        self.out.push('\n');
        self.out
    }

    fn key(&mut self, key: &str) {
        let first = std::mem::replace(&mut self.first, false);
        match self.format {
            Format::Json => {
                if !first {
                    self.out.push(',');
                }
                push_json_string(&mut self.out, key);
                self.out.push(':');
            }
            Format::Logfmt | Format::Text => {
                if !first {
                    self.out.push(' ');
                }
                if let Some(group) = self.group {
                    self.out.push_str(group);
                    self.out.push('.');
                }
                self.out.push_str(key);
                self.out.push('=');
            }
        }
    }
}

fn push_json_string(out: &mut String, value: &str) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn push_logfmt_value(out: &mut String, value: &str) {
    let bare = !value.is_empty()
        && value
            .chars()
            .all(|c| !c.is_whitespace() && !c.is_control() && c != '"' && c != '=');
    if bare {
        out.push_str(value);
    } else {
        push_json_string(out, value);
    }
}

/// RFC 3339 in UTC with milliseconds.
pub fn timestamp(at: SystemTime) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::from(at).format(FORMAT).unwrap_or_default()
}

/// The same for seconds of unix time. Values from certificates may be out of range, and are clamped.
pub fn unix_timestamp(seconds: i64) -> String {
    // The last moment of the year 9999.
    const LAST: u64 = 253_402_300_799;
    let seconds = u64::try_from(seconds).unwrap_or(0).min(LAST);
    timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: Format) -> String {
        let mut line = LogLine::new(format);
        line.string("a", "x \"y\"");
        line.number("n", 1.5);
        line.group("ms", |line| {
            line.number("hello", 1);
            line.number("total", 2);
        });
        line.list("l", &["p".to_owned(), "q".to_owned()]);
        line.finish()
    }

    #[test]
    fn json_is_one_object_on_one_line() {
        assert_eq!(
            line(Format::Json),
            "{\"a\":\"x \\\"y\\\"\",\"n\":1.5,\"ms\":{\"hello\":1,\"total\":2},\"l\":[\"p\",\"q\"]}\n"
        );
    }

    #[test]
    fn logfmt_quotes_what_needs_it_and_names_groups() {
        assert_eq!(
            line(Format::Logfmt),
            "a=\"x \\\"y\\\"\" n=1.5 ms.hello=1 ms.total=2 l=p,q\n"
        );
    }

    #[test]
    fn timestamps_are_rfc_3339_in_utc_with_milliseconds() {
        assert_eq!(
            timestamp(SystemTime::UNIX_EPOCH),
            "1970-01-01T00:00:00.000Z"
        );
    }
}
