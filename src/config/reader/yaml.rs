//! A file as a tree of located nodes: owns what a node is. It must not know
//! which keys exist, nor what a text means: `010` and `on` stay text.

use super::problem::Span;

pub use super::compose::parse;

/// A long text weighs as one more node for each of these many bytes, so that
/// aliases cannot multiply it without a bound.
const BYTES_PER_NODE: usize = 256;

/// A value of the file, and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value itself, or the first key of a block map.
    pub at: Span,
    /// What it is.
    pub kind: Kind,
}

/// What a [`Node`] is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A text as it was written, escapes of quoted texts resolved.
    Scalar {
        /// The text, with variables not yet expanded.
        text: String,
        /// Whether it stood there without quotes.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the file, without duplicates.
    Map(Vec<(Key, Node)>),
    /// Nothing, `null` or `~`.
    Null,
}

/// A key of a map, and where it stands.
#[derive(Clone, Debug)]
pub struct Key {
    /// The place of the key.
    pub at: Span,
    /// The key itself; variables are not expanded in keys.
    pub text: String,
}

impl Node {
    /// What it is, for messages: "expected …, found a list".
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Scalar { .. } => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
            Kind::Null => "nothing",
        }
    }

    /// A map with one key that stands where its value does.
    pub fn with_key(self, key: &str) -> Self {
        let at = self.at;
        Self {
            at,
            kind: Kind::Map(vec![(
                Key {
                    at,
                    text: key.to_owned(),
                },
                self,
            )]),
        }
    }

    /// The same value as if it stood elsewhere.
    pub fn moved(mut self, at: Span) -> Self {
        self.at = at;
        self.kind = match self.kind {
            Kind::List(items) => Kind::List(items.into_iter().map(|item| item.moved(at)).collect()),
            Kind::Map(entries) => Kind::Map(
                entries
                    .into_iter()
                    .map(|(key, node)| (Key { at, ..key }, node.moved(at)))
                    .collect(),
            ),
            other => other,
        };
        self
    }

    /// Its weight in nodes and its depth.
    pub(super) fn measure(&self) -> (usize, usize) {
        let (mut weight, mut depth) = (1, 0);
        let mut add = |node: &Self| {
            let (inner_weight, inner_depth) = node.measure();
            weight += inner_weight;
            depth = depth.max(inner_depth);
        };
        match &self.kind {
            Kind::Scalar { text, .. } => weight = text_weight(text),
            Kind::List(items) => items.iter().for_each(add),
            Kind::Map(entries) => entries.iter().for_each(|(_, node)| add(node)),
            Kind::Null => {}
        }
        (weight, depth + 1)
    }
}

/// The weight of a single value in nodes.
pub(super) fn text_weight(text: &str) -> usize {
    1 + text.len() / BYTES_PER_NODE
}
