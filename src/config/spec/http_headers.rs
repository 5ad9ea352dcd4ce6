//! The header fields of an HTTP check.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::config::reader::definitions::Definitions;
use crate::config::reader::invalid::Invalid;
use crate::config::reader::problem::quoted;
use crate::config::reader::read::{Leaf, Located, Read, Reader};
use crate::config::reader::reference::{Form, Reference};
use crate::config::reader::rendered::Rendered;
use crate::config::reader::yaml::{Kind, Node};

/// The most fields: more than any server needs to answer a check.
const COUNT_MAX: usize = 32;

/// Header fields by name, in file order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpHeaders(pub Vec<(String, Located<HttpValue>)>);

/// The value of a header field: visible characters, spaces and tabs between them (RFC 9110 section 5.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpValue(pub String);

impl Leaf for HttpValue {
    fn what() -> Cow<'static, str> {
        "the value of a header".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        let fits = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte) || byte >= 0x80;
        if text.trim() != text || !text.bytes().all(fits) {
            return Err(Invalid::new("{} is not the value of a header")
                .help("one line, without spaces around it"));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Value {
        json!({ "type": ["string", "number", "boolean"] })
    }

    fn render(&self) -> String {
        self.0.clone()
    }
}

/// Why a header field cannot be named by `headers`.
fn refusal(name: &str) -> Option<&'static str> {
    /// The characters of a token beside letters and digits (RFC 9110 section 5.6.2).
    const MARKS: &str = "!#$%&'*+-.^_`|~";
    let fits = |char: char| char.is_ascii_alphanumeric() || MARKS.contains(char);
    if name.is_empty() || !name.chars().all(fits) {
        return Some("a name is of letters, digits and `-`, such as `Authorization`");
    }
    match name.to_ascii_lowercase().as_str() {
        "host" => Some("`host: NAME`, beside `headers`, sets it"),
        "connection" | "keep-alive" | "upgrade" | "te" => {
            Some("a check is the only request of its connection, and says so")
        }
        "content-length" | "transfer-encoding" | "trailer" | "expect" => {
            Some("a check has no body")
        }
        _ => None,
    }
}

impl Read for HttpHeaders {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            cx.unexpected(node, "a map from names to values")
                .help("write `{ NAME: VALUE }`");
            return None;
        };
        if entries.len() > COUNT_MAX {
            cx.error(node.at, format!("more than {COUNT_MAX} headers"));
            return None;
        }
        let mut seen: Vec<String> = Vec::new();
        let mut read = Vec::new();
        for (key, node) in entries {
            let value = cx.located(node);
            let lower = key.text.to_ascii_lowercase();
            let name = if let Some(help) = refusal(&key.text) {
                let message = format!("the header {} cannot be set here", quoted(&key.text));
                cx.error(key.at, message).help(help);
                None
            } else if seen.contains(&lower) {
                let message = format!("the header {} is there twice", quoted(&key.text));
                cx.error(key.at, message)
                    .help("names are equal without regard to case: leave one out");
                None
            } else {
                Some(key.text.clone())
            };
            seen.push(lower);
            read.push(name.zip(value));
        }
        read.into_iter().collect::<Option<Vec<_>>>().map(Self)
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" },
            "additionalProperties": <HttpValue as Read>::schema(definitions),
            "maxProperties": COUNT_MAX,
        })
    }

    fn form(_: &mut Reference) -> Form {
        Form::of("map from names to values")
    }

    fn render(&self) -> Rendered {
        let entries = self.0.iter();
        Rendered::Map(
            entries
                .map(|(name, value)| (name.clone(), value.render_as_written()))
                .collect(),
        )
    }
}
