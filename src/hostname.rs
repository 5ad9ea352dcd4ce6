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
        parent(&self.0)
    }

    /// The names above it, the longest first.
    fn ancestors(&self) -> impl Iterator<Item = &str> {
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

/// A host name, or a wildcard before one: `*.` is exactly one label, `**.` is one or more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// This name.
    Exact(HostName),
    /// Any one label before this name.
    Wildcard(HostName),
    /// One or more labels before this name.
    Deep(HostName),
}

impl HostPattern {
    /// Parses a pattern of server names. Certificates have no such wildcard of any depth.
    pub fn parse_deep(text: &str) -> Result<Self, HostNameError> {
        match text.strip_prefix("**.") {
            Some(suffix) => HostName::from_config(suffix).map(Self::Deep),
            None => Self::parse(text),
        }
    }

    /// Parses a DNS name as certificates have it, or a pattern of those.
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
            Self::Deep(suffix) => name.ancestors().any(|above| above == suffix.as_str()),
        }
    }

    /// Orders patterns that match one name: the one that owns it is the greatest.
    pub fn specificity(&self) -> (u8, usize) {
        match self {
            Self::Exact(_) => (2, 0),
            Self::Wildcard(_) => (1, 0),
            Self::Deep(suffix) => (0, suffix.as_str().len()),
        }
    }

    /// Whether a name exists that both patterns match.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(name), pattern) | (pattern, Self::Exact(name)) => pattern.matches(name),
            (Self::Wildcard(own), Self::Wildcard(other)) => own == other,
            (Self::Deep(suffix), Self::Wildcard(parent))
            | (Self::Wildcard(parent), Self::Deep(suffix)) => is_at_or_below(parent, suffix),
            (Self::Deep(own), Self::Deep(other)) => {
                is_at_or_below(own, other) || is_at_or_below(other, own)
            }
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Wildcard(parent) => write!(f, "*.{parent}"),
            Self::Deep(suffix) => write!(f, "**.{suffix}"),
        }
    }
}

fn is_at_or_below(name: &HostName, suffix: &HostName) -> bool {
    name == suffix || name.ancestors().any(|above| above == suffix.as_str())
}

/// Maps patterns to values. The most specific pattern owns a name: the exact one, else the wildcard of
/// its left-most label, else the longest wildcard of any depth.
#[derive(Clone, Debug)]
pub struct HostTable<T> {
    exact: HashMap<HostName, T>,
    wildcard: HashMap<HostName, T>,
    deep: HashMap<HostName, T>,
}

impl<T> Default for HostTable<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            deep: HashMap::new(),
        }
    }
}

impl<T> HostTable<T> {
    /// Every value, in arbitrary order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        let named = self.exact.values().chain(self.wildcard.values());
        named.chain(self.deep.values())
    }

    /// The value of the pattern that owns `name`.
    pub fn owner(&self, name: &HostName) -> Option<&T> {
        self.exact
            .get(name)
            .or_else(|| self.wildcard.get(name.parent()?))
            .or_else(|| self.deep_owner(name))
    }

    fn deep_owner(&self, name: &HostName) -> Option<&T> {
        if self.deep.is_empty() {
            return None;
        }
        name.ancestors().find_map(|above| self.deep.get(above))
    }

    /// The values of all patterns that overlap with `pattern`.
    pub fn overlapping(&self, pattern: &HostPattern) -> Vec<&T> {
        let mut found = Vec::new();
        let above = |name: &HostName| -> Vec<&T> {
            name.ancestors()
                .filter_map(|above| self.deep.get(above))
                .collect()
        };
        match pattern {
            HostPattern::Exact(name) => {
                found.extend(self.exact.get(name));
                found.extend(name.parent().and_then(|parent| self.wildcard.get(parent)));
                found.extend(above(name));
            }
            HostPattern::Wildcard(parent) => {
                found.extend(self.wildcard.get(parent));
                found.extend(self.deep.get(parent));
                found.extend(above(parent));
                let names = self.exact.iter();
                let below = names.filter(|(name, _)| name.parent() == Some(parent.as_str()));
                found.extend(below.map(|(_, value)| value));
            }
            HostPattern::Deep(suffix) => {
                let names = self.exact.iter().filter(|(name, _)| pattern.matches(name));
                found.extend(names.map(|(_, value)| value));
                let parents = self.wildcard.iter().chain(&self.deep);
                let parents = parents.filter(|(name, _)| is_at_or_below(name, suffix));
                found.extend(parents.map(|(_, value)| value));
                found.extend(above(suffix));
            }
        }
        found
    }

    /// The value for every name that `pattern` matches; for a wildcard, only that of a wildcard.
    pub fn covering(&self, pattern: &HostPattern) -> Option<&T> {
        let deep = |suffix: &HostName| self.deep.get(suffix).or_else(|| self.deep_owner(suffix));
        match pattern {
            HostPattern::Exact(name) => self.owner(name),
            HostPattern::Wildcard(parent) => self.wildcard.get(parent).or_else(|| deep(parent)),
            HostPattern::Deep(suffix) => deep(suffix),
        }
    }
}

impl<T: Default> HostTable<T> {
    /// The value of this pattern, inserted if absent.
    pub fn entry(&mut self, pattern: HostPattern) -> &mut T {
        match pattern {
            HostPattern::Exact(name) => self.exact.entry(name).or_default(),
            HostPattern::Wildcard(parent) => self.wildcard.entry(parent).or_default(),
            HostPattern::Deep(suffix) => self.deep.entry(suffix).or_default(),
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

    #[test]
    fn a_wildcard_of_any_depth_gives_way_to_all_others_and_to_longer_ones() {
        let mut table = HostTable::<&str>::default();
        for text in ["**.x.org", "**.b.x.org", "*.b.x.org", "a.b.x.org"] {
            *table.entry(HostPattern::parse_deep(text).unwrap()) = text;
        }
        for (sent, owner) in [
            ("a.b.x.org", Some("a.b.x.org")),
            ("c.b.x.org", Some("*.b.x.org")),
            ("d.c.b.x.org", Some("**.b.x.org")),
            ("b.x.org", Some("**.x.org")),
            ("e.d.y.x.org", Some("**.x.org")),
            ("x.org", None),
            ("yx.org", None),
        ] {
            assert_eq!(table.owner(&name(sent)).copied(), owner, "{sent}");
        }
        for text in [
            "**", "**.", "a.**.x", "**.*.x", "***.x", "**x.org", "*.**.x",
        ] {
            assert!(HostPattern::parse_deep(text).is_err(), "{text}");
        }
        assert!(HostPattern::parse("**.x.org").is_err());
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
            "**.x.org",
            "**.org",
            "**.a.x.org",
            "**.y.org",
        ];
        let patterns = texts.map(|text| HostPattern::parse_deep(text).unwrap());
        let mut table = HostTable::<Option<&HostPattern>>::default();
        for pattern in &patterns {
            *table.entry(pattern.clone()) = Some(pattern);
        }
        for pattern in &patterns {
            let mut found: Vec<_> = table
                .overlapping(pattern)
                .into_iter()
                .flatten()
                .copied()
                .collect();
            let mut expected: Vec<_> = patterns.iter().filter(|p| p.overlaps(pattern)).collect();
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{pattern}");
        }
    }
}
