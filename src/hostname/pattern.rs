//! Patterns of host names.

use std::fmt;

use super::name::{HostName, HostNameError};

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

    /// The labels of a name that its wildcard stands for, without the dot behind them.
    pub fn taken<'n>(&self, name: &'n HostName) -> Option<&'n str> {
        let (Self::Wildcard(suffix) | Self::Deep(suffix)) = self else {
            return None;
        };
        let labels = name.as_str().strip_suffix(suffix.as_str())?;
        labels.strip_suffix('.')
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

pub(super) fn is_at_or_below(name: &HostName, suffix: &HostName) -> bool {
    name == suffix || name.ancestors().any(|above| above == suffix.as_str())
}
