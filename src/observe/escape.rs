//! Makes bytes from the wire harmless to terminals, log parsers and readers.

use std::fmt::Write;

/// The longest text from the wire in a log, in bytes.
pub const TEXT_MAX: usize = 256;

/// The longest text of our own in a log, in bytes, such as the diagnosis of a file and its fix.
const OWN_MAX: usize = 8 * 1024;

/// What becomes of a backslash.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backslashes {
    /// It becomes two.
    Doubled,
    /// It stays, unless it could be taken for the beginning of an escape.
    Kept,
}

/// Printable text for `bytes`. Control characters, characters that reorder the line, backslashes and bytes
/// that are not UTF-8 become escapes; text beyond [`TEXT_MAX`] is cut off.
pub fn bytes(bytes: &[u8]) -> String {
    up_to(TEXT_MAX, bytes, Backslashes::Doubled)
}

/// Printable text for one of our own messages, which may quote text from the wire in full length, and names
/// of certificates.
pub fn own(text: &str) -> String {
    up_to(OWN_MAX, text.as_bytes(), Backslashes::Kept)
}

/// Printable text for a name in the notation of RFC 4514, whose own backslashes stay: `CN=a\,b` is the form in
/// which `ctl` and other programs take it.
pub fn name(text: &str) -> String {
    up_to(TEXT_MAX, text.as_bytes(), Backslashes::Kept)
}

/// Printable text for `text`; see [`bytes`].
pub fn text(text: &str) -> String {
    bytes(text.as_bytes())
}

fn up_to(max: usize, bytes: &[u8], backslashes: Backslashes) -> String {
    // Nearly every text.
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\';
    if bytes.len() <= max && bytes.iter().all(is_plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        let mut chars = chunk.valid().chars().peekable();
        while let Some(c) = chars.next() {
            if c != '\\' || backslashes == Backslashes::Doubled {
                push(&mut out, c);
            } else if chars.next_if_eq(&'\\').is_some() || !chars.peek().is_some_and(is_clear) {
                out.push_str("\\\\");
            } else {
                out.push('\\');
            }
        }
        for b in chunk.invalid() {
            let _ = write!(out, "\\x{b:02x}");
        }
        if out.len() > max {
            break;
        }
    }
    cut(out, max)
}

fn push(out: &mut String, c: char) {
    match c {
        '\\' => out.push_str("\\\\"),
        c if c.is_ascii_control() => {
            let _ = write!(out, "\\x{:02x}", u32::from(c));
        }
        c if c.is_control() || is_invisible(c) => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
        c => out.push(c),
    }
}

/// Whether a backslash before this character is none of an escape.
fn is_clear(c: &char) -> bool {
    !matches!(*c, 'x' | 'u') && !c.is_control() && !is_invisible(*c)
}

/// Characters that change how their neighbours are displayed: bidirectional controls, line separators,
/// joiners and other format characters.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max).rev().find(|n| text.is_char_boundary(*n));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_bytes_become_one_short_printable_line() {
        let hostile = b"a\r\nfake=1\x1b[31m\xff\xe2\x80\xaeevil\\x";
        assert_eq!(
            bytes(hostile),
            r"a\x0d\x0afake=1\x1b[31m\xff\u{202e}evil\\x"
        );
        assert!(bytes(&[b'\n'; 100_000]).len() <= TEXT_MAX + '…'.len_utf8());
        assert_eq!(text("Bücher"), "Bücher");
    }

    #[test]
    fn a_name_keeps_its_backslashes_and_none_of_them_looks_like_an_escape() {
        for (raw, shown) in [
            (
                r"O=Example\, Inc., CN=a\\b\+c",
                r"O=Example\, Inc., CN=a\\b\+c",
            ),
            ("CN=a\n", r"CN=a\x0a"),
            (r"CN=a\x0a", r"CN=a\\x0a"),
            (r"CN=a\\x0a", r"CN=a\\x0a"),
            (r"CN=a\u{202e}", r"CN=a\\u{202e}"),
            ("CN=a\\\n", r"CN=a\\\x0a"),
            ("CN=a\\\u{202e}", r"CN=a\\\u{202e}"),
            (r"CN=a\", r"CN=a\\"),
        ] {
            assert_eq!(name(raw), shown, "{raw:?}");
            assert_eq!(own(raw), shown, "{raw:?}");
        }
        assert_eq!(text(r"a\,b"), r"a\\,b");
    }
}
