//! Host names in normal form, patterns of host names, and a table from patterns to values.
//!
//! Pure. Routes and certificates are looked up in the same type of table, so both interpret a name in
//! the same way.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

/// The longest host name, without a trailing dot (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 253;
/// The longest label (RFC 1035 section 2.3.4).
const LABEL_MAX: usize = 63;

/// A host name in normal form: lower case ASCII, no trailing dot, labels of letters, digits, `-`
/// and `_`, not an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Box<str>);

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
    fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, parent)| parent)
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

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= LABEL_MAX
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A host name, or a wildcard: `*.` and a host name. The star is exactly one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// This name.
    Exact(HostName),
    /// Any one label before this name.
    Wildcard(HostName),
}

impl HostPattern {
    /// Parses a pattern of the configuration or a DNS name of a certificate.
    pub fn parse(text: &str) -> Result<Self, HostNameError> {
        match text.strip_prefix("*.") {
            Some(parent) => HostName::from_config(parent).map(Self::Wildcard),
            None => HostName::from_config(text).map(Self::Exact),
        }
    }

    /// Whether the pattern matches a name.
    pub fn matches(&self, name: &HostName) -> bool {
        match self {
            Self::Exact(own) => own == name,
            Self::Wildcard(parent) => name.parent() == Some(parent.as_str()),
        }
    }

    /// Whether a name exists that both patterns match.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(name), pattern) | (pattern, Self::Exact(name)) => pattern.matches(name),
            (Self::Wildcard(own), Self::Wildcard(other)) => own == other,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Wildcard(parent) => write!(f, "*.{parent}"),
        }
    }
}

/// Maps patterns to values. The most specific pattern owns a name: the exact one, else the wildcard of
/// its left-most label.
#[derive(Clone, Debug)]
pub struct HostTable<T> {
    exact: HashMap<HostName, T>,
    wildcard: HashMap<HostName, T>,
}

impl<T> Default for HostTable<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
        }
    }
}

impl<T> HostTable<T> {
    /// Every value, in arbitrary order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.exact.values().chain(self.wildcard.values())
    }

    /// The value of the pattern that owns `name`.
    pub fn owner(&self, name: &HostName) -> Option<&T> {
        self.exact
            .get(name)
            .or_else(|| self.wildcard.get(name.parent()?))
    }

    /// The value of exactly this pattern.
    pub fn get(&self, pattern: &HostPattern) -> Option<&T> {
        match pattern {
            HostPattern::Exact(name) => self.exact.get(name),
            HostPattern::Wildcard(parent) => self.wildcard.get(parent),
        }
    }

    /// The values of all patterns that overlap with `pattern`.
    pub fn overlapping(&self, pattern: &HostPattern) -> impl Iterator<Item = &T> {
        let (exact, wildcard, parent) = match pattern {
            HostPattern::Exact(name) => {
                let wildcard = name.parent().and_then(|parent| self.wildcard.get(parent));
                (self.exact.get(name), wildcard, None)
            }
            HostPattern::Wildcard(parent) => (None, self.wildcard.get(parent), Some(parent)),
        };
        let below = parent.into_iter().flat_map(|parent| {
            let names = self.exact.iter();
            let below = names.filter(move |(name, _)| name.parent() == Some(parent.as_str()));
            below.map(|(_, value)| value)
        });
        exact.into_iter().chain(wildcard).chain(below)
    }

    /// The value for every name that `pattern` matches; for a wildcard, only the same wildcard's.
    pub fn covering(&self, pattern: &HostPattern) -> Option<&T> {
        match pattern {
            HostPattern::Exact(name) => self.owner(name),
            HostPattern::Wildcard(_) => self.get(pattern),
        }
    }
}

impl<T: Default> HostTable<T> {
    /// The value of this pattern, inserted if absent.
    pub fn entry(&mut self, pattern: HostPattern) -> &mut T {
        match pattern {
            HostPattern::Exact(name) => self.exact.entry(name).or_default(),
            HostPattern::Wildcard(parent) => self.wildcard.entry(parent).or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> HostName {
        HostName::from_wire(text).unwrap()
    }

    #[test]
    fn case_and_one_trailing_dot_are_ignored() {
        assert_eq!(name("Vault.Example.COM."), name("vault.example.com"));
    }

    #[test]
    fn malformed_names_and_addresses_are_refused() {
        for text in [
            "", ".", "a..b", "a..", "-a.x", "a-.x", "*.x", "a b", "a\0b", "a.b:443", "ü.x", "[::1]",
        ] {
            assert_eq!(
                HostName::from_wire(text),
                Err(HostNameError::Malformed),
                "{text:?}"
            );
        }
        for text in ["10.0.0.1", "::1", "10.0.0.1."] {
            assert_eq!(
                HostName::from_wire(text),
                Err(HostNameError::Address),
                "{text:?}"
            );
        }
        assert!(HostName::from_wire(&"a".repeat(64)).is_err());
        assert!(HostName::from_wire(&format!("{}a", "a.".repeat(126))).is_ok());
        assert!(HostName::from_wire(&format!("{}aa", "a.".repeat(126))).is_err());
    }

    #[test]
    fn u_labels_of_the_configuration_are_converted() {
        assert_eq!(
            HostName::from_config("Bücher.example").unwrap().as_str(),
            "xn--bcher-kva.example"
        );
    }

    #[test]
    fn a_wildcard_matches_one_label_and_an_exact_name_precedes_it() {
        let mut table = HostTable::<u8>::default();
        *table.entry(HostPattern::parse("*.example.com").unwrap()) = 1;
        *table.entry(HostPattern::parse("a.example.com").unwrap()) = 2;
        assert_eq!(table.owner(&name("a.example.com")), Some(&2));
        assert_eq!(table.owner(&name("b.example.com")), Some(&1));
        assert_eq!(table.owner(&name("example.com")), None);
        assert_eq!(table.owner(&name("a.b.example.com")), None);
    }

    /// The table finds what a comparison of all pairs of patterns finds.
    #[test]
    fn the_table_finds_every_pattern_that_overlaps() {
        let texts = [
            "a.x.org",
            "b.x.org",
            "*.x.org",
            "x.org",
            "*.a.x.org",
            "*.org",
            "y.org",
        ];
        let patterns = texts.map(|text| HostPattern::parse(text).unwrap());
        let mut table = HostTable::<Option<&HostPattern>>::default();
        for pattern in &patterns {
            *table.entry(pattern.clone()) = Some(pattern);
        }
        for pattern in &patterns {
            let mut found: Vec<_> = table.overlapping(pattern).flatten().copied().collect();
            let mut expected: Vec<_> = patterns.iter().filter(|p| p.overlaps(pattern)).collect();
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{pattern}");
        }
    }
}
