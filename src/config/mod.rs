//! The configuration file: from its text to a [`Spec`] in which every value
//! has its place, with all problems at once.
//!
//! [`yaml`] makes a tree of located nodes, [`read`](mod@read) and its macro in
//! [`fields`] turn nodes into the types that [`spec`] declares, and
//! [`problem`] collects what is wrong on the way. Nothing here opens a file,
//! resolves a name or compares two values of the file: that needs a whole
//! [`Spec`] and belongs to those who use it.

pub mod address;
pub mod compile;
mod compose;
mod expand;
pub mod fields;
pub mod load;
pub mod print;
pub mod problem;
mod quantities;
pub mod read;
pub mod schema;
pub mod shapes;
mod snippet;
pub mod spec;
pub mod values;
pub mod words;
pub mod yaml;

#[cfg(test)]
mod tests;

pub use problem::{Problem, Problems, Severity, Span};
pub use read::Located;
pub use spec::Spec;

use read::{Read, Reader};
use yaml::{Kind, Node};

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
    print::print(&spec.show())
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
