//! Generic shapes of values: one or many, `none` or a limit, `auto`, `off`, named maps. Knows no key.

use std::borrow::Cow;
use std::ops::Deref;

use serde_json::{Value, json};

use super::definitions::Definitions;
use super::invalid::Invalid;
use super::loose_quantities::is_unlimited;
use super::problem::quoted;
use super::quantities::Quantity;
use super::read::{Leaf, Located, Read, Reader};
use super::reference::{Form, Reference};
use super::rendered::Rendered;
use super::values::Name;
use super::words::is_off;
use super::yaml::{Kind, Node};

impl<T: Read> Read for Vec<Located<T>> {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let Kind::List(items) = &node.kind else {
            let help = list_instead(node, T::keys());
            cx.unexpected(node, "a list").help(help);
            return None;
        };
        cx.all(items)
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "type": "array", "items": T::schema(definitions) })
    }

    fn form(reference: &mut Reference) -> Form {
        T::form(reference).list()
    }

    fn render(&self) -> Rendered {
        Rendered::List(self.iter().map(|item| item.render_as_written()).collect())
    }
}

/// How to write a list in place of a node; `keys` are those of its items.
fn list_instead(node: &Node, keys: &[&str]) -> String {
    let Kind::Map(entries) = &node.kind else {
        return match &node.kind {
            Kind::Scalar { text, .. } => format!("put it in brackets: `[{text}]`"),
            _ => "put `- ` before each of its items".to_owned(),
        };
    };
    let Some((first, value)) = entries.first() else {
        return "put `- ` before each of its items".to_owned();
    };
    let name = first.text.as_str();
    if keys.contains(&"name") && !keys.contains(&name) && matches!(value.kind, Kind::Map(_)) {
        return format!("in place of `{name}:`, write `- name: {name}`, and its keys below `name`");
    }
    format!("put `- ` before `{name}`, and the keys that follow below it")
}

/// How to write a map of names in place of a node; `keys` are those of its entries.
fn names_instead(node: &Node, keys: &[&str]) -> String {
    let named = |item: &Node| match &item.kind {
        Kind::Map(entries) => entries.iter().find(|(key, _)| key.text == "name").cloned(),
        _ => None,
    };
    let item = match &node.kind {
        Kind::List(items) => items.iter().find_map(named),
        _ => None,
    };
    let first = keys.first().copied().unwrap_or("…");
    match item.map(|(_, node)| node.kind) {
        Some(Kind::Scalar { text, .. }) => {
            format!(
                "in place of `- name: {text}`, write `{text}:`, and its keys below, indented further"
            )
        }
        _ => format!("write `NAME:`, and below it, indented further, its keys, such as `{first}`"),
    }
}

/// One value, or a list of them, which may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<Located<T>>);

impl<T> Deref for OneOrMany<T> {
    type Target = [Located<T>];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T: Read> Read for OneOrMany<T> {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::List(items) => cx.all(items).map(Self),
            _ => cx.located(node).map(|one| Self(vec![one])),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let one = T::schema(definitions);
        json!({ "anyOf": [one, { "type": "array", "items": one }] })
    }

    fn form(reference: &mut Reference) -> Form {
        T::form(reference).or_list()
    }

    fn render(&self) -> Rendered {
        self.0.render()
    }

    fn keys() -> &'static [&'static str] {
        T::keys()
    }

    fn example() -> Option<&'static str> {
        T::example()
    }
}

/// An upper bound, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit<T> {
    /// No limit.
    None,
    /// At most this; not zero.
    At(T),
}

impl<T> Limit<T> {
    /// The bound, if there is one.
    pub fn get(&self) -> Option<&T> {
        match self {
            Self::None => None,
            Self::At(limit) => Some(limit),
        }
    }
}

/// Zero means "unlimited" in other programs, so it is not guessed here.
fn refuse_zero() -> Invalid {
    Invalid::new("the limit {} would let nothing through").help("write `none` for no limit")
}

impl<T: Quantity> Leaf for Limit<T> {
    fn what() -> Cow<'static, str> {
        format!("{} or `none`", T::what()).into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "none" => Ok(Self::None),
            text => match T::parse(text) {
                Ok(zero) if zero.is_zero() => Err(refuse_zero()),
                Err(_) if text == "0" => Err(refuse_zero()),
                Err(invalid) if is_unlimited(text) => {
                    Err(invalid.fix("write `none` for no limit".to_owned()))
                }
                limit => limit.map(Self::At),
            },
        }
    }

    fn schema() -> Value {
        json!({ "anyOf": [{ "const": "none" }, T::schema()] })
    }

    fn form() -> Form {
        T::form().or(Form::of("`none`"))
    }

    fn render(&self) -> String {
        self.get().map_or_else(|| "none".to_owned(), T::render)
    }
}

