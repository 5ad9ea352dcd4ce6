//! Rechecks without the control loop.

use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc;
use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::runtime::Builder;

use super::*;
use crate::config::load::Source;
use crate::connection::table::ConnGuard;
use crate::control::fixtures::{self, CONFIGURATION, Parts};

/// Runs a test on a runtime with one blocking thread, and a configuration whose routes have other names
/// than those of the test's connections.
fn with_one_blocking_thread(test: impl AsyncFnOnce(Parts)) {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.max_blocking_threads(1).enable_all().build();
    runtime.unwrap().block_on(async {
        let source = Source::Text {
            text: CONFIGURATION.replace("name: all", "name: other"),
            path: "test.yaml".into(),
            dir: "".into(),
        };
        test(Parts::of(source)).await;
    });
}

/// Occupies the blocking thread until the sender is dropped.
fn occupy() -> mpsc::Sender<()> {
    let (sender, receiver) = mpsc::channel();
    spawn_blocking(move || receiver.recv());
    sender
}

/// Waits for what the blocking thread has been given so far.
async fn all_done() {
    spawn_blocking(|| ()).await.unwrap();
}

/// Writes a certificate `a.pem` with its key `a.key`, its CA `ca.pem`, and a configuration that requires
/// certificates of this CA.
fn write_client_auth(directory: &Path) {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["a.test".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &ca).unwrap();
    let text = CONFIGURATION
        .replace("protocol: tcp", "protocol: tls")
        .replace("forward,", "terminate, match: { sni: a.test },")
        .replace(
            "    routes:",
            "    tls:\n      certificates: [{ cert: a.pem, key: a.key }]\n      \
             client_auth: { mode: required, ca: ca.pem }\n    routes:",
        );
    for (name, contents) in [
        ("a.pem", leaf.pem()),
        ("a.key", key.serialize_pem()),
        ("ca.pem", ca.as_ref().pem()),
        ("config.yaml", text),
    ] {
        let path = directory.join(name);
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[tokio::test]
async fn a_connection_whose_verification_panics_is_closed_and_the_others_are_judged() {
    let directory = tempfile::tempdir().unwrap();
    write_client_auth(directory.path());
    let Parts { live, table, .. } = Parts::of(Source::File(directory.path().join("config.yaml")));
    let [broken, refused, kept] = [1, 2, 3].map(|id| fixtures::connection(&table, id));
    let judge: Judge = |info, _, _, _| match info.record.id {
        1 => panic!("a defect of the verification"),
        2 => Verdict::Close(Reason::ClientCertRevoked),
        _ => Verdict::Keep,
    };
    let snapshot = live.load();
    recheck_by(judge, take_older(&table, &snapshot), &snapshot);
    let ends_with = |connection: &ConnGuard<ConnInfo>| match connection.conn().handle.command() {
        Some(Command::End { reason, .. }) => Some(reason),
        _ => None,
    };
    assert_eq!(ends_with(&broken), Some(Reason::InternalPanic));
    assert_eq!(ends_with(&refused), Some(Reason::ClientCertRevoked));
    assert_eq!(ends_with(&kept), None);
}

#[test]
fn a_slow_recheck_does_not_hold_up_the_control_loop() {
    with_one_blocking_thread(async |Parts { live, table, .. }| {
        let mut late = LateRecheck::default();
        let slow = occupy();
        let connection = fixtures::connection(&table, 1);
        late.start(&table, &live.load());
        assert_eq!(connection.conn().handle.command(), None);
        drop(slow);
        all_done().await;
        assert!(connection.conn().handle.command().is_some());
    });
}

#[test]
fn a_connection_that_comes_during_a_recheck_is_found_after_it() {
    with_one_blocking_thread(async |Parts { live, table, .. }| {
        let mut late = LateRecheck::default();
        let early = fixtures::connection(&table, 1);
        let slow = occupy();
        late.start(&table, &live.load());
        let during = fixtures::connection(&table, 2);
        late.start(&table, &live.load());
        drop(slow);
        all_done().await;
        assert!(early.conn().handle.command().is_some());
        assert_eq!(during.conn().handle.command(), None);
        late.start(&table, &live.load());
        all_done().await;
        assert!(during.conn().handle.command().is_some());
    });
}
