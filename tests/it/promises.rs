//! Every promise and every reason that can end a connection is tested by name.

use std::fs;
use std::path::Path;

/// The text of all tests but this file.
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
            text += &fs::read_to_string(path).unwrap();
        }
    }
    text
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

#[test]
fn every_reason_is_documented_once_with_its_fault() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reasons.md");
    let docs = fs::read_to_string(path).expect("docs/reasons.md");
    for reason in reseal::internals::Reason::ALL {
        let row = format!("| `{}` |", reason.code());
        let rows: Vec<_> = docs.lines().filter(|line| line.starts_with(&row)).collect();
        assert_eq!(rows.len(), 1, "{row} stands in {} rows", rows.len());
        let fault = reason.fault().map_or("–", |fault| fault.word());
        assert!(
            rows[0].starts_with(&format!("{row} {fault} |")),
            "{}",
            rows[0]
        );
        assert!(
            rows[0].contains(reason.meaning()),
            "{}: {}",
            rows[0],
            reason.meaning()
        );
    }
}
