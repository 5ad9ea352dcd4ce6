//! Directories of certificates, as clients of ACME, mkcert, Kubernetes and people leave them: what cannot
//! be presented is told, and takes nothing else down.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::harness::{
    Checked, Finished, Identity, command_as, finish, give_to, is_root, pki, reseal_in,
};

/// An endpoint with `dir: live`, and a good pair in it.
fn checked() -> Checked {
    Checked::new(
        "endpoints:
  - name: edge
    listen: 127.0.0.1:4430
    tls: { certificates: [{ dir: live }] }
    routes: [{ name: a, match: { sni: a.test }, mode: terminate, upstream: up }]
upstreams: { up: { origins: [\"127.0.0.1:9\"] } }
",
    )
    .with_identity("live/a.test", &pki().edge(&["a.test"]))
}

fn live(checked: &Checked) -> PathBuf {
    checked.path().with_file_name("live")
}

/// A certificate as certbot lays it out: files in `archive`, links in `live`.
fn archive(checked: &Checked, name: &str) -> PathBuf {
    let Identity { cert, key } = pki().edge(&[name]);
    let (live, archive) = (live(checked), checked.path().with_file_name("archive"));
    fs::create_dir_all(live.join(name)).unwrap();
    fs::create_dir_all(archive.join(name)).unwrap();
    for (file, contents) in [("fullchain", cert), ("privkey", key)] {
        let place = archive.join(name).join(format!("{file}1.pem"));
        fs::write(&place, contents).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).unwrap();
        let target = format!("../../archive/{name}/{file}1.pem");
        symlink(target, live.join(name).join(format!("{file}.pem"))).unwrap();
    }
    archive
}

#[test]
fn half_a_pair_is_told_and_the_others_are_read() {
    let b = pki().edge(&["b.test"]);
    for (name, contents, words) in [
        (
            "live/b.test.pem",
            &b.cert,
            ["live/b.test.pem: ", "there is no b.test.key"],
        ),
        (
            "live/b.test.key",
            &b.key,
            ["live/b.test.key: ", "there is no b.test.pem"],
        ),
        (
            "live/b.test/fullchain.pem",
            &b.cert,
            ["b.test/fullchain.pem: ", "there is no privkey.pem"],
        ),
        (
            "live/b.test/privkey.pem",
            &b.key,
            ["b.test/privkey.pem: ", "there is no fullchain.pem"],
        ),
    ] {
        checked()
            .with_file(name, contents, 0o600)
            .must_warn("live", &words);
    }
    checked()
        .with_file("live/b.test.pem", &b.cert, 0o600)
        .with_file("live/b.test-key.pem", &b.key, 0o600)
        .must_warn(
            "live",
            &["b.test.pem: ", "rename b.test-key.pem to b.test.key"],
        );
}

#[test]
fn a_link_that_leads_nowhere_is_told() {
    let checked = checked();
    let archive = archive(&checked, "b.test");
    checked.must_be_good();
    fs::remove_file(archive.join("b.test/privkey1.pem")).unwrap();
    checked.must_warn(
        "live",
        &[
            "b.test/privkey.pem",
            "a link to something that is not there",
        ],
    );
    fs::remove_dir_all(live(&checked).join("b.test")).unwrap();
    symlink("nowhere", live(&checked).join("b.test")).unwrap();
    checked.must_warn(
        "live",
        &["live/b.test: ", "a link to something that is not there"],
    );
}

/// `check --strict` by somebody who is not root.
fn check_as_nobody(checked: &Checked) -> Finished {
    let directory = checked.path().parent().unwrap().to_owned();
    if !is_root() {
        return checked.check(&["--strict"]);
    }
    // The build may lie where others may not look.
    let binary = directory.join("reseal");
    if !binary.exists() {
        fs::copy(env!("CARGO_BIN_EXE_reseal"), &binary).unwrap();
    }
    let mut command = command_as("65534", &binary.display().to_string());
    command
        .args(["check", "--strict", "--config"])
        .arg(checked.path());
    finish(command, b"")
}

fn close(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
}

fn open(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_directory_that_may_not_be_looked_into_is_not_an_empty_one() {
    let checked = checked();
    let archive = archive(&checked, "b.test");
    let directory = checked.path().parent().unwrap().to_owned();
    open(&directory);
    give_to("65534", &directory);
    check_as_nobody(&checked).must_exit_with(0);

    close(&archive.join("b.test"));
    let told = check_as_nobody(&checked);
    told.must_exit_with(1)
        .must_say("warning: ")
        .must_say("b.test/");
    told.must_say("Permission denied");

    // Nothing else is left: the reason is told, and not that there is none.
    fs::remove_file(live(&checked).join("a.test.pem")).unwrap();
    fs::remove_file(live(&checked).join("a.test.key")).unwrap();
    let told = check_as_nobody(&checked);
    told.must_exit_with(1)
        .must_say("error: ")
        .must_say("Permission denied");
    assert!(!told.text().contains("holds no pair"), "{}", told.text());
    open(&archive.join("b.test"));
}

#[test]
fn what_our_own_certificates_are_made_into_can_be_named_as_a_directory() {
    let checked = checked();
    let directory = live(&checked);
    fs::remove_dir_all(&directory).unwrap();
    reseal_in(
        checked.path().parent().unwrap(),
        &["certs", "--out", "live", "a.test"],
    )
    .must_exit_with(0);
    let told = checked.check(&["--strict"]);
    told.must_exit_with(0);
    told.must_say("notice: ")
        .must_say("ca.pem: is a CA's certificate");
    told.must_say("client.pem: is a certificate for clients alone");
    assert!(!told.text().contains("names: ["), "{}", told.text());
}

#[test]
fn the_layout_of_a_volume_of_kubernetes_has_each_pair_once() {
    let checked = checked();
    let live = live(&checked);
    let b = pki().edge(&["b.test"]);
    let checked = checked
        .with_identity("live/..2026_11_27_10_00_00.1/b.test", &b)
        // What looks like a pair of this directory is one of the volume.
        .with_file("live/..2026_11_27_10_00_00.1/fullchain.pem", &b.cert, 0o600)
        .with_file("live/..2026_11_27_10_00_00.1/privkey.pem", &b.key, 0o600)
        .with_file("live/.#editing.pem", "", 0o600);
    symlink("..2026_11_27_10_00_00.1", live.join("..data")).unwrap();
    symlink("..data/b.test.pem", live.join("b.test.pem")).unwrap();
    symlink("..data/b.test.key", live.join("b.test.key")).unwrap();
    checked.must_be_good();
    let table = checked.check(&[]).stdout;
    assert_eq!(table.matches("\nb.test ").count(), 1, "{table}");
    assert!(!table.contains(".."), "{table}");
}
