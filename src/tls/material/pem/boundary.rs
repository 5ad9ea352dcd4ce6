//! Classifies lines of PEM: a boundary, a damaged boundary, or other text.
//!
//! A line that every reader takes for text, although its author meant a boundary, hides a block. A line
//! of text that is refused costs its author an edit. So what looks like a boundary is refused, and no
//! more than that: comments about end-entity certificates are common in bundles.

/// A line, without the spaces around it.
pub(super) enum Line<'a> {
    /// A BEGIN line with this label.
    Begin(&'a str),
    /// An END line with this label.
    End(&'a str),
    /// A line that resembles a boundary and is none.
    Damaged {
        /// What is wrong with it.
        reason: &'static str,
        /// How to fix it.
        help: &'static str,
    },
    /// Text or base64.
    Other(&'a [u8]),
}

/// A byte-order mark in UTF-8. Concatenated files may have one before each part.
const BOM: &[u8] = b"\xef\xbb\xbf";

const DASHES: &[u8] = b"-----";

/// Words that occur in labels.
const LABEL_WORDS: [&str; 7] = [
    "CERTIFICATE",
    "CRL",
    "KEY",
    "PARAMETERS",
    "REQUEST",
    "PKCS7",
    "CMS",
];

pub(super) fn read(line: &[u8]) -> Line<'_> {
    let line = line.trim_ascii();
    let line = line.strip_prefix(BOM).unwrap_or(line).trim_ascii();
    if let Some(boundary) = exact(line) {
        return boundary;
    }
    if !resembles(line) {
        return Line::Other(line);
    }
    let after_begin = |at: usize| {
        line.get(at + 1..)
            .is_some_and(|rest| find(rest, b"-----BEGIN").is_some())
    };
    if find(line, b"-----END").is_some_and(after_begin) {
        return Line::Damaged {
            reason: "the END and the BEGIN of two blocks are glued together on one line",
            help: "begin a new line before each `-----BEGIN`; `awk 1 A B >C` joins files so, \
                where `cat` does not",
        };
    }
    if line.starts_with(DASHES) {
        return Line::Damaged {
            reason: "this is no whole BEGIN or END line: it has more or less on it \
                than `-----BEGIN LABEL-----`",
            help: "write the BEGIN line, the base64 and the END line on lines of their own",
        };
    }
    Line::Damaged {
        reason: "this resembles a BEGIN or END line, and is none",
        help: "a boundary is `-----BEGIN LABEL-----` or `-----END LABEL-----`, \
            alone on its line with five hyphens on each side; take a block that is not meant out of the file",
    }
}

/// Parses a boundary (RFC 7468 section 3).
fn exact<'a>(line: &'a [u8]) -> Option<Line<'a>> {
    let inner = line.strip_prefix(DASHES)?.strip_suffix(DASHES)?;
    let (make, label): (fn(&'a str) -> Line<'a>, _) = match inner.strip_prefix(b"BEGIN ") {
        Some(label) => (Line::Begin, label),
        None => (Line::End, inner.strip_prefix(b"END ")?),
    };
    let label = std::str::from_utf8(label).ok()?;
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic());
    let is_label = label.split([' ', '-']).all(is_word);
    is_label.then(|| make(label))
}

/// Whether a line resembles a boundary: with another number or kind of hyphens, other spaces, other
/// case, or text before or after it. Every reader of PEM skips such a line, and with it the block; so
/// it is refused. Text is accepted: no label begins with the words in [`PROSE`], and what begins with
/// another character than a hyphen is a comment unless it has four hyphens in a row.
fn resembles(line: &[u8]) -> bool {
    let has = |word: &[u8]| {
        line.windows(word.len())
            .any(|w| w.eq_ignore_ascii_case(word))
    };
    if !has(b"BEGIN") && !has(b"END") {
        return false;
    }
    let text = plain(line);
    let markers = markers(&text);
    let is_loud = markers.iter().any(|marker| marker.is_loud);
    let has_label = |text: &str| LABEL_WORDS.iter().any(|word| text.contains(word));
    let is_quiet =
        markers.iter().any(|marker| marker.opens) && has_label(&text.to_ascii_uppercase());
    let is_bare = markers.first().is_some_and(|marker| marker.is_first);
    let run = text
        .split(|c| c != '-')
        .map(str::len)
        .max()
        .unwrap_or_default();
    let is_framed = text.starts_with('-') || text.ends_with('-');
    let is_joined = text.contains("-----BEGIN") || text.contains("-----END");
    match run {
        4.. => is_loud || is_quiet || is_joined,
        2.. if is_framed => is_quiet,
        1.. if is_framed => is_quiet && is_loud,
        _ => is_bare && is_loud && has_label(&text),
    }
}

/// Words after BEGIN or END that show that it is prose: "end-entity certificate", "END OF LIST".
const PROSE: [&str; 2] = ["ENTITY", "OF"];

/// BEGIN or END as a word of a line, in any case, if the word after it is not in [`PROSE`].
struct Marker {
    /// Whether it is in upper case.
    is_loud: bool,
    /// Whether a hyphen or nothing is before it.
    opens: bool,
    /// Whether nothing is before it.
    is_first: bool,
}

fn markers(text: &str) -> Vec<Marker> {
    let mut at = 0;
    let words: Vec<_> = text
        .split_inclusive(|c: char| !c.is_alphanumeric())
        .map(|piece| {
            let before = text.get(..at).unwrap_or_default();
            at += piece.len();
            (
                before,
                piece.trim_end_matches(|c: char| !c.is_alphanumeric()),
            )
        })
        .filter(|(_, word)| !word.is_empty())
        .collect();
    let next = words.iter().skip(1).map(|(_, word)| *word).chain([""]);
    let is_one_of = |word: &str, all: [&str; 2]| all.iter().any(|w| w.eq_ignore_ascii_case(word));
    words
        .iter()
        .zip(next)
        .filter(|((_, word), next)| is_one_of(word, ["BEGIN", "END"]) && !is_one_of(next, PROSE))
        .map(|((before, word), _)| Marker {
            is_loud: ["BEGIN", "END"].contains(word),
            opens: before.trim_end().is_empty() || before.trim_end().ends_with('-'),
            is_first: before.is_empty(),
        })
        .collect()
}

/// The line with all kinds of dashes replaced by hyphens, and without invisible characters. Invalid
/// UTF-8 counts as dashes: they may be dashes in another encoding.
fn plain(line: &[u8]) -> String {
    String::from_utf8_lossy(line)
        .chars()
        .filter_map(|c| match c {
            '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' => None,
            '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}' => Some('-'),
            '\u{2500}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' | '\u{fffd}' => Some('-'),
            other => Some(other),
        })
        .collect::<String>()
        .trim()
        .to_owned()
}

fn find(line: &[u8], word: &[u8]) -> Option<usize> {
    line.windows(word.len()).position(|window| window == word)
}
