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

    /// Its span, if the file gives it in the map at `map`.
    fn given_at(&self, map: Span) -> Option<Span>;
}

impl<T: Read> Field for Located<T> {
    fn rendered(&self) -> Option<Rendered> {
        Some(self.render_as_written())
    }

    fn given_at(&self, map: Span) -> Option<Span> {
        Some(self.at).filter(|at| *at != map)
    }
}

impl<T: Read> Field for Option<Located<T>> {
    fn rendered(&self) -> Option<Rendered> {
        self.as_ref().and_then(Field::rendered)
    }

    fn given_at(&self, map: Span) -> Option<Span> {
        self.as_ref().and_then(|field| field.given_at(map))
    }
}

/// A struct that `spec!` declares.
pub trait FieldMap {
    /// The spans of the keys that the file gives in the map at `map`.
    fn given(&self, map: Span) -> Vec<Span>;
}

impl<T: FieldMap> Located<T> {
    /// The span of the first key that the file gives.
    pub fn first_given(&self) -> Option<Span> {
        self.value.given(self.at).into_iter().min()
    }
}

/// Declares a map of the file. Each key is one line:
///
/// - `required key: T,` must be given; the field is a `Located<T>`;
/// - `default key: T = "text" because "reason",` stands for the text when absent, read by the same reader;
///   the field is a `Located<T>`. The reason is for the reference; a map of defaults needs none;
/// - `optional key: T,` may be absent; the field is an `Option<Located<T>>`;
/// - `later key, key;` at the end: known, but rejected as not supported yet.
///
/// `field as "key"` names a key that Rust cannot. `or key` after the name of the struct lets a single value
/// stand for a map with that key alone.
macro_rules! spec {
    (@field optional $type:ty) => { Option<$crate::config::reader::read::Located<$type>> };
    (@field $mode:ident $type:ty) => { $crate::config::reader::read::Located<$type> };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (@presence $presence:ident required) => { $presence::Required };
    (@presence $presence:ident optional) => { $presence::Optional };
    (@presence $presence:ident default $default:literal) => { $presence::Default($default) };
    (@short $node:ident) => { None::<$crate::config::reader::yaml::Node> };
    (@short $node:ident $short:ident) => {
        matches!($node.kind, $crate::config::reader::yaml::Kind::Scalar { .. })
            .then(|| $node.clone().with_key(stringify!($short)))
    };
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident $(or $short:ident)? {
            $(
                $(#[doc = $doc:literal])+
                $mode:ident $field:ident $(as $key:literal)? : $type:ty
                    $(= $default:literal $(because $reason:literal)?)?,
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

        impl $crate::config::reader::read::Read for $name {
            fn read(
                node: &$crate::config::reader::yaml::Node,
                cx: &mut $crate::config::reader::read::Reader<'_>,
            ) -> Option<Self> {
                const KNOWN: &[&str] = &[$(spec!(@key $field $($key)?)),*];
                const LATER: &[&str] = &[$($(stringify!($later)),+)?];
                let long = spec!(@short node $($short)?);
                let fields = $crate::config::reader::fields::Fields::open(
                    long.as_ref().unwrap_or(node), cx, KNOWN, LATER,
                )?;
                $(let $field = fields.$mode(spec!(@key $field $($key)?), cx $(, $default)?);)*
                Some(Self { $($field: $field?),* })
            }

            fn schema(
                definitions: &mut $crate::config::reader::definitions::Definitions,
            ) -> serde_json::Value {
                let about = concat!($($about),+);
                let short: Option<&str> = None $(.or(Some(stringify!($short))))?;
                let name = stringify!($name);
                $crate::config::reader::schema::map(definitions, name, about, short, |keys| {
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

            fn form(
                reference: &mut $crate::config::reader::reference::Reference,
            ) -> $crate::config::reader::reference::Form {
                use $crate::config::reader::reference::{KeyEntry, Presence};
                let short: Option<&str> = None $(.or(Some(stringify!($short))))?;
                reference.map(stringify!($name), concat!($($about),+), short, |_reference| {
                    vec![$(KeyEntry {
                        key: spec!(@key $field $($key)?),
                        form: <$type as $crate::config::reader::read::Read>::form(_reference),
                        presence: spec!(@presence Presence $mode $($default)?),
                        meaning: concat!($($doc),+).trim_ascii(),
                        reason: None $($(.or(Some($reason)))?)?,
                    }),*]
                })
            }

            fn render(&self) -> $crate::config::reader::rendered::Rendered {
                let mut entries = Vec::new();
                $(
                    if let Some(rendered) =
                        $crate::config::reader::fields::Field::rendered(&self.$field)
                    {
                        entries.push((spec!(@key $field $($key)?).to_owned(), rendered));
                    }
                )*
                $crate::config::reader::rendered::Rendered::Map(entries)
            }
        }

        impl $crate::config::reader::fields::FieldMap for $name {
            fn given(
                &self,
                map: $crate::config::reader::problem::Span,
            ) -> Vec<$crate::config::reader::problem::Span> {
                [$($crate::config::reader::fields::Field::given_at(&self.$field, map)),*]
                    .into_iter()
                    .flatten()
                    .collect()
            }
        }
    };
}
pub(in crate::config) use spec;
