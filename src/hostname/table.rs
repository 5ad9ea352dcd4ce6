//! A table from patterns of host names to values.

use std::collections::HashMap;

use super::name::HostName;
use super::pattern::{HostPattern, is_at_or_below};

/// Maps patterns to values. The most specific pattern owns a name: the exact one, else the wildcard of
/// its left-most label, else the longest wildcard of any depth.
#[derive(Clone, Debug, PartialEq, Eq)]
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

    /// Every pattern, in arbitrary order.
    pub fn patterns(&self) -> impl Iterator<Item = HostPattern> {
        let exact = self.exact.keys().cloned().map(HostPattern::Exact);
        let wildcard = self.wildcard.keys().cloned().map(HostPattern::Wildcard);
        let deep = self.deep.keys().cloned().map(HostPattern::Deep);
        exact.chain(wildcard).chain(deep)
    }

    /// How many patterns it has.
    pub fn pattern_count(&self) -> usize {
        self.exact.len() + self.wildcard.len() + self.deep.len()
    }

    /// The value of exactly this pattern.
    pub fn get(&self, pattern: &HostPattern) -> Option<&T> {
        match pattern {
            HostPattern::Exact(name) => self.exact.get(name),
            HostPattern::Wildcard(parent) => self.wildcard.get(parent),
            HostPattern::Deep(suffix) => self.deep.get(suffix),
        }
    }

    /// Sets the value of a pattern, and returns the one that it had.
    pub fn insert(&mut self, pattern: HostPattern, value: T) -> Option<T> {
        match pattern {
            HostPattern::Exact(name) => self.exact.insert(name, value),
            HostPattern::Wildcard(parent) => self.wildcard.insert(parent, value),
            HostPattern::Deep(suffix) => self.deep.insert(suffix, value),
        }
    }

    /// The pattern that owns `name`.
    pub fn owning_pattern(&self, name: &HostName) -> Option<HostPattern> {
        let host = |text: &str| HostName(text.into());
        if self.exact.contains_key(name) {
            return Some(HostPattern::Exact(name.clone()));
        }
        let parent = name.parent()?;
        if self.wildcard.contains_key(parent) {
            return Some(HostPattern::Wildcard(host(parent)));
        }
        let mut above = name.ancestors();
        let suffix = above.find(|above| self.deep.contains_key(*above))?;
        Some(HostPattern::Deep(host(suffix)))
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
