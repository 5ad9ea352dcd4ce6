//! The values of rules that have a syntax of their own: URI patterns and mail addresses.

use std::fmt;

/// A URI in which `*` matches exactly one whole segment of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriPattern(String);

impl UriPattern {
    /// Parses a pattern; the error says why it can never match.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once(':').ok_or("a URI begins with a scheme")?;
        let letters = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        if scheme.is_empty() || !scheme.chars().all(letters) {
            return Err("a URI begins with a scheme");
        }
        if !rest.chars().all(|c| c.is_ascii_graphic()) {
            return Err("a URI is printable ASCII");
        }
        let authority = rest
            .strip_prefix("//")
            .and_then(|rest| rest.split('/').next());
        if authority.is_some_and(|authority| authority.contains('*')) {
            return Err("`*` stands for a segment of the path, not for a part of the authority");
        }
        if text.split('/').any(|s| s.contains('*') && s != "*") {
            return Err("`*` stands for a whole segment of the path, between slashes");
        }
        Ok(Self(text.to_owned()))
    }

    pub(super) fn matches(&self, uri: &str) -> bool {
        let mut wanted = self.0.split('/');
        let mut found = uri.split('/');
        loop {
            match (wanted.next(), found.next()) {
                (None, None) => return true,
                (Some("*"), Some(segment)) if is_segment(segment) => {}
                (Some(wanted), Some(found)) if wanted == found && wanted != "*" => {}
                _ => return false,
            }
        }
    }
}

impl fmt::Display for UriPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a wildcard matches this segment: not an empty one, and none that another parser could take
/// for something else than a segment.
fn is_segment(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..")
        && segment
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'%' | b'\\'))
}

/// A mail address; the case of its domain is ignored (RFC 5280 section 7.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    local: String,
    domain: String,
}

impl Email {
    /// Parses an address; `None` if no certificate can have it.
    pub fn parse(text: &str) -> Option<Self> {
        let (local, domain) = text.rsplit_once('@')?;
        let graphic = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic());
        (graphic(local) && graphic(domain)).then(|| Self {
            local: local.to_owned(),
            domain: domain.to_ascii_lowercase(),
        })
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}