/// A value, or `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoOr<T> {
    /// Chosen by Reseal for this machine.
    Auto,
    /// Exactly this.
    Set(T),
}

impl<T> AutoOr<T> {
    /// The value, unless it is `auto`.
    pub fn set(&self) -> Option<&T> {
        match self {
            Self::Auto => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<T: Leaf> Leaf for AutoOr<T> {
    fn what() -> Cow<'static, str> {
        format!("{} or `auto`", T::what()).into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "auto" => Ok(Self::Auto),
            text => T::parse(text)
                .map(Self::Set)
                .map_err(|invalid| invalid.or_word("auto")),
        }
    }

    fn schema() -> Value {
        json!({ "anyOf": [{ "const": "auto" }, T::schema()] })
    }

    fn form() -> Form {
        T::form().or(Form::of("`auto`"))
    }

    fn render(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Set(value) => value.render(),
        }
    }
}

/// A map of settings, or `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OffOr<T> {
    /// Off.
    Off,
    /// On, with these settings.
    On(T),
}

impl<T: Read> Read for OffOr<T> {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Scalar { .. } => cx.parse(node, "", |text| match text {
                text if is_off(text) => Ok(Self::Off),
                "on" | "yes" | "true" => Err(Invalid::new("expected `off` or a map, found {}")
                    .help("leave it out: it is on by default")),
                _ => Err(Invalid::new("expected `off` or a map, found {}")),
            }),
            _ => T::read(node, cx).map(Self::On),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "anyOf": [{ "enum": ["off", false] }, T::schema(definitions)] })
    }

    fn form(reference: &mut Reference) -> Form {
        T::form(reference).or(Form::of("`off`"))
    }

    fn render(&self) -> Rendered {
        match self {
            Self::Off => Rendered::Text("off".to_owned()),
            Self::On(value) => value.render(),
        }
    }

    fn keys() -> &'static [&'static str] {
        T::keys()
    }
}

/// A map of settings, or `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoneOr<T> {
    /// There is none.
    None,
    /// One with these settings.
    Set(T),
}

impl<T> NoneOr<T> {
    /// The settings, if there are any.
    pub fn get(&self) -> Option<&T> {
        match self {
            Self::None => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<T: Read> Read for NoneOr<T> {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        match cx.peek(node).as_deref() {
            Some(text) if text == "none" || is_off(text) => Some(Self::None),
            _ => T::read(node, cx).map(Self::Set),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "anyOf": [{ "enum": ["none", "off", false] }, T::schema(definitions)] })
    }

    fn form(reference: &mut Reference) -> Form {
        T::form(reference).or(Form::of("`none`"))
    }

    fn render(&self) -> Rendered {
        match self {
            Self::None => Rendered::Text("none".to_owned()),
            Self::Set(value) => value.render(),
        }
    }

    fn keys() -> &'static [&'static str] {
        T::keys()
    }

    fn example() -> Option<&'static str> {
        T::example()
    }
}

/// A map with names chosen by the user, in file order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names<T>(pub Vec<(Located<Name>, Located<T>)>);

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Names<T> {
    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Located<T>> {
        self.0
            .iter()
            .find(|(known, _)| known.as_str() == name)
            .map(|(_, value)| value)
    }
}

impl<T: Read> Read for Names<T> {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            let help = names_instead(node, T::keys());
            cx.unexpected(node, "a map with a name for each entry")
                .help(help);
            return None;
        };
        let mut read = Vec::new();
        for (key, node) in entries {
            let name = match Name::parse(&key.text) {
                Ok(value) => Some(Located {
                    value,
                    at: key.at,
                    written: None,
                }),
                Err(_) => {
                    let message = format!("{} is not a name", quoted(&key.text));
                    let help = Name::near(&key.text);
                    cx.error(key.at, message)
                        .help(help.unwrap_or_else(|| Name::RULE.to_owned()));
                    None
                }
            };
            read.push(name.zip(cx.located(node)));
        }
        read.into_iter().collect::<Option<Vec<_>>>().map(Self)
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({
            "type": "object",
            "patternProperties": { Name::PATTERN: T::schema(definitions) },
            "additionalProperties": false,
        })
    }

    fn form(reference: &mut Reference) -> Form {
        T::form(reference).named()
    }

    fn render(&self) -> Rendered {
        let entries = self.0.iter();
        Rendered::Map(
            entries
                .map(|(name, value)| (Leaf::render(&name.value), value.render_as_written()))
                .collect(),
        )
    }

    fn entry_keys() -> &'static [&'static str] {
        T::keys()
    }
}
