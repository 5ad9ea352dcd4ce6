//! `reseal certs`: names, files and CAs.

use std::fs;
use std::path::Path;

use super::files;
use crate::harness::{Directory, Finished, output, reseal};

fn certs(directory: &Path, names: &[&str]) -> Finished {
    let directory = directory.display().to_string();
    let mut arguments = vec!["certs", "--out", &directory, "--"];
    arguments.extend(names);
    reseal(&arguments)
}

#[test]
fn certs_takes_addresses_wildcards_and_unicode_names_and_writes_nothing_when_one_is_bad() {
    let directory = Directory::new();
    let good = ["10.0.0.1", "*.x.test", "ünï.test"];
    let with_a_bad_one: Vec<_> = good.into_iter().chain(["a b"]).collect();
    certs(directory.path(), &with_a_bad_one).must_exit_with(1);
    assert_eq!(files(directory.path()), Vec::<String>::new());
    certs(directory.path(), &good).must_exit_with(0);
    let made = files(directory.path());
    for file in [
        "10.0.0.1.pem",
        "_wildcard.x.test.pem",
        "xn--n-nga1b.test.pem",
        "client.pem",
    ] {
        assert!(made.iter().any(|name| name == file), "{file} in {made:?}");
    }
}

#[test]
fn certs_refuses_names_that_are_not_hosts() {
    let directory = Directory::new();
    for name in [
        "a b",
        "../a",
        "a/b",
        "a..b",
        "",
        ".",
        "-a",
        "*",
        "*.*.test",
        "a.*.test",
        "https://a.test",
        "a.test:443",
        "a.test\n",
        "bad\u{202e}.test",
    ] {
        certs(directory.path(), &["good.test", name])
            .must_exit_with(1)
            .must_print("neither a host name nor an address");
        assert_eq!(files(directory.path()), Vec::<String>::new(), "{name:?}");
    }
}

#[test]
fn certs_writes_all_files_or_none() {
    for taken in ["b.test.pem", "b.test.key"] {
        let directory = Directory::new();
        directory.write(taken, "in use");
        certs(directory.path(), &["a.test", "b.test", "c.test"])
            .must_exit_with(1)
            .must_print(taken)
            .must_print("exists already");
        assert_eq!(files(directory.path()), [taken]);
        assert_eq!(fs::read_to_string(directory.join(taken)).unwrap(), "in use");
    }
    // A second run with an existing CA leaves it unchanged.
    let directory = Directory::new();
    certs(directory.path(), &["a.test"]).must_exit_with(0);
    let before = files(directory.path());
    let authority = fs::read(directory.join("ca.pem")).unwrap();
    certs(directory.path(), &["b.test", "a.test"]).must_exit_with(1);
    assert_eq!(files(directory.path()), before);
    certs(directory.path(), &["b.test"]).must_exit_with(0);
    assert_eq!(fs::read(directory.join("ca.pem")).unwrap(), authority);
    let chain = directory.join("b.test.pem").display().to_string();
    let authority = directory.join("ca.pem").display().to_string();
    output("openssl", &["verify", "-CAfile", &authority, &chain], "").must_exit_with(0);
}

#[test]
fn certs_refuses_an_incomplete_ca_and_reserved_names() {
    for half in ["ca.pem", "ca.key"] {
        let directory = Directory::new();
        directory.write(half, "another file");
        certs(directory.path(), &["a.test"])
            .must_exit_with(1)
            .must_print(half);
        assert_eq!(files(directory.path()), [half]);
    }
    for names in [["a.test", "ca"], ["a.test", "client"], ["a.test", "a.test"]] {
        let directory = Directory::new();
        certs(directory.path(), &names)
            .must_exit_with(1)
            .must_print(names[1]);
        assert_eq!(files(directory.path()), Vec::<String>::new(), "{names:?}");
    }
}

#[test]
fn certificate_authorities_have_different_names() {
    let (one, two) = (Directory::new(), Directory::new());
    let subjects: Vec<_> = [&one, &two]
        .iter()
        .map(|directory| {
            certs(directory.path(), &["a.test"]).must_exit_with(0);
            let ca = directory.join("ca.pem").display().to_string();
            let printed = output("openssl", &["x509", "-noout", "-subject", "-in", &ca], "");
            printed.must_exit_with(0);
            printed.stdout
        })
        .collect();
    assert!(
        subjects[0].contains("Reseal development CA"),
        "{subjects:?}"
    );
    assert_ne!(subjects[0], subjects[1]);
}

#[test]
fn generated_certificates_work_in_a_handshake() {
    use crate::harness::{Origin, Proxy};
    let directory = Directory::new();
    certs(
        directory.path(),
        &["a.test", "127.0.0.1", "::1", "*.wild.test"],
    )
    .must_exit_with(0);
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .route("terminate", "a.test", &origin)
        .identity(&crate::harness::Identity {
            cert: read("a.test.pem"),
            key: read("a.test.key"),
        })
        .start();
    let address = proxy.listen_addr("edge").to_string();
    let ca = directory.join("ca.pem").display().to_string();
    let options = [
        "s_client",
        "-connect",
        &address,
        "-servername",
        "a.test",
        "-verify_hostname",
        "a.test",
        "-CAfile",
        &ca,
        "-verify_return_error",
    ];
    output("openssl", &options, "Q\n")
        .must_exit_with(0)
        .must_print("Verify return code: 0 (ok)");
    assert!(files(directory.path()).contains(&"_wildcard.wild.test.pem".to_owned()));
}
