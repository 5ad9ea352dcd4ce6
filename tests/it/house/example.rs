//! The example configuration, the output of commands, and what scripts name.

use std::fs;

use super::{root, rust_files};
use crate::harness::reseal;

#[test]
fn the_example_passes_check() {
    let example = root().join("config.yaml.example").display().to_string();
    let checked = reseal(&["check", "--strict", "--no-files", "--config", &example]);
    checked.must_exit_with(0);
    assert_eq!(checked.stderr, "");
}

#[test]
fn the_example_runs_with_the_certificates_from_its_comment() {
    let directory = crate::harness::Directory::new();
    let example = fs::read_to_string(root().join("config.yaml.example")).unwrap();
    let making = example
        .lines()
        .find_map(|line| {
            line.trim_start_matches(['#', ' '])
                .strip_prefix("reseal certs ")
        })
        .expect("the example says how to make its certificates");
    let mut arguments = vec!["certs"];
    arguments.extend(making.split_whitespace());
    crate::harness::reseal_in(directory.path(), &arguments).must_exit_with(0);
    let config = directory
        .write("config.yaml", &example)
        .display()
        .to_string();
    reseal(&["check", "--config", &config]).must_exit_with(0);
}

#[test]
fn commands_print_their_output() {
    let schema = reseal(&["schema"]);
    schema.must_exit_with(0);
    assert!(serde_json::from_str::<serde_json::Value>(&schema.stdout).is_ok());
    reseal(&["--version"])
        .must_exit_with(0)
        .must_print(env!("CARGO_PKG_VERSION"));
    reseal(&["completions", "bash"])
        .must_exit_with(0)
        .must_print("reseal");
    reseal(&["man"]).must_exit_with(0).must_print(".TH");
    assert_ne!(reseal(&["no-such-command"]).code, Some(0));
}

#[test]
fn the_filters_of_the_soak_scripts_match_tests() {
    let files = rust_files(&root().join("tests")).into_iter();
    let files: Vec<_> = files.map(|f| fs::read_to_string(f).unwrap()).collect();
    for script in ["soak.sh", "soak-reload.sh"] {
        let text = fs::read_to_string(root().join("scripts").join(script)).unwrap();
        let (_, filters) = text.split_once("--test-threads 1").unwrap();
        let filters: Vec<_> = filters.split_whitespace().filter(|f| *f != "\\").collect();
        assert!(!filters.is_empty(), "{script}");
        for filter in filters {
            let is_name = |line: &str| {
                let line = line.split("//").next().unwrap_or_default();
                line.contains("fn ") && line.contains(filter)
            };
            let matches = files.iter().any(|file| file.lines().any(is_name));
            assert!(matches, "{script}: no test matches {filter}");
        }
    }
}
