//! The fuzzing corpora of revocation lists and OCSP responses, as tests.

use std::path::Path;

#[path = "../../../fuzz/revocation.rs"]
mod revocation;
#[path = "../../../fuzz/staple.rs"]
mod staple;

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let files = std::fs::read_dir(path)
        .unwrap()
        .map(|file| file.unwrap().path());
    files
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect()
}

#[test]
fn no_list_of_the_corpus_admits_a_certificate_that_is_revoked() {
    let read = |(_, bytes): &(_, Vec<u8>)| revocation::must_refuse_the_revoked(bytes);
    let count: usize = corpus("revocation").iter().map(read).sum();
    assert!(count >= 10, "{count}");
}

#[test]
fn responses_of_the_corpus_are_valid_only_for_their_certificate() {
    for (name, bytes) in corpus("staple") {
        let is_good = staple::must_be_about_the_certificate(&bytes);
        assert_eq!(is_good, name.starts_with("good-"), "{name}");
    }
}
