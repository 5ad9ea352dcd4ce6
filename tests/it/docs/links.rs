//! Every link of the documentation leads to a file and, where it names one, to a heading.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::page::{pages, prose, read, root};

/// What is between `](` and `)`, with the number of the line. Code in backticks holds no links.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text).into_iter().enumerate() {
        let outside = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for rest in outside.split("](").skip(1) {
            let link = rest.split(')').next().unwrap_or_default();
            found.push((number + 1, link.to_owned()));
        }
    }
    found
}

/// The anchors of a page: as the hosting of repositories makes them, and mdBook as well.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for line in prose(text) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = heading.trim().chars().filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
            _ => None,
        });
        let anchor: String = kept.collect();
        let times = seen.entry(anchor.clone()).or_default();
        found.insert(match times {
            0 => anchor,
            _ => format!("{anchor}-{times}"),
        });
        *times += 1;
    }
    found
}

/// The path from the top without `..`; `None` if it leads out of the repository.
fn resolve(page: &str, link: &str) -> Option<String> {
    let mut path = PathBuf::new();
    let directory = Path::new(page).parent().unwrap_or_else(|| Path::new(""));
    for part in directory.join(link).components() {
        match part {
            Component::ParentDir => path.pop().then_some(())?,
            part => path.push(part),
        }
    }
    Some(path.display().to_string())
}

/// Why a link of a page is wrong.
fn problem(page: &str, link: &str) -> Option<String> {
    if ["https://", "http://", "mailto:"]
        .iter()
        .any(|scheme| link.starts_with(scheme))
    {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let to = match path {
        "" => page.to_owned(),
        path => match resolve(page, path) {
            Some(to) => to,
            None => return Some("it leads out of the repository".into()),
        },
    };
    if !root().join(&to).exists() {
        return Some(format!("there is no {to}"));
    }
    if page.starts_with("docs/") && !to.starts_with("docs/") {
        return Some("the book has only what is in docs/".into());
    }
    if !anchor.is_empty() && !anchors(&read(&to)).contains(anchor) {
        return Some(format!("{to} has no heading of that name"));
    }
    None
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    let mut count = 0;
    for page in pages() {
        for (line, link) in links(&read(&page)) {
            count += 1;
            if let Some(why) = problem(&page, &link) {
                broken.push(format!("{page}:{line}: {link}: {why}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(count > 100, "{count} links");
}

#[test]
fn the_link_check_finds_what_is_missing() {
    let text =
        "# A *b*, `c`\n## Two\n## Two\n[x](y.md#z) `[no](link)`\n```\n# not\n[no](link)\n```\n";
    let all = ["a-b-c", "two", "two-1"].map(str::to_owned);
    assert_eq!(anchors(text), all.into());
    assert_eq!(links(text), [(4, "y.md#z".to_owned())]);
    assert_eq!(problem("docs/tls.md", "reasons.md#reasons"), None);
    for wrong in ["no.md", "reasons.md#no", "#no", "../README.md", "../../x"] {
        assert!(problem("docs/tls.md", wrong).is_some(), "{wrong}");
    }
}

#[test]
fn the_contents_of_the_book_name_each_page_once() {
    const SUMMARY: &str = "docs/SUMMARY.md";
    let named = links(&read(SUMMARY)).into_iter();
    let mut named: Vec<_> = named
        .map(|(_, link)| resolve(SUMMARY, &link).unwrap())
        .collect();
    named.sort();
    let mut pages = pages();
    pages.retain(|page| page.starts_with("docs/") && page != SUMMARY);
    assert_eq!(named, pages);
}
