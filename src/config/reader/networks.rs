//! An item of a list of networks: a network, or a map in its place. Knows no key.

use serde_json::{Value, json};

use super::definitions::Definitions;
use super::ip::Cidr;
use super::read::{Leaf, Read, Reader};
use super::reference::{Form, Reference};
use super::rendered::Rendered;
use super::yaml::{Kind, Node};

/// A network, or a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CidrOr<M> {
    /// A network.
    Cidr(Cidr),
    /// A map.
    Map(M),
}

impl<M> CidrOr<M> {
    /// The network, if it is one.
    pub const fn cidr(&self) -> Option<&Cidr> {
        match self {
            Self::Cidr(cidr) => Some(cidr),
            Self::Map(_) => None,
        }
    }

    /// The map, if it is one.
    pub const fn map(&self) -> Option<&M> {
        match self {
            Self::Cidr(_) => None,
            Self::Map(map) => Some(map),
        }
    }
}

impl<M: Read> Read for CidrOr<M> {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        if matches!(node.kind, Kind::Map(_)) {
            return M::read(node, cx).map(Self::Map);
        }
        let read = cx.parse(node, &Cidr::what(), |text| {
            Cidr::parse(text).map_err(|invalid| {
                let is_file = M::keys().contains(&"file") && looks_like_a_file(text);
                invalid
                    .or_fix(except(text, M::keys()).or_else(|| anybody(text)))
                    .or_fix(is_file.then(|| format!("a file is written `{{ file: {text} }}`")))
            })
        });
        read.map(Self::Cidr)
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "anyOf": [<Cidr as Read>::schema(definitions), M::schema(definitions)] })
    }

    fn form(reference: &mut Reference) -> Form {
        <Cidr as Read>::form(reference).or(M::form(reference))
    }

    fn render(&self) -> Rendered {
        match self {
            Self::Cidr(cidr) => Read::render(cidr),
            Self::Map(map) => map.render(),
        }
    }

    fn keys() -> &'static [&'static str] {
        M::keys()
    }
}

/// Advice about a network with a sign of negation, in a list that has these keys.
fn except(text: &str, keys: &[&str]) -> Option<String> {
    let network = text.strip_prefix('!')?.trim_start();
    Cidr::parse(network).ok()?;
    Some(match keys.contains(&"not") {
        true => format!("write `{{ not: [{network}] }}`"),
        false => format!("`deny: [{network}]` excludes it, whatever `allow` has"),
    })
}

/// Advice about a word for all addresses. Lists of peers that are trusted get none.
fn anybody(text: &str) -> Option<String> {
    let is_all = ["any", "all", "*", "everyone", "0/0"].contains(&&*text.to_ascii_lowercase());
    is_all.then(|| "write `[0.0.0.0/0, \"::/0\"]`".to_owned())
}

/// Whether a text that is no network may be a path: it has a name with letters that no address has.
fn looks_like_a_file(text: &str) -> bool {
    let is_of_a_path = |char: char| char.is_alphanumeric() || "/._-".contains(char);
    text.contains(|char: char| char.is_alphabetic() && !char.is_ascii_hexdigit())
        && text.chars().all(is_of_a_path)
}
