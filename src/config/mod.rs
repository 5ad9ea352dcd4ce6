//! The configuration. [`read()`] parses a file's text into a [`Spec`] with located values, and
//! [`compile`] turns that into a [`Snapshot`](crate::snapshot::Snapshot) of checked values. No other
//! module knows YAML.
//!
//! [`spec`] is the table of all keys with their defaults; [`reader`] is the machinery that it is
//! declared with.

pub mod compile;
pub mod file_stamps;
pub mod load;
mod man_page;
pub mod reader;
pub mod spec;

#[cfg(test)]
mod tests;

pub use reader::problem::{Problems, Severity};
pub use spec::Spec;

use reader::compose::parse;
use reader::problem::quoted_list;
use reader::read::{Read, Reader};
use reader::reference::Reference;
use reader::yaml::{Kind, Node};
use reader::{print, schema};

/// Reads the text of a file, with variables from `env`. Returns the [`Spec`] if every value could be
/// read; it must not be used if the problems contain an error, but can be linted all the same.
pub fn read(text: &str, env: &dyn Fn(&str) -> Option<String>) -> (Option<Spec>, Problems) {
    let mut problems = Problems::default();
    let Some(root) = parse(text, &mut problems) else {
        if !problems.has_errors() {
            empty(&mut problems);
        }
        return (None, problems);
    };
    if matches!(root.kind, Kind::Null) {
        empty(&mut problems);
        return (None, problems);
    }
    let mut reader = Reader::new(env, problems);
    if let Some(names) = names_under(&root, "upstreams") {
        reader.choose_from("upstream", names);
    }
    let spec = Spec::read(&without_extensions(root), &mut reader);
    if let Some(endpoints) = spec.as_ref().map(|spec| &spec.endpoints)
        && endpoints.is_empty()
    {
        reader.error(endpoints.at, "at least one endpoint is needed");
    }
    (spec, reader.into_problems())
}

/// The effective configuration as YAML: defaults filled in, variables as written in the file. With the
/// same variables it reads back as an equal [`Spec`].
pub fn print(spec: &Spec) -> String {
    print::print(&spec.render())
}

/// One part of a configuration as YAML, defaults filled in and variables expanded.
pub fn print_part<T: Read>(part: &T) -> String {
    print::print(&part.render().expanded())
}

/// The most names that a message lists.
const NAMES_MAX: usize = 20;

/// The identifier of the schema. A URN, as it names the schema and is not where it can be fetched.
const SCHEMA_ID: &str = concat!("urn:reseal:schema:config:", env!("CARGO_PKG_VERSION"));

/// The JSON Schema of a configuration file.
pub fn schema() -> serde_json::Value {
    schema::of::<Spec>(SCHEMA_ID, "Reseal configuration")
}

/// All keys as data.
fn reference() -> Reference {
    let mut reference = Reference::default();
    Spec::form(&mut reference);
    reference
}

/// The manual page of the configuration file, in roff, with this date.
pub fn man_page(date: &str) -> String {
    man_page::page(&reference(), date)
}

/// The names under a key at the top, quoted.
fn names_under(root: &Node, key: &str) -> Option<String> {
    let Kind::Map(entries) = &root.kind else {
        return None;
    };
    let (_, node) = entries.iter().find(|(known, _)| known.text == key)?;
    let Kind::Map(named) = &node.kind else {
        return None;
    };
    let names = named.iter().map(|(name, _)| name.text.as_str());
    (!named.is_empty()).then(|| quoted_list(names.take(NAMES_MAX)))
}

fn empty(problems: &mut Problems) {
    problems
        .error(None, "the file holds no configuration")
        .help("it needs at least `endpoints` and `upstreams`");
}

/// Removes top-level keys that begin with `x-`: they hold anchors.
fn without_extensions(mut root: Node) -> Node {
    if let Kind::Map(entries) = &mut root.kind {
        entries.retain(|(key, _)| !key.text.starts_with("x-"));
    }
    root
}
