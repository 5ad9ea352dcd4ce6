//! Cells of tables, as they are written for people.

use serde_json::Value;

use crate::cli::paint::Mood;

/// What a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text or a number.
    Plain,
    /// A word for a state.
    State,
    /// Bytes.
    Bytes,
    /// Bytes per second.
    Rate,
    /// Seconds.
    Time,
    /// Seconds until something ends.
    Left,
    /// A count that should be zero.
    Faults,
}

/// Time left of a certificate below which it is shown as bad or doubtful.
const DAY: i64 = 86_400;

/// A cell, and its mood.
pub(super) fn written(value: Option<&Value>, kind: Kind) -> (String, Mood) {
    let number = value.and_then(Value::as_f64);
    let (text, mood) = match (kind, number) {
        (Kind::Bytes, Some(bytes)) => (size(bytes), Mood::Plain),
        (Kind::Rate, Some(bytes)) => (format!("{}/s", size(bytes)), Mood::Plain),
        (Kind::Time, Some(seconds)) => (span(seconds as i64), Mood::Plain),
        (Kind::Left, Some(seconds)) => {
            let seconds = seconds as i64;
            let mood = match seconds {
                ..=0 => Mood::Bad,
                seconds if seconds < 3 * DAY => Mood::Bad,
                seconds if seconds < 14 * DAY => Mood::Doubtful,
                _ => Mood::Plain,
            };
            let text = if seconds < 0 {
                "ended".to_owned()
            } else {
                span(seconds)
            };
            (text, mood)
        }
        (Kind::Faults, Some(count)) if count > 0.0 => (cell(value), Mood::Bad),
        (Kind::State, _) => {
            let text = cell(value);
            let mood = mood(&text);
            (text, mood)
        }
        _ => (cell(value), Mood::Plain),
    };
    (text, mood)
}

/// The mood of a word for a state.
pub(super) fn mood(word: &str) -> Mood {
    match word {
        "up" | "ok" | "serving" | "listening" | "done" | "admitted" => Mood::Good,
        "drain" | "ejected" | "unresolved" | "lame duck" | "draining" | "partial" | "waits" => {
            Mood::Doubtful
        }
        "down" | "disabled" | "drained" | "closed" | "refused" => Mood::Bad,
        _ => Mood::Plain,
    }
}

/// Bytes with a unit.
fn size(bytes: f64) -> String {
    let mut value = bytes;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1000.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    match unit {
        "B" => format!("{value:.0} B"),
        _ => format!("{value:.1} {unit}"),
    }
}

/// Seconds in the largest two units.
pub(super) fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / DAY, seconds % DAY / 3600),
    }
}

/// A text that is safe for a terminal: line breaks pass, other control characters are replaced.
pub(super) fn plain(text: &str) -> String {
    let harmless = |c: char| c == '\n' || !c.is_control();
    text.chars()
        .map(|c| if harmless(c) { c } else { '\u{fffd}' })
        .collect()
}

/// An answer as JSON that is safe for a terminal: JSON itself escapes only what is below a blank.
pub(super) fn json(answer: &Value) -> String {
    let mut text = String::new();
    for c in format!("{answer:#}\n").chars() {
        match c {
            c if c != '\n' && c.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text
}

/// A value without decoration.
pub(super) fn cell(value: Option<&Value>) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_has_a_control_character() {
        let hostile = "\u{1b}[2J\u{9b}31m\u{7f}a\n";
        let answer = serde_json::json!({ "a": hostile });
        let text = json(&answer);
        assert!(!text.replace('\n', "").contains(char::is_control), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), answer);
        assert_eq!(plain(hostile), "\u{fffd}[2J\u{fffd}31m\u{fffd}a\n");
    }

    #[test]
    fn bytes_and_times_have_units() {
        let sizes = [0.0, 999.0, 1024.0, 1_500_000.0, 5e12].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 KiB", "1.4 MiB", "4.5 TiB"]);
        let spans = [0, 59, 61, 3661, 90_000, -5].map(span);
        assert_eq!(spans, ["0s", "59s", "1m01s", "1h01m", "1d01h", "0s"]);
    }
}
