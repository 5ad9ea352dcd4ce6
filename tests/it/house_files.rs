//! No file imports a file that imports it, directly or over others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Files by module, such as `tls::hello`, and the code of each.
struct Source {
    modules: BTreeMap<Vec<String>, String>,
    code: BTreeMap<String, String>,
}

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The module of a file, given by its path below `src`.
fn module(file: &str) -> Vec<String> {
    let mut parts: Vec<_> = file.trim_end_matches(".rs").split('/').collect();
    if ["mod", "lib"].contains(parts.last().unwrap()) {
        parts.pop();
    }
    parts.into_iter().map(str::to_owned).collect()
}

impl Source {
    fn read() -> Self {
        let mut paths = Vec::new();
        files(&source_root(), &mut paths);
        let mut all: BTreeMap<_, _> = paths
            .iter()
            .map(|path| {
                let name = path.strip_prefix(source_root()).unwrap();
                let text = fs::read_to_string(path).unwrap();
                (name.display().to_string(), without_text(&text))
            })
            .collect();
        all.remove("main.rs");
        let tests: Vec<_> = all
            .iter()
            .flat_map(|(file, code)| {
                test_modules(code).into_iter().map(|name| {
                    let mut module = module(file);
                    module.push(name);
                    module
                })
            })
            .collect();
        all.retain(|file, _| !tests.iter().any(|test| module(file).starts_with(test)));
        Self {
            modules: all
                .keys()
                .map(|file| (module(file), file.clone()))
                .collect(),
            code: all
                .into_iter()
                .map(|(file, code)| (file, without_tests(&code)))
                .collect(),
        }
    }

    /// The files that each file names.
    fn imports(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let of = |(file, code): (&'_ String, &String)| {
            let named = paths(code)
                .into_iter()
                .filter_map(|path| self.file_of(file, &path));
            named.filter(|named| named != file).collect()
        };
        self.code
            .iter()
            .map(|entry| (entry.0.as_str(), of(entry)))
            .collect()
    }

    /// The file whose item a path leads to, from within `file`.
    fn file_of(&self, file: &str, path: &str) -> Option<&str> {
        let mut own = module(file);
        let mut parts = path.split("::").peekable();
        match *parts.peek()? {
            "crate" => own.clear(),
            "self" | "super" => {}
            first => {
                let mut child = own.clone();
                child.push(first.to_owned());
                self.modules.get(&child)?;
            }
        }
        for part in parts {
            match part {
                "crate" | "self" => {}
                "super" => drop(own.pop()),
                part => {
                    own.push(part.to_owned());
                    if !self.modules.contains_key(&own) {
                        own.pop();
                        break;
                    }
                }
            }
        }
        self.modules.get(&own).map(String::as_str)
    }
}

/// The code without comments and the contents of strings.
fn without_text(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(raw) = raw_string(rest) {
            raw
        } else if c == '"' {
            let escaped = |end: usize| {
                rest[..end]
                    .bytes()
                    .rev()
                    .take_while(|b| *b == b'\\')
                    .count()
                    % 2
                    == 1
            };
            let mut ends = rest.match_indices('"').map(|(at, _)| at).skip(1);
            ends.find(|end| !escaped(*end))
                .map_or(rest.len(), |end| end + 1)
        } else if rest.starts_with("'\"'") || rest.starts_with("'{'") || rest.starts_with("'}'") {
            3
        } else {
            code.push(c);
            c.len_utf8()
        };
        rest = &rest[length..];
    }
    code
}

/// The length of a raw string at the start, if there is one.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?;
    let inner = hashes.trim_start_matches('#');
    let count = hashes.len() - inner.len();
    let end = format!("\"{}", "#".repeat(count));
    let inner = inner.strip_prefix('"')?;
    let start = text.len() - inner.len();
    Some(start + inner.find(&end)? + end.len())
}

const TEST: &str = "#[cfg(test)]";

