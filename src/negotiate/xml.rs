//! Tags of an XMPP stream: the least of XML that a stream header, features and `<starttls/>` need.

/// What a tag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `<a>`
    Start,
    /// `<a/>`
    Empty,
    /// `</a>`
    End,
    /// `<?xml …?>`
    Declaration,
}

/// Text between tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// Only white space, which keeps a stream alive.
    Refused,
    /// Any, which is skipped.
    Skipped,
}

/// A tag.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) kind: Kind,
    /// The name without prefix.
    pub(super) name: String,
    attributes: String,
}

impl Tag {
    /// Takes the next tag off `bytes`, with the text before it; `None` while it is incomplete.
    ///
    /// There is no document type, comment or other part of XML in XMPP (RFC 6120 section 11.1).
    pub(super) fn take(bytes: &mut Vec<u8>, text: Text) -> Result<Option<Self>, &'static str> {
        let start = bytes.iter().position(|byte| *byte == b'<');
        let before = bytes.get(..start.unwrap_or(bytes.len()));
        if text == Text::Refused && !before.unwrap_or_default().trim_ascii().is_empty() {
            return Err("text in place of a tag");
        }
        let Some(start) = start else {
            return Ok(None);
        };
        let mut quote = None;
        let mut end = None;
        for (place, byte) in bytes.iter().enumerate().skip(start + 1) {
            match (quote, *byte) {
                (None, b'<' | b'!') => return Err("a part of XML that XMPP forbids"),
                (None, open @ (b'"' | b'\'')) => quote = Some(open),
                (None, b'>') => {
                    end = Some(place);
                    break;
                }
                (Some(open), close) if open == close => quote = None,
                _ => {}
            }
        }
        let Some(end) = end else {
            return Ok(None);
        };
        let tag = bytes.get(start + 1..end).unwrap_or_default();
        let tag = std::str::from_utf8(tag)
            .map_err(|_| "not UTF-8")?
            .to_owned();
        bytes.drain(..=end);
        let (kind, inner) = match (tag.strip_prefix('/'), tag.strip_suffix('/')) {
            (Some(inner), _) => (Kind::End, inner),
            (None, Some(inner)) => (Kind::Empty, inner),
            (None, None) if tag.starts_with('?') => (Kind::Declaration, &*tag),
            (None, None) => (Kind::Start, &*tag),
        };
        let inner = inner.trim_end();
        let (name, attributes) = inner
            .split_once(|c: char| c.is_ascii_whitespace())
            .unwrap_or((inner, ""));
        let name = name.split_once(':').map_or(name, |(_, local)| local);
        Ok(Some(Self {
            kind,
            name: name.to_owned(),
            attributes: attributes.to_owned(),
        }))
    }

    /// The value of an attribute, as written.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let mut rest = self.attributes.as_str();
        loop {
            let (key, after) = rest.split_once('=')?;
            let after = after.trim_start();
            let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            let (value, after) = after.get(1..)?.split_once(quote)?;
            if key.trim() == name {
                return Some(value);
            }
            rest = after;
        }
    }
}
