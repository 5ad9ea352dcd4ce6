//! `reseal man`.

use std::collections::BTreeSet;
use std::fs;

use crate::harness::{Directory, output, reseal, reseal_in};

/// The commands that `reseal --help` lists.
fn commands() -> BTreeSet<String> {
    let help = reseal(&["--help"]).stdout;
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let names = list.lines().map_while(|line| line.strip_prefix("  "));
    let names = names.filter(|line| !line.starts_with(' '));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_and_the_file_have_a_page_without_warnings() {
    let directory = Directory::new();
    let written = reseal_in(directory.path(), &["man", "--out", "new/pages"]);
    written.must_exit_with(0);
    assert_eq!(written.text().trim(), "");
    let pages = directory.join("new/pages");
    let names: BTreeSet<_> = fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut expected = BTreeSet::from(["reseal.1".to_owned(), "reseal.yaml.5".to_owned()]);
    expected.extend(commands().iter().map(|name| format!("reseal-{name}.1")));
    assert!(expected.contains("reseal-ctl.1"));
    assert_eq!(names, expected);
    for name in names {
        let file = pages.join(&name).display().to_string();
        let linted = output("mandoc", &["-W", "warning", "-T", "utf8", &file], "");
        linted.must_exit_with(0);
        assert_eq!(linted.stderr, "", "{name}");
        let shown = output("man", &["--warnings", "--local-file", &file], "");
        shown.must_exit_with(0);
        assert_eq!(shown.stderr, "", "{name}");
        assert!(shown.stdout.contains("NAME"), "{name}");
    }
}

#[test]
fn the_page_of_ctl_holds_its_commands_with_their_flags() {
    let directory = Directory::new();
    reseal_in(directory.path(), &["man", "--out", "."]).must_exit_with(0);
    let file = directory.join("reseal-ctl.1").display().to_string();
    let page = output("mandoc", &["-T", "ascii", "-O", "width=200", &file], "").stdout;
    let page = page.replace('\u{8}', "");
    for text in ["--token-file", "--plan", "log-level", "disable"] {
        // Bold is a letter over itself.
        let bold: String = text.chars().flat_map(|char| [char, char]).collect();
        assert!(
            page.contains(text) || page.contains(&bold),
            "{text}\n{page}"
        );
    }
}

#[test]
fn pages_that_cannot_be_written_are_reported() {
    let directory = Directory::new();
    directory.write("file", "");
    reseal_in(directory.path(), &["man", "--out", "file"])
        .must_exit_with(1)
        .must_print("reseal: file: ");
}

#[test]
fn one_page_is_printed() {
    for (arguments, title) in [
        (&["man"][..], ".TH reseal 1 "),
        (&["man", "reseal.yaml"], ".TH reseal.yaml 5 "),
    ] {
        let printed = reseal(arguments);
        printed.must_exit_with(0);
        assert!(printed.stdout.starts_with(title), "{}", printed.stdout);
    }
}
