//! The keys of a map: the `spec!` macro, which derives the reader, the schema and the printed form from
//! one declaration, and the errors about missing, unknown and unsupported keys.

mod unknown;

use super::problem::{Span, quoted_list};
use super::read::{Located, Read, Reader};
use super::reference::Reference;
use super::rendered::Rendered;
use super::words::{Instead, instead};
use super::yaml::{Key, Kind, Node};

/// For each key of a map, the keys of a map within its value.
type InnerKeys = &'static [(&'static str, fn() -> &'static [&'static str])];

/// The keys that a map may have, and what to say about others.
pub struct KeyTable {
    /// The keys.
    pub known: &'static [&'static str],
    /// Keys that are planned, and what to do until then.
    pub later: &'static [(&'static str, Option<&'static str>)],
    /// Keys of other programs.
    pub instead: Instead,
    /// A map with these keys, as an example.
    pub example: Option<&'static str>,
    /// For each key, the keys of the map that its value may be.
    pub below: InnerKeys,
    /// For each key, the keys of the maps that its value may hold by name.
    pub entries: InnerKeys,
}

/// A map of the file whose keys are being read.
pub struct Fields<'n> {
    at: Span,
    entries: &'n [(Key, Node)],
    /// Known keys that were reported already, or that a rejected key probably meant: that they are missing
    /// or have no value is no second problem.
    reported: Vec<&'static str>,
    /// Known keys whose value has to take over what a rejected key says, and may be wrong without it.
    advised: Vec<&'static str>,
    /// Whether a key could not be read at all, which may be the one that is missing.
    is_broken: bool,
}

impl<'n> Fields<'n> {
    /// Opens a map, and reports unknown keys.
    pub fn open(node: &'n Node, cx: &mut Reader<'_>, table: &KeyTable) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            let keys = quoted_list(table.known.iter().copied());
            let scalar = match &node.kind {
                Kind::Scalar { text, .. } => instead(&format!("={text}"), table.instead),
                _ => None,
            };
            let help = match scalar.or(table.example) {
                Some(example) => format!("write it as a map, such as `{example}`"),
                None => format!("its keys are {keys}"),
            };
            cx.unexpected(node, "a map").help(help);
            return None;
        };
        let mut fields = Self {
            at: node.at,
            entries,
            reported: Vec::new(),
            advised: Vec::new(),
            is_broken: cx.is_incomplete(node.at),
        };
        for (key, value) in entries {
            let name = key.text.as_str();
            if let Some((_, meanwhile)) = table.later.iter().find(|(later, _)| *later == name) {
                let problem = cx.error(key.at, format!("`{name}` is not supported yet"));
                if let Some(meanwhile) = meanwhile {
                    problem.help(*meanwhile);
                }
            } else if !table.known.contains(&name) {
                fields.unknown(key, value, cx, table);
            }
        }
        cx.enter(table.known);
        Some(fields)
    }

    fn entry(&self, key: &str) -> Option<&'n (Key, Node)> {
        self.entries.iter().find(|(known, _)| known.text == key)
    }

    fn find(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|(_, node)| node)
    }

    fn is_reported(&self, key: &str) -> bool {
        self.reported.contains(&key)
    }

    /// A mandatory key.
    pub fn required<T: Read>(&self, key: &str, cx: &mut Reader<'_>) -> Option<Located<T>> {
        let Some(node) = self.find(key) else {
            if !self.is_reported(key) && !self.is_broken {
                let help = missing::<T>(key, cx);
                cx.error(self.at, format!("missing key `{key}`")).help(help);
            }
            return None;
        };
        self.value(key, node, cx)
    }

    /// An optional key. The outer `None` means that its value was rejected.
    pub fn optional<T: Read>(&self, key: &str, cx: &mut Reader<'_>) -> Option<Option<Located<T>>> {
        match self.find(key) {
            Some(node) => self.value(key, node, cx).map(Some),
            None => Some(None),
        }
    }

    /// A key that is mandatory without another one. The outer `None` means that it is missing, or was
    /// rejected.
    pub fn alternative<T: Read>(
        &self,
        key: &str,
        cx: &mut Reader<'_>,
        other: &str,
    ) -> Option<Option<Located<T>>> {
        match self.find(other) {
            Some(_) => self.optional(key, cx),
            None => self.required(key, cx).map(Some),
        }
    }

    /// A key that is mandatory without another one, and empty with it.
    pub fn given<T: Read + Default>(
        &self,
        key: &str,
        cx: &mut Reader<'_>,
        other: &str,
    ) -> Option<Located<T>> {
        if self.find(key).is_none() && self.find(other).is_some() {
            return Some(Located {
                value: T::default(),
                at: self.at,
                written: None,
            });
        }
        self.required(key, cx)
    }

    /// A key that is `text` when absent.
    pub fn default<T: Read>(
        &self,
        key: &str,
        cx: &mut Reader<'_>,
        text: &str,
    ) -> Option<Located<T>> {
        match self.find(key) {
            Some(node) => self.value(key, node, cx),
            None => cx.default(text, self.at),
        }
    }

    fn value<T: Read>(&self, key: &str, node: &Node, cx: &mut Reader<'_>) -> Option<Located<T>> {
        if node.is_null() && self.is_reported(key) {
            return None;
        }
        match self.advised.contains(&key) {
            true => cx.quietly(|cx| cx.located(node)),
            false => cx.located(node),
        }
    }
}