/// The names of the child modules that are declared for tests.
fn test_modules(code: &str) -> Vec<String> {
    let declared = code
        .split(TEST)
        .skip(1)
        .filter_map(|rest| rest.split_once(';'));
    let named = declared.filter_map(|(item, _)| item.trim().rsplit_once("mod "));
    let names = named.map(|(_, name)| name.trim().to_owned());
    names
        .filter(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_'))
        .collect()
}

/// The code without the items that are only for tests.
fn without_tests(code: &str) -> String {
    let mut parts = code.split(TEST);
    let mut kept = parts.next().unwrap().to_owned();
    for part in parts {
        let start = part.find([';', '{']).unwrap_or(part.len());
        let mut depth = 0;
        let end = part[start..].char_indices().find(|(_, c)| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            depth == 0
        });
        kept.push_str(end.map_or("", |(end, _)| &part[start + end + 1..]));
    }
    kept
}

/// Every path in the code, groups taken apart. `$crate` in a macro does not count: the user of the macro
/// names it.
fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let code = code.replace("pub(in crate", "");
    let mut rest = code.as_str();
    while let Some(at) = rest.find("::") {
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$';
        let start = rest[..at].rfind(|c| !word(c)).map_or(0, |start| start + 1);
        let text = &rest[start..];
        let end = text.find(|c| !word(c)).unwrap_or(text.len());
        let path = text[..end].trim_end_matches("::").to_owned();
        if text[end..].starts_with('{') {
            group(&path, &text[end + 1..], &mut found);
        } else {
            found.push(path);
        }
        rest = &rest[start + end.max(at - start + 2)..];
    }
    found
}

/// The paths of a group behind a prefix.
fn group(prefix: &str, text: &str, found: &mut Vec<String>) {
    let mut depth = 1;
    let mut items = vec![String::new()];
    for c in text.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        match (depth, c) {
            (0, _) => break,
            (1, ',') => items.push(String::new()),
            _ => items.last_mut().unwrap().push(c),
        }
    }
    for item in items {
        let item = item.trim();
        match item.split_once("::{") {
            Some((path, inner)) => group(&format!("{prefix}::{path}"), inner, found),
            None => {
                let name = item.split_whitespace().next().unwrap_or("self");
                found.push(format!("{prefix}::{name}"));
            }
        }
    }
}

/// All files that `file` imports, over others too.
fn reached<'a>(file: &'a str, imports: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next = vec![file];
    while let Some(file) = next.pop() {
        for named in &imports[file] {
            if reached.insert(*named) {
                next.push(named);
            }
        }
    }
    reached
}

#[test]
fn no_file_imports_a_file_that_imports_it() {
    let source = Source::read();
    let imports = source.imports();
    let reached: BTreeMap<_, _> = imports
        .keys()
        .map(|file| (*file, reached(file, &imports)))
        .collect();
    let circles: BTreeSet<BTreeSet<&str>> = reached
        .iter()
        .filter(|(file, named)| named.contains(*file))
        .map(|(file, named)| {
            let back = named.iter().filter(|other| reached[**other].contains(file));
            back.copied().collect()
        })
        .collect();
    assert!(
        circles.is_empty(),
        "these files import each other: {circles:#?}"
    );
}

#[test]
fn the_reader_of_paths_reads_groups_and_skips_tests_and_texts() {
    let code = without_text("use a::{b::{C, self}, d}; // x::y\nlet s = \"q::r\"; crate::m::f();");
    let found = paths(&code);
    for path in ["a::b::C", "a::b::self", "a::d", "crate::m::f"] {
        assert!(found.iter().any(|found| found == path), "{path}: {found:?}");
    }
    assert!(
        !found
            .iter()
            .any(|path| path.contains('x') || path.contains('q')),
        "{found:?}"
    );
    let code = "mod a;\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\nfn f() { x::y() }\nz::w();";
    assert_eq!(test_modules(code), ["tests"]);
    assert_eq!(paths(&without_tests(code)), ["z::w"]);
}
