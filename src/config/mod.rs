//! The configuration: a file's text becomes a [`Spec`] in which every value has its place ([`read()`]),
//! and a `Spec` becomes a [`Snapshot`](crate::snapshot::Snapshot) in which every value fits
//! ([`compile`]). Only here is YAML known.
//!
//! [`spec`], with [`upkeep`], is the table of all keys with their defaults; [`reader`] is the
//! machinery that it is declared with.

pub mod compile;
pub mod file_stamps;
pub mod load;
pub mod reader;
pub mod spec;

#[cfg(test)]
mod tests;

pub use reader::problem::{Problem, Problems, Severity, Span};
pub use reader::read::Located;
pub use spec::Spec;

use reader::read::{Read, Reader};
use reader::yaml::{self, Kind, Node};
use reader::{print, schema};

/// Reads the text of a file, its variables taken from `env`. The [`Spec`] is
/// there if every value could be read; it is only to be used if the problems
/// hold no error, but can be examined further all the same.
pub fn read(text: &str, env: &dyn Fn(&str) -> Option<String>) -> (Option<Spec>, Problems) {
    let mut problems = Problems::default();
    let Some(root) = yaml::parse(text, &mut problems) else {
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
    let spec = Spec::read(&without_extensions(root), &mut reader);
    if let Some(endpoints) = spec.as_ref().map(|spec| &spec.endpoints)
        && endpoints.is_empty()
    {
        reader.error(endpoints.at, "at least one endpoint is needed");
    }
    (spec, reader.into_problems())
}

/// The effective configuration as YAML: every default filled in, variables
/// expanded. It reads back as an equal [`Spec`].
pub fn print(spec: &Spec) -> String {
    print::print(&spec.render())
}

/// One part of a configuration as YAML, defaults filled in.
pub fn shown<T: Read>(part: &T) -> String {
    print::print(&part.render())
}

/// The JSON Schema of a file.
pub fn schema() -> serde_json::Value {
    schema::of::<Spec>("Reseal configuration")
}

fn empty(problems: &mut Problems) {
    problems
        .error(None, "the file holds no configuration")
        .help("it needs at least `endpoints` and `upstreams`");
}

/// Top-level keys that begin with `x-` are there to hold anchors.
fn without_extensions(mut root: Node) -> Node {
    if let Kind::Map(entries) = &mut root.kind {
        entries.retain(|(key, _)| !key.text.starts_with("x-"));
    }
    root
}
