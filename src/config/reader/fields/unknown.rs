//! What to say about a key that a map does not have.

use super::{Fields, KeyTable};
use crate::config::reader::problem::{TOP, quoted, quoted_list};
use crate::config::reader::read::{Reader, nearest};
use crate::config::reader::words::instead;
use crate::config::reader::yaml::{Key, Kind, Node};

impl Fields<'_> {
    /// Reports a key that the map does not have.
    pub(super) fn unknown(
        &mut self,
        key: &Key,
        value: &Node,
        cx: &mut Reader<'_>,
        table: &KeyTable,
    ) {
        cx.mark_incomplete(self.at);
        if cx.is_at_top() {
            cx.mark_incomplete(TOP);
        }
        let name = key.text.as_str();
        let below = table.below.iter().find(|(_, keys)| keys().contains(&name));
        if let Some((outer, _)) = below
            && let Some((empty, _)) = self.entry(outer).filter(|(_, node)| node.is_null())
        {
            if !self.reported.contains(outer) {
                self.reported.push(outer);
                cx.error(
                    empty.at,
                    format!("`{outer}` holds nothing: its keys are not indented below it"),
                )
                .help(format!(
                    "indent `{name}` and its neighbours further than `{outer}`"
                ));
            }
            return;
        }
        if let Some((known, rest)) = name.split_once(':')
            && let Some(known) = table.known.iter().find(|key| **key == known)
            && value.is_null()
        {
            self.reported.push(known);
            cx.error(key.at, format!("there is no space after `{known}:`"))
                .help(format!("write `{known}: {rest}`"));
            return;
        }
        let help = self.advice(name, value, cx, table);
        cx.error(key.at, format!("unknown key {}", quoted(name)))
            .help(help);
    }

    /// What may have been meant.
    fn advice(&mut self, name: &str, value: &Node, cx: &Reader<'_>, table: &KeyTable) -> String {
        let below = table.below.iter().find(|(_, keys)| keys().contains(&name));
        let meant = instead(name, table.instead);
        let same = |known: &&&str| known.replace('_', "") == plain(name);
        let near = || nearest(name, table.known.iter().copied());
        let word = match meant {
            Some(meant) => table.known.iter().find(|known| **known == meant).copied(),
            None => table.known.iter().find(same).copied(),
        };
        if let Some(word) = word {
            self.reported.push(word);
            format!("did you mean `{word}`?")
        } else if let Some(advice) = meant {
            let first = advice.split(['`', ':']).nth(1).unwrap_or_default();
            let named = table.known.iter().find(|known| **known == first);
            self.reported.extend(named);
            self.advised.extend(named);
            advice.to_owned()
        } else if let Some((outer, _)) = below {
            if self.entry(outer).is_none() {
                self.reported.push(outer);
            }
            format!("it belongs under `{outer}`")
        } else if let Some(list) = entry_of(value, table) {
            format!("it looks like an entry of `{list}`: indent it below that key")
        } else if cx.is_key_around(name) {
            "it is a key of a map around this one: indent it less".to_owned()
        } else if let Some(near) = near() {
            self.reported
                .extend(table.known.iter().find(|known| **known == near));
            format!("did you mean `{near}`?")
        } else {
            format!("known keys: {}", quoted_list(table.known.iter().copied()))
        }
    }
}

/// The key whose entries have the keys of this map.
fn entry_of(value: &Node, table: &KeyTable) -> Option<&'static str> {
    let Kind::Map(entries) = &value.kind else {
        return None;
    };
    let fits = |keys: &[&str]| {
        entries
            .iter()
            .all(|(key, _)| keys.contains(&key.text.as_str()))
    };
    let found = table
        .entries
        .iter()
        .find(|(_, keys)| !entries.is_empty() && fits(keys()));
    found.map(|(key, _)| *key)
}

/// A key without punctuation and case, which other programs put between its words.
fn plain(key: &str) -> String {
    key.replace(['_', '-', ' ', '.'], "").to_ascii_lowercase()
}
