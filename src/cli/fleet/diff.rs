//! `reseal fleet diff`: what a push of a file would change of the document that is wanted.

use std::collections::BTreeMap;
use std::path::Path;

use super::document;
use super::place::Place;
use crate::cli::exit::Exit;
use crate::cli::output::{eprint_line, print};
use crate::fleet::{Document, StoreError};
use crate::observe::escape;

/// The most lines of either side that are compared one by one, multiplied. Above that, all are shown as changed.
const COMPARED_MAX: usize = 16_000_000;

pub(super) fn main(place: &mut Place, path: &Path) -> Result<Exit, Exit> {
    let new = document::of(path)?;
    let wanted = place.ask(async |store| {
        Ok::<_, StoreError>(match store.pointer().await?.0 {
            Some(pointer) => Some(store.read(&pointer.id, 0).await?),
            None => None,
        })
    })?;
    let Some(old) = wanted else {
        eprint_line("reseal: nothing was pushed yet");
        return Err(Exit::Bad);
    };
    let (text, files) = (lines(&old.text, &new.text), files(&old, &new));
    Ok(print(&match text.is_empty() && files.is_empty() {
        true => format!("no difference from {}\n", old.id),
        false => format!("from {} to {}:\n{text}{files}", old.id, path.display()),
    }))
}

/// The files that differ, by name. They may be secrets, so what is in them is not shown.
fn files(old: &Document, new: &Document) -> String {
    let of = |document: &Document| -> BTreeMap<_, _> {
        let files = document.files.iter();
        let files = files.map(|(place, bytes)| (place.to_owned(), bytes.clone()));
        files.collect()
    };
    let (old, new) = (of(old), of(new));
    let mut out = String::new();
    for (place, bytes) in &old {
        let place_name = escape::text(&place.to_string_lossy());
        match new.get(place) {
            None => out.push_str(&format!("file removed: {place_name}\n")),
            Some(now) if **now != **bytes => out.push_str(&format!("file changed: {place_name}\n")),
            Some(_) => {}
        }
    }
    for place in new.keys().filter(|place| !old.contains_key(*place)) {
        let place_name = escape::text(&place.to_string_lossy());
        out.push_str(&format!("file added: {place_name}\n"));
    }
    out
}

/// The lines that differ, each with its number: `-` those that go, `+` those that come.
fn lines(old: &str, new: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[start..], &new[start..]);
    let ends = old_rest.iter().rev().zip(new_rest.iter().rev());
    let end = ends.take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (
        &old_rest[..old_rest.len() - end],
        &new_rest[..new_rest.len() - end],
    );
    let mut out = String::new();
    for (sign, number, line) in changes(old_rest, new_rest) {
        out.push_str(&format!(
            "{sign}{:<5} {}\n",
            start + number + 1,
            escape::text(line)
        ));
    }
    out
}

/// The lines that one side has and the other has not, by the longest common subsequence.
fn changes<'t>(old: &[&'t str], new: &[&'t str]) -> Vec<(char, usize, &'t str)> {
    let removed = |n: usize| ('-', n, old[n]);
    let added = |n: usize| ('+', n, new[n]);
    if old.len() * new.len() > COMPARED_MAX {
        return (0..old.len())
            .map(removed)
            .chain((0..new.len()).map(added))
            .collect();
    }
    // common[i][j] is the length of what old[i..] and new[j..] have in common.
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = match old[i] == new[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut found) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1] {
            found.push(removed(i));
            i += 1;
        } else {
            found.push(added(j));
            j += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_that_go_and_come_are_shown_with_their_numbers() {
        let shown = lines("a\nb\nc\nd\n", "a\nB\nc\nx\nd\n");
        assert_eq!(shown, "-2     b\n+2     B\n+4     x\n");
        assert_eq!(lines("a\nb\n", "a\nb\n"), "");
        assert_eq!(lines("", "a\n"), "+1     a\n");
        assert_eq!(lines("a\n", ""), "-1     a\n");
    }
}
