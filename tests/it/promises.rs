//! Every promise and every reason that can end a connection is tested by name.

use std::fs;
use std::path::Path;

/// The code of all tests but this file, without comments.
fn tests() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    text_of(&root.join("tests/it"))
}

fn text_of(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &text_of(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("promises.rs")
        {
            text += &without_comments(&fs::read_to_string(path).unwrap());
        }
    }
    text
}

/// The code without comments; texts stay as they are.
fn without_comments(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (length, is_comment) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), true)
        } else if rest.starts_with("/*") {
            (block_comment(rest), true)
        } else if rest.starts_with("'\"'") {
            (3, false)
        } else if rest.starts_with("r\"") || rest.starts_with("r#") {
            (raw_text(rest), false)
        } else if c == '"' {
            (quoted_text(rest), false)
        } else {
            (c.len_utf8(), false)
        };
        let (taken, after) = rest.split_at(length);
        if !is_comment {
            code += taken;
        }
        rest = after;
    }
    code
}

/// The length of a block comment, with those within it.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    for (at, _) in text.char_indices() {
        if text[at..].starts_with("/*") {
            depth += 1;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            if depth == 0 {
                return at + 2;
            }
        }
    }
    text.len()
}

/// The length of a text in quotes, which may have escapes.
fn quoted_text(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !is_escaped => return at + 1,
            c => is_escaped = c == '\\' && !is_escaped,
        }
    }
    text.len()
}

/// The length of a raw text; 1 for a raw identifier.
fn raw_text(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    let start = 1 + hashes + 1;
    if !text[1 + hashes..].starts_with('"') {
        return 1;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let inner = &text[start..];
    inner
        .find(&end)
        .map_or(text.len(), |at| start + at + end.len())
}

#[test]
fn a_comment_is_no_test() {
    let text =
        "a // \"b\"\n/* \"c\" /* \"d\" */ \"e\" */ \"f // \\\" f\" r#\"g\"//g\"# '\"' h // i";
    let code = without_comments(text);
    assert_eq!(code, "a \n \"f // \\\" f\" r#\"g\"//g\"# '\"' h ");
    assert_eq!(without_comments("r#type // x"), "r#type ");
}

#[test]
fn every_promise_has_a_test_named_after_it() {
    let tests = tests();
    for number in 1..=11 {
        let named = tests.contains(&format!("fn promise_{number}_"));
        assert!(named, "promise {number} has no test");
    }
}

#[test]
fn every_reason_is_brought_about_by_a_test() {
    let tests = tests();
    let untested: Vec<_> = reseal::internals::Reason::ALL
        .iter()
        .map(|reason| reason.code())
        .filter(|code| !tests.contains(&format!("\"{code}\"")))
        .collect();
    assert!(
        untested.is_empty(),
        "no test has one of these codes in quotes: {untested:?}"
    );
}

/// A text of the documentation as a terminal has it: of each link its target.
fn without_links(text: &str) -> String {
    let mut parts = text.split("](");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let name = plain.rfind('[').expect("a link begins");
        plain.truncate(name);
        let (target, rest) = part.split_once(')').expect("a link ends");
        plain += target;
        plain += rest;
    }
    plain
}

/// The program prints the same texts, so that no two places say different things about one reason.
#[test]
fn every_reason_is_documented_once_with_its_fault_its_meaning_and_what_to_do() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reasons.md");
    let docs = fs::read_to_string(path).expect("docs/reasons.md");
    for reason in reseal::internals::Reason::ALL {
        let begin = format!("| `{}` |", reason.code());
        let rows = docs.lines().filter(|line| line.starts_with(&begin));
        let rows: Vec<_> = rows.map(without_links).collect();
        let fault = reason.fault().map_or("–", |fault| fault.word());
        let (meaning, remedy) = (reason.meaning(), reason.remedy());
        assert_eq!(rows, [format!("{begin} {fault} | {meaning} | {remedy} |")]);
    }
}

#[test]
fn a_link_is_its_target_at_a_terminal() {
    assert_eq!(
        without_links("see ([a](b.md#c)), or [d](e)"),
        "see (b.md#c), or e"
    );
    assert_eq!(without_links("limits: [1]"), "limits: [1]");
}
