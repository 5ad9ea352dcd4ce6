//! Generic shapes of values: one or many, `none` or a limit, `auto`, `off`, named maps. Knows no key.

use std::borrow::Cow;
use std::ops::Deref;

use serde_json::{Value, json};

use super::definitions::Definitions;
use super::invalid::Invalid;
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
            cx.unexpected(node, "a list")
                .help("put `- ` before each of its items");
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
}

/// A map with names chosen by the user, in file order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names<T>(pub Vec<(Located<Name>, Located<T>)>);

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
            cx.unexpected(node, "a map with a name for each entry");
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
                    cx.error(key.at, message).help(Name::RULE);
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
}
