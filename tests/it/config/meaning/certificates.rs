//! Certificates of endpoints: keys, names, dates, directories.

use super::{certificates, routes};
use crate::harness::{ConfigCheck, Leaf, pki};

#[test]
fn a_certificate_must_match_its_key() {
    certificates("{ cert: good.pem, key: other.key }")
        .with_identity("other", &pki().edge(&["other.test"]))
        .must_report("good.pem", &["does not match the key", "other.key"]);
}

#[test]
fn a_terminating_route_needs_a_certificate_for_its_name() {
    let checked =
        routes("      - { name: b, match: { sni: b.test }, mode: terminate, upstream: up }\n");
    checked.must_report("b.test", &["covers `b.test`", "`a.test`"]);
    // A wildcard route is not covered by one of its names, nor a deeper name by the wildcard.
    let checked = routes(
        "      - { name: b, match: { sni: \"*.a.test\" }, mode: terminate, upstream: up }\n",
    );
    checked.must_report("\"*.a.test\"", &["covers `*.a.test`"]);
    let checked = routes(
        "      - { name: b, match: { sni: x.y.wild.test }, mode: terminate, upstream: up }\n",
    );
    checked.must_report("x.y.wild.test", &["covers `x.y.wild.test`"]);
    routes("      - { name: b, match: { sni: \"*.wild.test\" }, mode: terminate, upstream: up }\n")
        .must_be_good();
    routes("      - { name: b, match: { sni: b.test }, mode: passthrough, upstream: up }\n")
        .must_be_good();
}

#[test]
fn a_key_that_every_user_may_read_is_refused_with_a_hint() {
    let good = pki().edge(&["a.test"]);
    let checked = certificates("{ cert: open.pem, key: open.key }")
        .with_identity("open", &good)
        .with_file("open.key", &good.key, 0o644);
    checked.must_report(
        "open.key",
        &[
            "every user may read",
            "chmod 0640",
            "defaultMode",
            "key_permissions: warn",
        ],
    );
    let checked = checked.with_file("open.key", &good.key, 0o640);
    checked.must_be_good();
}

#[test]
fn a_key_that_every_user_may_read_can_be_only_a_warning() {
    let good = pki().edge(&["a.test"]);
    ConfigCheck::new(
        "process: { key_permissions: warn }\n\
         endpoints:\n\
         \x20 - name: edge\n\
         \x20   listen: 127.0.0.1:4430\n\
         \x20   tls: { certificates: [{ cert: open.pem, key: open.key }] }\n\
         \x20   routes: [{ name: a, match: { sni: a.test }, mode: terminate, upstream: up }]\n\
         upstreams: { up: { origins: [\"127.0.0.1:9\"] } }\n",
    )
    .with_identity("open", &good)
    .with_file("open.key", &good.key, 0o644)
    .must_warn("open.key", &["every user may read"]);
}

#[test]
fn dates_of_certificates_are_warned_about() {
    let leaf = || Leaf::server(&["a.test"]);
    let cases = [
        (leaf().expired(), "expired on"),
        (leaf().early(), "not valid before"),
        (leaf().since_days(87).for_days(3), "expires soon"),
    ];
    for (leaf, words) in cases {
        certificates("{ cert: dated.pem, key: dated.key }")
            .with_identity("dated", &pki().edge.issue(&leaf))
            .must_warn("dated.pem", &["dated.pem", words]);
    }
}

#[test]
fn a_weak_certificate_is_warned_about() {
    let checked = certificates("{ cert: weak.pem, key: weak.key }");
    let directory = checked.path().parent().unwrap().display().to_string();
    make_self_signed(&directory, &["-newkey", "rsa:2048", "-sha1"]);
    checked.must_warn("weak.pem", &["weak.pem", "SHA-1"]);
}

#[test]
fn a_key_too_short_for_tls_is_refused() {
    let checked = certificates("{ cert: weak.pem, key: weak.key }");
    let directory = checked.path().parent().unwrap().display().to_string();
    make_self_signed(&directory, &["-newkey", "rsa:1024"]);
    checked.must_report("weak.key", &["weak.key", "1024 bits"]);
}

#[track_caller]
fn make_self_signed(directory: &str, how: &[&str]) {
    let (cert, key) = (
        format!("{directory}/weak.pem"),
        format!("{directory}/weak.key"),
    );
    let mut arguments = vec!["req", "-x509", "-nodes", "-days", "90", "-subj", "/CN=weak"];
    arguments.extend([
        "-addext",
        "subjectAltName=DNS:a.test",
        "-keyout",
        &key,
        "-out",
        &cert,
    ]);
    arguments.extend(how);
    crate::harness::output("openssl", &arguments, "").must_exit_with(0);
}

#[test]
fn every_pair_of_a_certificate_directory_is_read() {
    let checked = certificates("{ dir: live }");
    checked.must_report("live", &["live", "cannot be read"]);
    let live = checked.path().with_file_name("live");
    std::fs::create_dir_all(live.join("two")).unwrap();
    checked.must_report("live", &["holds no pair"]);
    let (one, two) = (pki().edge(&["a.test"]), pki().edge(&["b.test"]));
    let checked = checked
        .with_identity("live/one", &one)
        .with_file("live/b.test/fullchain.pem", &two.cert, 0o644)
        .with_file("live/b.test/privkey.pem", &two.key, 0o600);
    checked.must_be_good();
    // Directories are named as by ACME clients, with dots.
    let three = pki().edge(&["b.other"]);
    let checked = checked
        .with_file("live/b.other/fullchain.pem", &three.cert, 0o644)
        .with_file("live/b.other/privkey.pem", &three.key, 0o600);
    checked.must_be_good();
    let finished = checked.check(&[]);
    for name in ["one", "b.test", "b.other"] {
        let cell = format!("{name} ");
        assert!(finished.stdout.contains(&cell), "{}", finished.stdout);
    }
}
