//! Common mistakes: each is reported once, at its place, with the way to write it right.

use std::fmt::Write as _;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::harness::{Directory, pki, reseal_in};

const GOOD: &str = include_str!("mistakes.yaml");
const TABLE: &str = include_str!("mistakes.txt");

/// A mistake in the good file, and the report that it has to get.
struct Mistake {
    name: &'static str,
    text: String,
    report: Vec<&'static str>,
}

fn mistakes() -> Vec<Mistake> {
    let mut all = TABLE.split("\n== ");
    all.next();
    all.map(mistake).collect()
}

fn mistake(entry: &'static str) -> Mistake {
    let (name, rest) = entry.split_once('\n').unwrap();
    let mut text = GOOD.to_owned();
    let (mut old, mut new) = (String::new(), String::new());
    let mut report = Vec::new();
    let mut replace = |old: &mut String, new: &mut String| {
        if old.is_empty() && !new.is_empty() {
            text.clone_from(new);
        } else if !old.is_empty() {
            assert_eq!(text.matches(old.as_str()).count(), 1, "{name}: {old}");
            text = text.replace(old.as_str(), new);
        }
        old.clear();
        new.clear();
    };
    for line in rest.lines() {
        match line.split_at_checked(1) {
            Some(("-", line)) => {
                if !new.is_empty() {
                    replace(&mut old, &mut new);
                }
                old.push_str(line);
                old.push('\n');
            }
            Some(("+", line)) => {
                new.push_str(&line.replace("\\t", "\t"));
                new.push('\n');
            }
            Some(_) => report.push(line),
            None => {}
        }
    }
    replace(&mut old, &mut new);
    Mistake { name, text, report }
}

/// What was reported, in the form of the table.
fn report(text: &str) -> String {
    let mut out = String::new();
    let mut severity_and_message = "";
    for line in text.lines() {
        let content = line.trim_start();
        if line.starts_with("error: ") || line.starts_with("warning: ") {
            severity_and_message = line;
        } else if let Some(place) = content.strip_prefix("--> config.yaml") {
            let place = place.strip_prefix(':').unwrap_or("-");
            let _ = writeln!(out, "! {place} {severity_and_message}");
        } else if let Some(place) = content.strip_prefix("::: config.yaml:") {
            // The help beside the caret comes before the second place.
            let at = out
                .rfind("\n? ")
                .filter(|at| !out[at + 1..].contains("\n!"));
            let line = format!("& {place}\n");
            match at {
                Some(at) => out.insert_str(at + 1, &line),
                None => out.push_str(&line),
            }
        } else if let Some(help) = content.strip_prefix("= help: ") {
            let _ = writeln!(out, "? {help}");
        } else if let Some(marked) = content.strip_prefix("| ")
            && let Some((_, help)) = marked
                .trim_start()
                .strip_prefix('^')
                .and_then(|rest| rest.trim_start_matches('^').split_once(' '))
        {
            let _ = writeln!(out, "? {help}");
        }
    }
    out
}

/// A directory with every file that the table names.
fn directory() -> Directory {
    let directory = Directory::new();
    let web = pki().edge(&["web.example.test", "vault.example.test"]);
    let other = pki().edge(&["other.example.test"]);
    let client = pki().client("client");
    let leaf = pki().edge(&["web.example.test"]);
    for (name, identity) in [("web", &web), ("other", &other), ("client", &client)] {
        directory.write_with_mode(&format!("{name}.pem"), &identity.cert, 0o644);
        directory.write_with_mode(&format!("{name}.key"), &identity.key, 0o600);
    }
    let [(_, ca), ..] = pki().files();
    directory.write("ca.pem", &ca);
    directory.write("leaf.pem", &leaf.cert);
    directory.write_with_mode("open.key", &web.key, 0o644);
    directory.write_with_mode(
        "enc.key",
        web.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
        0o600,
    );
    let der = CertificateDer::from_pem_slice(web.cert.as_bytes()).unwrap();
    directory.write("web.der", &der);
    directory.write("empty.pem", "");
    std::fs::create_dir(directory.join("cadir")).unwrap();
    directory.write("cadir/one.pem", &ca);
    directory.write("cadir/two.crt", &ca);
    directory
}

#[test]
fn every_common_mistake_is_reported_once_at_its_place_with_the_way_to_write_it() {
    let directory = directory();
    directory.write("config.yaml", GOOD);
    let good = reseal_in(directory.path(), &["check", "--strict"]);
    good.must_exit_with(0);
    assert_eq!(good.stderr, "");
    let mut failed = String::new();
    for mistake in mistakes() {
        directory.write("config.yaml", &mistake.text);
        let finished = reseal_in(directory.path(), &["check"]);
        let expected = mistake.report.join("\n") + "\n";
        let found = report(&finished.stderr);
        let code = i32::from(expected.contains(" error: "));
        if found != expected || finished.code != Some(code) {
            let _ = writeln!(
                failed,
                "== {}\nexpected:\n{expected}found:\n{found}",
                mistake.name
            );
        }
    }
    assert!(failed.is_empty(), "{failed}");
}

#[test]
fn every_mistake_of_the_table_has_a_place_and_a_remedy() {
    let all = mistakes();
    assert!(all.len() >= 200, "{} mistakes", all.len());
    for mistake in &all {
        let has = |mark: &str| mistake.report.iter().any(|line| line.starts_with(mark));
        assert!(has("! ") && has("? "), "{}", mistake.name);
    }
}
