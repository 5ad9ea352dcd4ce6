//! Which CAs are trusted: files, the system's store, or those that are built in.

use serde_json::Value;

use crate::config::reader::definitions::Definitions;
use crate::config::reader::generic::OneOrMany;
use crate::config::reader::read::{Located, Read, Reader};
use crate::config::reader::reference::{Form, Reference};
use crate::config::reader::rendered::Rendered;
use crate::config::reader::values::Path;
use crate::config::reader::yaml::Node;

/// The CAs that may sign certificates of servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Mozilla's CAs, built in.
    Webpki,
    /// The CAs of the system.
    System,
    /// The CAs in these files; callers reject an empty list.
    Files(Vec<Located<Path>>),
}

impl Read for Trust {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        match cx.peek(node).as_deref() {
            Some("webpki") => return Some(Self::Webpki),
            Some("system") => return Some(Self::System),
            _ => {}
        }
        let files = OneOrMany::<Path>::read(node, cx)?;
        let is_word = |file: &&Located<Path>| matches!(file.to_str(), Some("webpki" | "system"));
        if let Some(word) = files.iter().find(is_word) {
            cx.error(word.at, "`webpki` and `system` are not allowed in a list");
            return None;
        }
        Some(Self::Files(files.0))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        OneOrMany::<Path>::schema(definitions)
    }

    fn form(reference: &mut Reference) -> Form {
        OneOrMany::<Path>::form(reference).or(Form::one_of(&[("webpki", ""), ("system", "")]))
    }

    fn render(&self) -> Rendered {
        match self {
            Self::Webpki => Rendered::Text("webpki".to_owned()),
            Self::System => Rendered::Text("system".to_owned()),
            Self::Files(files) => files.render(),
        }
    }
}
