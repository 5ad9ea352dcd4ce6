//! The keys of a map: the `spec!` macro, which derives the reader, the schema and the printed form from
//! one declaration, and the errors about missing, unknown and unsupported keys.

use super::problem::{Span, UNKNOWN_KEY, quoted, quoted_list};
use super::read::{Located, Read, Reader, nearest};
use super::rendered::Rendered;
use super::yaml::{Kind, Node};

/// A map of the file whose keys are being read.
pub struct Fields<'n> {
    at: Span,
    entries: &'n [(super::yaml::Key, Node)],
    /// Known keys that a mistyped key probably meant; reporting them as missing would repeat the
    /// problem.
    mistyped: Vec<String>,
}

impl<'n> Fields<'n> {
    /// Opens a map, and reports unknown keys.
    pub fn open(
        node: &'n Node,
        cx: &mut Reader<'_>,
        known: &[&str],
        later: &[&str],
    ) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            let keys = quoted_list(known.iter().copied());
            cx.unexpected(node, "a map")
                .help(format!("its keys are {keys}"));
            return None;
        };
        let mut mistyped = Vec::new();
        for (key, _) in entries {
            let name = key.text.as_str();
            if later.contains(&name) {
                cx.error(key.at, format!("`{name}` is not supported yet"));
            } else if !known.contains(&name) {
                let help = match nearest(name, known.iter().copied()) {
                    Some(near) => {
                        mistyped.push(near.to_owned());
                        format!("did you mean `{near}`?")
                    }
                    None => format!("known keys: {}", quoted_list(known.iter().copied())),
                };
                cx.error(key.at, format!("{UNKNOWN_KEY} {}", quoted(name)))
                    .help(help);
            }
        }
        Some(Self {
            at: node.at,
            entries,
            mistyped,
        })
    }

    fn find(&self, key: &str) -> Option<&'n Node> {
        self.entries
            .iter()
            .find(|(known, _)| known.text == key)
            .map(|(_, node)| node)
    }

    /// A mandatory key.
    pub fn required<T: Read>(&self, key: &str, cx: &mut Reader<'_>) -> Option<Located<T>> {
        let Some(node) = self.find(key) else {
            if !self.mistyped.iter().any(|known| known == key) {
                cx.error(self.at, format!("missing key `{key}`"));
            }
            return None;
        };
        cx.located(node)
    }

    /// An optional key. The outer `None` means that its value was rejected.
    pub fn optional<T: Read>(&self, key: &str, cx: &mut Reader<'_>) -> Option<Option<Located<T>>> {
        match self.find(key) {
            Some(node) => cx.located(node).map(Some),
            None => Some(None),
        }
    }

    /// A key that is `text` when absent.
    pub fn default<T: Read>(
        &self,
        key: &str,
        cx: &mut Reader<'_>,
        text: &str,
    ) -> Option<Located<T>> {
        match self.find(key) {
            Some(node) => cx.located(node),
            None => cx.default(text, self.at),
        }
    }
}

/// A field of a struct that `spec!` declares.
pub trait Field {
    /// The printed form; `None` if the key is absent.
    fn rendered(&self) -> Option<Rendered>;
}

impl<T: Read> Field for Located<T> {
    fn rendered(&self) -> Option<Rendered> {
        Some(self.value.render())
    }
}

impl<T: Read> Field for Option<Located<T>> {
    fn rendered(&self) -> Option<Rendered> {
        self.as_ref().and_then(Field::rendered)
    }
}

/// Declares a map of the file. Each key is one line:
///
/// - `required key: T,` must be given; the field is a `Located<T>`;
/// - `default key: T = "text",` stands for the text when absent, read by the
///   same reader; the field is a `Located<T>`;
/// - `optional key: T,` may be absent; the field is an `Option<Located<T>>`;
/// - `later key, key;` at the end: known, but rejected as not supported yet.
///
/// `field as "key"` names a key that Rust cannot. `or key` after the name of
/// the struct lets a single value stand for a map with that key alone.
macro_rules! spec {
    (@field optional $type:ty) => { Option<Located<$type>> };
    (@field $mode:ident $type:ty) => { Located<$type> };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (@short $node:ident) => { None::<Node> };
    (@short $node:ident $short:ident) => {
        matches!($node.kind, Kind::Scalar { .. })
            .then(|| $node.clone().with_key(stringify!($short)))
    };
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident $(or $short:ident)? {
            $(
                $(#[doc = $doc:literal])+
                $mode:ident $field:ident $(as $key:literal)? : $type:ty $(= $default:literal)?,
            )*
            $(later $($later:ident),+;)?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                pub $field: spec!(@field $mode $type),
            )*
        }

        impl Read for $name {
            fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
                const KNOWN: &[&str] = &[$(spec!(@key $field $($key)?)),*];
                const LATER: &[&str] = &[$($(stringify!($later)),+)?];
                let long = spec!(@short node $($short)?);
                let fields = Fields::open(long.as_ref().unwrap_or(node), cx, KNOWN, LATER)?;
                $(let $field = fields.$mode(spec!(@key $field $($key)?), cx $(, $default)?);)*
                Some(Self { $($field: $field?),* })
            }

            fn schema(definitions: &mut Definitions) -> Value {
                let about = concat!($($about),+);
                let short: Option<&str> = None $(.or(Some(stringify!($short))))?;
                $crate::config::reader::schema::map(definitions, stringify!($name), about, short, |keys| {
                    $(
                        let default: Option<&str> = None $(.or(Some($default)))?;
                        keys.add::<$type>(
                            spec!(@key $field $($key)?),
                            concat!($($doc),+),
                            stringify!($mode) == "required",
                            default,
                        );
                    )*
                })
            }

            fn render(&self) -> Rendered {
                let mut entries = Vec::new();
                $(
                    if let Some(rendered) = self.$field.rendered() {
                        entries.push((spec!(@key $field $($key)?).to_owned(), rendered));
                    }
                )*
                Rendered::Map(entries)
            }
        }
    };
}
pub(in crate::config) use spec;
