//! The fuzzing corpus of files of certificates, keys and lists, as a test.

use std::path::Path;

#[path = "../../../fuzz/trust_files.rs"]
mod trust_files;

#[test]
fn nothing_is_lost_of_the_corpus_and_what_is_damaged_is_refused() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/pem");
    let (mut good, mut bad) = (0, 0);
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // What a file is meant to be stands in its name.
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
