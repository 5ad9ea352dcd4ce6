//! The fuzzing corpus of ClientHellos, as a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{ForgedHello, extension, noise, record};

#[path = "../../../fuzz/decision.rs"]
mod decision;

use decision::{Decision, decide, must_not_depend_on_fragmentation};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/hello")
}

/// The hellos that fuzzing begins with.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let a = || ForgedHello::new(b"a.test");
    let name = |bytes: &[u8]| ForgedHello::new(bytes).bytes();
    let hello = a().bytes();
    vec![
        ("exact", hello.clone()),
        ("h2", a().alpn(&["h2", "http/1.1"]).bytes()),
        ("dot", name(b"A.Test.")),
        ("two-dots", name(b"a.test..")),
        ("wild", name(b"x.wild.test")),
        ("strict", name(b"strict.test")),
        ("address", name(b"127.0.0.1")),
        ("nul", name(b"a.test\0.evil")),
        ("long", name(&[b'a'; 300])),
        ("nameless", ForgedHello::without_sni().bytes()),
        (
            "twice",
            a().with(extension::SERVER_NAME, vec![0, 0]).bytes(),
        ),
        ("chacha", a().suites(&[0x1303, 0x1301]).bytes()),
        ("old", ForgedHello::tls11(b"a.test").bytes()),
        ("compressed", a().compression(1).bytes()),
        ("no-groups", a().without(extension::GROUPS).bytes()),
        ("in-records", a().in_records_of(5)),
        ("padded", a().padded_to(2_000).bytes()),
        ("two", [hello.clone(), hello.clone()].concat()),
        ("cut", hello[..hello.len() - 1].to_vec()),
        ("trailing", [&hello[..], b"xyz"].concat()),
        (
            "alert",
            [record(&hello[5..20]), vec![21, 3, 3, 0, 2, 2, 40]].concat(),
        ),
        ("empty-record", [record(b""), hello].concat()),
        ("http", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("noise", noise(64, 1)),
    ]
}

/// Writes the corpus instead if `RESEAL_WRITE_CORPUS` is set.
#[test]
fn the_corpus_holds_the_seeds() {
    let write = std::env::var_os("RESEAL_WRITE_CORPUS").is_some();
    if write {
        fs::create_dir_all(directory()).unwrap();
    }
    for (name, bytes) in seeds() {
        let path = directory().join(name);
        if write {
            fs::write(&path, &bytes).unwrap();
        }
        let stored = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(stored, bytes, "RESEAL_WRITE_CORPUS=1 writes {name} anew");
    }
}

#[test]
fn promise_11_the_corpus_is_decided_alike_whole_and_split() {
    let mut decisions = BTreeSet::new();
    for entry in fs::read_dir(directory()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        must_not_depend_on_fragmentation(&bytes);
        decisions.insert(match decide([&bytes[..]]) {
            Decision::More => "more".to_owned(),
            Decision::Refused(reason, _) => reason.to_owned(),
            Decision::Routed(route, ..) => format!("{route:?}"),
        });
    }
    for seen in [
        "more",
        "not_tls",
        "hello_malformed",
        "no_common_version",
        "Ok(\"a\")",
        "Ok(\"a over h2\")",
        "Ok(\"wild\")",
        "Err(\"NoName\")",
        "Err(\"NoMatch\")",
    ] {
        assert!(
            decisions.contains(seen),
            "nothing is decided as {seen}: {decisions:?}"
        );
    }
}
