//! The fuzzing corpus of PEM files (certificates, keys, CRLs), as a test.

use std::path::Path;

#[path = "../../../fuzz/trust_files.rs"]
mod trust_files;

#[test]
fn the_corpus_is_read_in_full_and_damaged_files_are_refused() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/pem");
    let (mut good, mut bad) = (0, 0);
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // The name of a file states its expected result.
        let meant = if trust_files::must_lose_nothing(&bytes) {
            good += 1;
            "good-"
        } else {
            bad += 1;
            "bad-"
        };
        assert!(name.starts_with(meant), "{name} is {meant}");
    }
    assert!(good >= 8 && bad >= 8, "{good} {bad}");
}
