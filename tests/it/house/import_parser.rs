//! Which modules a file imports.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::root;

/// The path of a file's module, such as `["tls", "hello"]`; empty for the roots.
pub(super) fn module(file: &Path) -> Vec<String> {
    let src = root().join("src");
    let path = file.strip_prefix(src).unwrap().with_extension("");
    let mut parts: Vec<String> = path
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if parts
        .last()
        .is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str()))
    {
        parts.pop();
    }
    parts
}

/// The text without comments and without the contents of strings.
pub(super) fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// Every path that follows `crate::`, with `{}` groups split at their first level, and the targets of
/// `super` paths.
pub(super) fn imports(file: &Path) -> BTreeSet<String> {
    let code = code(file);
    let own = module(file);
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            found.extend(paths(&code[at + "crate::".len()..]));
        }
    }
    let inline = code.matches("mod tests {").count();
    for (at, _) in code.match_indices("super::") {
        let before = &code[..at];
        if before.ends_with("super::") {
            continue;
        }
        let chain = code[at..]
            .split("super::")
            .take_while(|part| part.is_empty())
            .count();
        let rest = &code[at + chain * "super::".len()..];
        // Within an inline test module, one more `super` leads only to the file's own module.
        let inside = inline > 0 && before.contains("mod tests {");
        let steps = chain - usize::from(inside);
        let Some(parent) = own.len().checked_sub(steps) else {
            continue;
        };
        match parent {
            0 => found.extend(paths(rest)),
            _ => drop(found.insert(own[..parent].join("::"))),
        }
    }
    found
}

/// `a::b` of `a::b::C`, or the first two parts of each path in a group.
fn paths(text: &str) -> Vec<String> {
    let Some(group) = text.strip_prefix('{') else {
        return vec![two_parts(text)];
    };
    let mut depth = 1;
    let mut paths = vec![String::new()];
    for c in group.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        match (depth, c) {
            (0, _) => break,
            (1, ',') => paths.push(String::new()),
            _ => paths.last_mut().unwrap().push(c),
        }
    }
    let paths = paths.iter().map(|path| path.trim());
    paths
        .filter(|path| !path.is_empty())
        .map(two_parts)
        .collect()
}

fn two_parts(path: &str) -> String {
    let end = path
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(path.len());
    let parts: Vec<_> = path[..end]
        .split("::")
        .filter(|part| !part.is_empty())
        .take(2)
        .collect();
    parts.join("::")
}

#[test]
fn the_import_parser_finds_every_form() {
    let tls = imports(&root().join("src/tls/hello.rs"));
    assert!(
        ["transport::Socket", "outcome", "tls"]
            .iter()
            .all(|name| tls.contains(*name)),
        "{tls:?}"
    );
    assert_eq!(paths("{a::{B, C}, d::e::F, g}; use x"), ["a", "d::e", "g"]);
    assert_eq!(paths("a::b::C;"), ["a::b"]);
}
