//! The lines of a stunnel configuration: sections and options.

use crate::cli::document::LeftOut;

/// A line that says something.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: usize,
    /// The text as it may be printed: without secrets.
    pub(super) text: String,
    /// The option's name in lower case; empty if the line is no option.
    pub(super) key: String,
    pub(super) value: String,
}

/// The options before the first section, or those of a section.
#[derive(Debug, Default)]
pub(super) struct Section {
    /// The line with the name in brackets; absent before the first one.
    pub(super) header: Option<Line>,
    pub(super) lines: Vec<Line>,
}

/// Options whose values are secrets, or may hold one.
const SECRET: [&str; 5] = [
    "protocolpassword",
    "ticketkeysecret",
    "ticketmacsecret",
    "enginectrl",
    "psksecret",
];

/// The sections of a file, the options before the first one included. Fails for what is no text.
pub(super) fn sections(bytes: &[u8]) -> Result<Vec<Section>, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        let before = bytes.get(..at).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        return Err(format!("it is no text: line {line} has a byte 0"));
    }
    let mut sections = vec![Section::default()];
    for (index, line) in String::from_utf8_lossy(bytes).lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let line = Line::of(index + 1, line);
        if line.is_header() {
            sections.push(Section {
                header: Some(line),
                lines: Vec::new(),
            });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push(line);
        }
    }
    Ok(sections)
}

impl Line {
    fn of(number: usize, text: &str) -> Self {
        let (name, value) = text.split_once('=').unwrap_or_default();
        let mut key = name.trim().to_ascii_lowercase();
        let is_secret = SECRET.contains(&key.as_str()) || value.contains("pin-value");
        let shown = match is_secret {
            true => format!("{name}= (hidden)"),
            false => text.to_owned(),
        };
        // What cannot be seen or was no UTF-8 must not be taken for a name or a path.
        let is_odd = |c: char| (c.is_control() && c != '\t') || c == '\u{fffd}';
        if text.contains(is_odd) {
            key.clear();
        }
        Self {
            number,
            text: shown,
            key,
            value: value.trim().to_owned(),
        }
    }

    /// It as a line that was not converted.
    pub(super) fn left_out(&self, why: &str) -> LeftOut {
        LeftOut {
            place: self.place(),
            text: self.text.clone(),
            why: why.to_owned(),
        }
    }

    pub(super) fn place(&self) -> String {
        format!("line {}", self.number)
    }

    fn is_header(&self) -> bool {
        self.text.starts_with('[') && self.text.ends_with(']')
    }

    /// The name in brackets.
    pub(super) fn name(&self) -> &str {
        self.text
            .trim_start_matches('[')
            .trim_end_matches(']')
            .trim()
    }
}