/// The advice for a missing key.
fn missing<T: Read>(key: &str, cx: &Reader<'_>) -> String {
    let form = T::form(&mut Reference::default());
    if let Some(example) = T::example() {
        return format!("add `{key}: {example}`");
    }
    let value = match form.alternatives.first().map(String::as_str) {
        _ if !form.words.is_empty() => "…".to_owned(),
        Some(one) if one.chars().all(|char| char.is_ascii_alphabetic()) => one.to_uppercase(),
        _ => "…".to_owned(),
    };
    let words = form.words.iter().map(|(word, _)| *word);
    let choices = match cx.choices(key) {
        Some(names) => format!("; there is {names}"),
        None if form.words.is_empty() => String::new(),
        None => format!(" with one of {}", quoted_list(words)),
    };
    format!("add `{key}: {value}`{choices}")
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
/// - `alternative key: T = "other",` must be given unless the key `other` is; the field is an
///   `Option<Located<T>>`;
/// - `given key: T = "other",` must be given unless the key `other` is, and is empty then; the field is a
///   `Located<T>`;
/// - `later key, key => "until then";` at the end: known, but rejected as not supported yet;
/// - `example "{ .. }";`, then: a map for messages;
/// - `instead "other" | "another" => "key",.. ;`, then: keys of other programs, each with the key to write
///   here, or with advice in a sentence whose first code span is that key.
///
/// `field as "key"` names a key that Rust cannot. `or key` after the name of the struct lets a single value
/// stand for a map with that key alone.
macro_rules! spec {
    (@field alternative $type:ty) => { Option<$crate::config::reader::read::Located<$type>> };
    (@field optional $type:ty) => { Option<$crate::config::reader::read::Located<$type>> };
    (@field $mode:ident $type:ty) => { $crate::config::reader::read::Located<$type> };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (@presence $presence:ident required) => { $presence::Required };
    (@presence $presence:ident optional) => { $presence::Optional };
    (@presence $presence:ident alternative $other:literal) => { $presence::Optional };
    (@presence $presence:ident given $other:literal) => { $presence::Required };
    (@presence $presence:ident default $default:literal) => { $presence::Default($default) };
    (@default default $default:literal) => { Some($default) };
    (@default $mode:ident $($other:literal)?) => { None };
    (@advice) => { None };
    (@advice $advice:literal) => { Some($advice) };
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
            $(later $($later:ident $(=> $meanwhile:literal)?),+;)?
            $(example $example:literal;)?
            $(instead $($($other:literal)|+ => $meant:literal),+;)?
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
                const TABLE: $crate::config::reader::fields::KeyTable =
                    $crate::config::reader::fields::KeyTable {
                        known: &[$(spec!(@key $field $($key)?)),*],
                        later: &[$($((stringify!($later), spec!(@advice $($meanwhile)?))),+)?],
                        instead: &[$($($(($other, $meant)),+),+)?],
                        example: spec!(@advice $($example)?),
                        below: &[$((
                            spec!(@key $field $($key)?),
                            <$type as $crate::config::reader::read::Read>::keys,
                        )),*],
                        entries: &[$((
                            spec!(@key $field $($key)?),
                            <$type as $crate::config::reader::read::Read>::entry_keys,
                        )),*],
                    };
                let long = spec!(@short node $($short)?);
                let fields = $crate::config::reader::fields::Fields::open(
                    long.as_ref().unwrap_or(node), cx, &TABLE,
                )?;
                $(let $field = fields.$mode(spec!(@key $field $($key)?), cx $(, $default)?);)*
                cx.leave();
                Some(Self { $($field: $field?),* })
            }

            fn keys() -> &'static [&'static str] {
                &[$(spec!(@key $field $($key)?)),*]
            }

            fn example() -> Option<&'static str> {
                spec!(@advice $($example)?)
            }

            fn schema(
                definitions: &mut $crate::config::reader::definitions::Definitions,
            ) -> serde_json::Value {
                let about = concat!($($about),+);
                let short: Option<&str> = None $(.or(Some(stringify!($short))))?;
                let name = stringify!($name);
                $crate::config::reader::schema::map(definitions, name, about, short, |keys| {
                    $(
                        let default: Option<&str> = spec!(@default $mode $($default)?);
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
