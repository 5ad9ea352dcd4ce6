//! Directories of certificates as ACME clients, mkcert, Kubernetes and people leave them. A pair that
//! cannot be presented is reported and does not affect the others.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::harness::{
    ConfigCheck, Finished, Identity, command_as, finish, give_to, is_root, pki, reseal_in,
};

/// An endpoint with `dir: live`, and a valid pair in it.
fn checked() -> ConfigCheck {
    ConfigCheck::new(
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

fn live(checked: &ConfigCheck) -> PathBuf {
    checked.path().with_file_name("live")
}

/// A certificate in the layout of certbot: files in `archive`, links in `live`.
fn archive(checked: &ConfigCheck, name: &str) -> PathBuf {
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
fn half_a_pair_is_reported_and_the_others_are_used() {
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
fn a_dangling_link_is_reported() {
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

/// Runs `check --strict` as an unprivileged user.
fn check_as_unprivileged_user(checked: &ConfigCheck) -> Finished {
    let directory = checked.path().parent().unwrap().to_owned();
    if !is_root() {
        return checked.check(&["--strict"]);
    }
    // The build may be in a directory that the user cannot search.
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
fn an_unreadable_directory_is_not_an_empty_one() {
    let checked = checked();
    let archive = archive(&checked, "b.test");
    let directory = checked.path().parent().unwrap().to_owned();
    open(&directory);
    give_to("65534", &directory);
    check_as_unprivileged_user(&checked).must_exit_with(0);

    close(&archive.join("b.test"));
    let report = check_as_unprivileged_user(&checked);
    report
        .must_exit_with(1)
        .must_print("warning: ")
        .must_print("b.test/");
    report.must_print("Permission denied");

    // No other pair is left: the error is the reason, and not that there is no pair.
    fs::remove_file(live(&checked).join("a.test.pem")).unwrap();
    fs::remove_file(live(&checked).join("a.test.key")).unwrap();
    let report = check_as_unprivileged_user(&checked);
    report
        .must_exit_with(1)
        .must_print("error: ")
        .must_print("Permission denied");
    assert!(
        !report.text().contains("holds no pair"),
        "{}",
        report.text()
    );
    open(&archive.join("b.test"));
}

#[test]
fn the_output_of_reseal_certs_can_be_used_as_a_directory() {
    let checked = checked();
    let directory = live(&checked);
    fs::remove_dir_all(&directory).unwrap();
    reseal_in(
        checked.path().parent().unwrap(),
        &["certs", "--out", "live", "a.test"],
    )
    .must_exit_with(0);
    let report = checked.check(&["--strict"]);
    report.must_exit_with(0);
    report
        .must_print("notice: ")
        .must_print("ca.pem: is a CA's certificate");
    report.must_print("client.pem: is a certificate for clients alone");
    assert!(!report.text().contains("names: ["), "{}", report.text());
}

#[test]
fn a_kubernetes_volume_has_each_pair_once() {
    let checked = checked();
    let live = live(&checked);
    let b = pki().edge(&["b.test"]);
    let checked = checked
        .with_identity("live/..2026_11_27_10_00_00.1/b.test", &b)
        // The volume's directory appears to hold a second pair, which is the same.
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
