//! Host names in normal form.

use std::borrow::Borrow;
use std::fmt;
use std::net::IpAddr;

/// The longest host name, without a trailing dot (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 253;
/// The longest label (RFC 1035 section 2.3.4).
const LABEL_MAX: usize = 63;

/// A host name in normal form: lower case ASCII, no trailing dot, labels of letters, digits, `-`
/// and `_`, not an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(pub(super) Box<str>);

/// Why a text is not a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostNameError {
    /// Empty, too long, with an empty or too long label, or with a character that host names cannot have.
    Malformed,
    /// An IP address, which SNI cannot carry (RFC 6066 section 3).
    Address,
}

impl fmt::Display for HostNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a host name",
            Self::Address => "an IP address, and clients send no server name for those",
        })
    }
}

impl HostName {
    /// Normalises a name from the wire: folds ASCII case and strips one trailing dot. Any other
    /// deviation is an error.
    pub fn from_wire(text: &str) -> Result<Self, HostNameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.parse::<IpAddr>().is_ok() {
            return Err(HostNameError::Address);
        }
        if text.is_empty() || text.len() > NAME_MAX || !text.split('.').all(is_label) {
            return Err(HostNameError::Malformed);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// Normalises a name of the configuration, and converts U-labels.
    pub fn from_config(text: &str) -> Result<Self, HostNameError> {
        if text.is_ascii() {
            return Self::from_wire(text);
        }
        // UTS 46 accepts punctuation that no registered name contains. It is most often what an editor made
        // of quotes and hyphens.
        if text.contains(is_typographic) {
            return Err(HostNameError::Malformed);
        }
        let ascii = idna::domain_to_ascii_strict(text).map_err(|_| HostNameError::Malformed)?;
        Self::from_wire(&ascii)
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its left-most label, if it has more than one.
    pub(super) fn parent(&self) -> Option<&str> {
        parent(&self.0)
    }

    /// The names above it, the longest first.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(self.parent(), |name| parent(name))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Whether this is a quotation mark, a dash or another sign of typography: the General Punctuation block
/// of Unicode without its joiners, and angle quotes.
pub fn is_typographic(c: char) -> bool {
    matches!(c, '\u{2010}'..='\u{205e}' | '\u{ab}' | '\u{bb}')
}

fn parent(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, parent)| parent)
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= LABEL_MAX
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
