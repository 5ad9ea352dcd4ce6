//! The tables of docs/configuration.md: written from the table of keys, between `<!-- keys: MAP … -->` and
//! `<!-- end of keys -->`. `RESEAL_BLESS=1 cargo test --lib config::tests::reference` writes them anew.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::super::reader::reference::{Holder, KeyEntry, KeyTable, Presence, Reference};
use super::super::{man_page, reference};

const BEGIN: &str = "<!-- keys:";
const END: &str = "<!-- end of keys -->";

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")
}

/// A page that is being written: the anchor of the heading above each map that has a table of its own.
struct Writer<'r> {
    reference: &'r Reference,
    anchors: HashMap<String, String>,
    written: RefCell<HashSet<&'static str>>,
}

impl<'r> Writer<'r> {
    fn of(reference: &'r Reference, page: &str) -> Self {
        let mut anchors = HashMap::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut anchor = String::new();
        for line in page.lines() {
            if line.starts_with('#') {
                let heading = line.trim_start_matches('#').trim().to_lowercase();
                let fits = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
                let slug: String = heading.chars().filter(fits).collect();
                let slug = slug.replace(' ', "-");
                let count = seen.entry(slug.clone()).or_default();
                anchor = match *count {
                    0 => slug,
                    count => format!("{slug}-{count}"),
                };
                *count += 1;
            }
            for map in maps(line).unwrap_or_default() {
                let known = anchors.insert(map.to_owned(), anchor.clone());
                assert!(known.is_none(), "{map} has two tables");
            }
        }
        Self {
            reference,
            anchors,
            written: RefCell::default(),
        }
    }

    /// The page with all tables written anew.
    fn write(&self, page: &str) -> String {
        let mut out = String::new();
        let mut lines = page.lines();
        while let Some(line) = lines.next() {
            out.push_str(line);
            out.push('\n');
            let Some(maps) = maps(line) else { continue };
            out.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
            for map in maps {
                self.rows(&mut out, self.table(map), "");
            }
            out.push_str(END);
            out.push('\n');
            assert!(lines.any(|line| line == END), "{line} has no end");
        }
        out
    }

    fn table(&self, map: &str) -> &'r KeyTable {
        let table = self.reference.table(map);
        table.unwrap_or_else(|| panic!("there is no map {map}"))
    }

    fn rows(&self, out: &mut String, table: &KeyTable, prefix: &str) {
        self.written.borrow_mut().insert(table.name);
        for entry in &table.keys {
            let path = format!("{prefix}{}", entry.key);
            let own_tables: Vec<_> = entry
                .form
                .maps
                .iter()
                .filter_map(|map| self.anchors.get(*map))
                .collect();
            let is_only_a_map = entry.form.alternatives == ["map"] && entry.reason.is_none();
            let has_keys_here = own_tables.is_empty() && !entry.form.maps.is_empty();
            if !(has_keys_here && is_only_a_map && entry.presence == Presence::Default("{}")) {
                self.row(
                    out,
                    entry,
                    &path,
                    own_tables.first().map(|anchor| anchor.as_str()),
                );
            }
            if has_keys_here {
                assert_eq!(
                    entry.form.holder,
                    Holder::Value,
                    "{path} needs a table of its own"
                );
                for map in &entry.form.maps {
                    self.rows(out, self.table(map), &format!("{path}."));
                }
            }
        }
    }

    fn row(&self, out: &mut String, entry: &KeyEntry, path: &str, anchor: Option<&str>) {
        let mut value = entry.form.text();
        if let Some(anchor) = anchor {
            value = format!("{value}: [keys](#{anchor})");
        }
        let default = match entry.presence {
            Presence::Required => "required".to_owned(),
            Presence::Optional | Presence::Default("{}") => String::new(),
            Presence::Default(text) => format!("`{text}`"),
        };
        let mut meaning = entry.meaning.to_owned();
        for (word, about) in entry.form.described_words() {
            meaning.push_str(&format!(" `{word}`: {}", continued(about)));
        }
        let plain = entry.form.plain_words();
        let is_listed = plain.iter().any(|word| value.contains(word));
        if !plain.is_empty() && !is_listed {
            meaning.push_str(&format!(" One of `{}`.", plain.join("`, `")));
        }
        if let Some(reason) = entry.reason {
            meaning.push_str(&format!(" *{default} because {reason}.*"));
        }
        let cells =
            [format!("`{path}`"), value, default, meaning].map(|cell| cell.replace('|', "\\|"));
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
}

/// A sentence after a colon.
fn continued(sentence: &str) -> String {
    let mut chars = sentence.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain([second]).chain(chars).collect()
        }
        _ => sentence.to_owned(),
    }
}

/// The maps that a line of the page asks for.
fn maps(line: &str) -> Option<Vec<&str>> {
    let maps = line.strip_prefix(BEGIN)?.strip_suffix("-->")?;
    Some(maps.split_whitespace().collect())
}

#[test]
fn the_configuration_page_has_every_key_as_it_is_declared() {
    let reference = reference();
    let before = std::fs::read_to_string(page()).unwrap();
    let writer = Writer::of(&reference, &before);
    let after = writer.write(&before);
    let (root, others) = reference.tables().split_first().unwrap();
    for entry in &root.keys {
        assert!(
            after.contains(&format!("\n## {}\n", entry.key)),
            "{}",
            entry.key
        );
    }
    for table in others {
        let is_written = writer.written.borrow().contains(table.name);
        assert!(is_written, "the keys of {} are not on the page", table.name);
    }
    if std::env::var_os("RESEAL_BLESS").is_some() {
        std::fs::write(page(), &after).unwrap();
        return;
    }
    for (before, after) in before.lines().zip(after.lines()) {
        assert_eq!(
            before, after,
            "docs/configuration.md differs from the table of keys: run RESEAL_BLESS=1 cargo test --lib \
             config::tests::reference"
        );
    }
    assert_eq!(before.len(), after.len());
}

#[test]
fn every_default_has_a_reason() {
    for table in reference().tables() {
        for entry in &table.keys {
            let Presence::Default(text) = entry.presence else {
                assert_eq!(entry.reason, None);
                continue;
            };
            let is_map = text.starts_with('{');
            assert_ne!(
                is_map,
                entry.reason.is_some(),
                "{}.{}",
                table.name,
                entry.key
            );
        }
    }
}

#[test]
fn the_manual_page_has_every_key_and_valid_requests_alone() {
    let page = man_page("2026-01-01");
    for table in reference().tables() {
        for entry in &table.keys {
            let line = format!("\\fB{}\\fR \\(en ", entry.key);
            assert!(page.contains(&line), "{}", entry.key);
        }
    }
    let known = [
        ".TH", ".SH", ".SS", ".ad", ".TP", ".PP", ".br", ".B", ".BR", ".I", ".IR",
    ];
    for line in page.lines() {
        let request = line.split(' ').next().unwrap_or_default();
        assert!(
            !line.starts_with(['.', '\'']) || known.contains(&request),
            "{line}"
        );
        assert!(!line.contains('`'), "{line}");
    }
}
