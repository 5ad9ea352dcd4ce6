//! The tree of a file: located nodes. Knows no key and no types: `010` and `on` are text.

use super::expand::has_variable;
use super::problem::Span;

/// A long text counts as one more node for every this many bytes, which bounds what aliases can
/// multiply.
const BYTES_PER_NODE: usize = 256;

/// A value of the file with its span.
#[derive(Clone, Debug)]
pub struct Node {
    /// The span of the value, or of the first key of a block map.
    pub at: Span,
    /// Its content.
    pub kind: Kind,
}

/// The content of a [`Node`].
#[derive(Clone, Debug)]
pub enum Kind {
    /// A text as written, escapes of quoted texts resolved.
    Scalar {
        /// The text, with variables not yet expanded.
        text: String,
        /// Whether it was written without quotes.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A map in file order, without duplicate keys.
    Map(Vec<(Key, Node)>),
    /// Nothing, `null` or `~`.
    Null,
}

/// A key of a map with its span.
#[derive(Clone, Debug)]
pub struct Key {
    /// The span of the key.
    pub at: Span,
    /// The key itself; variables are not expanded in keys.
    pub text: String,
}

impl Node {
    /// The text of a single value that holds a variable.
    pub fn text_with_variable(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } if has_variable(text) => Some(text),
            _ => None,
        }
    }

    /// The kind of node, for messages: "expected …, found a list".
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Scalar { .. } => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
            Kind::Null => "nothing",
        }
    }

    /// Whether nothing is given.
    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    /// A map with this node under one key, at the same span.
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

    /// The same value at another span.
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

    /// Its weight in nodes, and its depth.
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
