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
use reader::problem::{Span, quoted_list};
use reader::read::{Read, Reader};
use reader::reference::Reference;
use reader::yaml::{Kind, Node};
use reader::{print, schema};

/// The keys that the document of a fleet cannot have: they are local.
pub const LOCAL_KEYS: [&str; 6] = ["process", "log", "access_log", "admin", "acme", "fleet"];

/// Reads the text of a file, with variables from `env`. Returns the [`Spec`] if every value could be
/// read; it must not be used if the problems contain an error, but can be linted all the same.
pub fn read(text: &str, env: &dyn Fn(&str) -> Option<String>) -> (Option<Spec>, Problems) {
    read_without(&[], text, env)
}

/// Reads the document of a fleet, likewise.
pub fn read_document(text: &str, env: &dyn Fn(&str) -> Option<String>) -> (Option<Spec>, Problems) {
    read_without(&LOCAL_KEYS, text, env)
}

fn read_without(
    local: &[&str],
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> (Option<Spec>, Problems) {
    let mut problems = Problems::default();
    let Some(mut root) = parse(text, &mut problems) else {
        if !problems.has_errors() {
            empty(&mut problems);
        }
        return (None, problems);
    };
    if matches!(root.kind, Kind::Null) {
        empty(&mut problems);
        return (None, problems);
    }
    refuse_keys(&mut root, local, &mut problems);
    let mut reader = Reader::new(env, problems);
    if let Some(names) = names_under(&root, "upstreams") {
        reader.choose_from("upstream", names);
    }
    let given = keys_of_documents(&root);
    let spec = Spec::read(&without_extensions(root), &mut reader);
    match &spec {
        Some(spec) if spec.fleet.is_some() => beside_fleet(&given, &mut reader),
        Some(spec) if spec.endpoints.is_empty() => {
            reader.error(spec.endpoints.at, "at least one endpoint is needed");
        }
        _ => {}
    }
    (spec, reader.into_problems())
}

/// Takes keys out of the map at the top, each with an error.
fn refuse_keys(root: &mut Node, refused: &[&str], problems: &mut Problems) {
    let Kind::Map(entries) = &mut root.kind else {
        return;
    };
    entries.retain(|(key, _)| {
        let is_refused = refused.contains(&key.text.as_str());
        if is_refused {
            let message = format!("`{}` is not for the document of a fleet", key.text);
            problems
                .error(key.at, message)
                .help("each instance has its own, in its local file");
        }
        !is_refused
    });
}

/// The keys at the top that a local file cannot have, where they are.
fn keys_of_documents(root: &Node) -> Vec<(Span, String)> {
    let Kind::Map(entries) = &root.kind else {
        return Vec::new();
    };
    let keys = entries.iter().map(|(key, _)| key);
    let keys = keys.filter(|key| matches!(key.text.as_str(), "endpoints" | "upstreams"));
    keys.map(|key| (key.at, key.text.clone())).collect()
}

fn beside_fleet(given: &[(Span, String)], reader: &mut Reader<'_>) {
    for (at, key) in given {
        reader
            .error(
                *at,
                format!("`{key}` beside `fleet`, whose instances get it from the store"),
            )
            .help("write it into a file of its own, and push that: `reseal fleet push FILE`");
    }
}

/// The `admin` block of a file's text, whatever is wrong elsewhere in the file: who mends it needs the running
/// process. `None` if the text is no YAML, or the block cannot be read.
pub fn read_admin(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Option<spec::Admin> {
    let Node { at, kind } = parse(text, &mut Problems::default())?;
    let Kind::Map(entries) = kind else {
        return None;
    };
    let written = entries.into_iter().find(|(key, _)| key.text == "admin");
    let kind = Kind::Map(Vec::new());
    let block = written.map_or(Node { at, kind }, |(_, block)| block);
    spec::Admin::read(&block, &mut Reader::new(env, Problems::default()))
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
    let mut schema = schema::of::<Spec>(SCHEMA_ID, "Reseal configuration");
    schema["anyOf"] = serde_json::json!([
        { "required": ["endpoints", "upstreams"] },
        { "required": ["fleet"] },
    ]);
    schema
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
