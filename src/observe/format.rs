//! One record on one line, as JSON, logfmt or plain text.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

use super::digits;

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
        let mut out = String::with_capacity(768);
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

    /// Adds what `push` writes: text that needs no quotes in logfmt, and no escapes in JSON.
    pub fn word(&mut self, key: &str, push: impl FnOnce(&mut String)) {
        self.key(key);
        match self.format {
            Format::Json => {
                self.out.push('"');
                push(&mut self.out);
                self.out.push('"');
            }
            Format::Logfmt | Format::Text => push(&mut self.out),
        }
    }

    /// Adds an address with its port.
    pub fn address(&mut self, key: &str, address: SocketAddr) {
        self.word(key, |out| digits::push_address(out, address));
    }

    /// Adds a time, as [`timestamp`] writes it.
    pub fn time(&mut self, key: &str, at: SystemTime) {
        self.word(key, |out| push_timestamp(out, at));
    }

    /// Adds an integer.
    pub fn integer(&mut self, key: &str, value: u64) {
        self.key(key);
        digits::push_decimal(&mut self.out, value);
    }

    /// Adds a time in milliseconds with three decimals.
    pub fn milliseconds(&mut self, key: &str, time: Duration) {
        self.key(key);
        let microseconds = (time.as_nanos() + 500) / 1000;
        let microseconds = u64::try_from(microseconds).unwrap_or(u64::MAX);
        digits::push_decimal(&mut self.out, microseconds / 1000);
        self.out.push('.');
        digits::push_padded(&mut self.out, microseconds % 1000, 3);
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

    /// Keys need no escapes.
    fn key(&mut self, key: &str) {
        let first = std::mem::replace(&mut self.first, false);
        match self.format {
            Format::Json => {
                if !first {
                    self.out.push(',');
                }
                self.out.push('"');
                self.out.push_str(key);
                self.out.push_str("\":");
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
    let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    out.push('"');
    if !value.bytes().any(is_special) {
        out.push_str(value);
        out.push('"');
        return;
    }
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
    let is_bare = |c: char| {
        c.is_ascii_graphic() && c != '"' && c != '='
            || !c.is_ascii() && !c.is_whitespace() && !c.is_control()
    };
    if !value.is_empty() && value.chars().all(is_bare) {
        out.push_str(value);
    } else {
        push_json_string(out, value);
    }
}

/// RFC 3339 in UTC with milliseconds.
pub fn timestamp(at: SystemTime) -> String {
    let mut out = String::new();
    push_timestamp(&mut out, at);
    out
}

fn push_timestamp(out: &mut String, at: SystemTime) {
    let at = OffsetDateTime::from(at);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second, millisecond) = at.to_hms_milli();
    digits::push_padded(out, u64::from(year.unsigned_abs()), 4);
    for (mark, part) in [
        ('-', u8::from(month)),
        ('-', day),
        ('T', hour),
        (':', minute),
        (':', second),
    ] {
        out.push(mark);
        digits::push_padded(out, part.into(), 2);
    }
    out.push('.');
    digits::push_padded(out, millisecond.into(), 3);
    out.push('Z');
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
        let later = Duration::new(1_764_329_405, 70_999_999);
        assert_eq!(
            timestamp(SystemTime::UNIX_EPOCH + later),
            "2025-11-28T11:30:05.070Z"
        );
        assert_eq!(unix_timestamp(i64::MAX), "9999-12-31T23:59:59.000Z");
    }

    #[test]
    fn times_are_milliseconds_with_three_decimals_rounded() {
        let written = |time| {
            let mut line = LogLine::new(Format::Text);
            line.milliseconds("ms", time);
            line.finish()
        };
        assert_eq!(written(Duration::ZERO), "ms=0.000\n");
        assert_eq!(written(Duration::from_nanos(1_234_499)), "ms=1.234\n");
        assert_eq!(written(Duration::from_nanos(999_999_500)), "ms=1000.000\n");
    }

    #[test]
    fn values_with_blanks_or_signs_of_the_format_are_quoted_in_logfmt() {
        for (value, written) in [
            ("bücher", "v=bücher\n"),
            ("", "v=\"\"\n"),
            ("a=b", "v=\"a=b\"\n"),
            ("a\u{a0}b", "v=\"a\u{a0}b\"\n"),
            ("a\u{85}b", "v=\"a\u{85}b\"\n"),
            ("a\nb", "v=\"a\\u000ab\"\n"),
        ] {
            let mut line = LogLine::new(Format::Logfmt);
            line.string("v", value);
            assert_eq!(line.finish(), written);
        }
    }
}
