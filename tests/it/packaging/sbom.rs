//! The list of the crates in the program.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::{root, run};
use crate::harness::Directory;

#[test]
fn the_list_of_crates_has_what_is_linked_and_nothing_else() {
    let directory = Directory::new();
    let mut stage = Command::new("scripts/stage.sh");
    stage
        .arg(env!("CARGO_BIN_EXE_reseal"))
        .arg(directory.path());
    run(stage.current_dir(root()));
    let text = std::fs::read_to_string(directory.join("reseal.cdx.json")).unwrap();
    let bill: Value = serde_json::from_str(&text).unwrap();
    let components = bill["components"].as_array().unwrap().iter();
    let texts = |key: &'static str| {
        components
            .clone()
            .map(move |entry| entry[key].as_str().unwrap())
    };
    let names: BTreeSet<_> = texts("name").collect();
    for name in ["rustls", "aws-lc-rs", "aws-lc-sys", "tokio", "landlock"] {
        assert!(names.contains(name), "{name} is missing: {names:?}");
    }
    // Of the benchmarks, of the compiler, and of features that only tests enable.
    for name in ["divan", "clap_derive", "ring", "reseal"] {
        assert!(!names.contains(name), "{name}");
    }
    let known: BTreeSet<_> = texts("bom-ref").collect();
    for entry in bill["dependencies"].as_array().unwrap() {
        for on in entry["dependsOn"].as_array().unwrap() {
            assert!(known.contains(on.as_str().unwrap()), "{on}");
        }
    }
}
