//! Reloads without the control loop.

use std::fs;

use tokio::sync::oneshot;

use super::*;
use crate::config::file_stamps::FileStamps;
use crate::config::load::Source;
use crate::control::fixtures::{CONFIGURATION, Parts};

/// A configuration file, its reloads and what they change.
struct Process {
    directory: tempfile::TempDir,
    parts: Parts,
}

impl Process {
    fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), CONFIGURATION)
    }

    fn start_in(directory: tempfile::TempDir, configuration: &str) -> Self {
        let path = directory.path().join("config.yaml");
        fs::write(&path, configuration).unwrap();
        Self {
            parts: Parts::of(Source::File(path)),
            directory,
        }
    }

    async fn reload(&mut self, scope: Scope) -> crate::admin::RequestResult {
        let (reply, result) = oneshot::channel();
        let Parts {
            reloads,
            listeners,
            origins,
            ..
        } = &mut self.parts;
        reloads.request(scope, Some(reply));
        let read = reloads.files_read().await;
        reloads.finish(read, listeners, origins).await;
        result.await.unwrap()
    }

    /// A renewal that the watch asks for, with the stamps that it has taken.
    async fn renew(&mut self, stamps: FileStamps) {
        let Parts {
            reloads,
            listeners,
            origins,
            ..
        } = &mut self.parts;
        reloads.files_changed(FileChange {
            scope: Scope::Materials,
            stamps: Arc::new(stamps),
        });
        let read = reloads.files_read().await;
        reloads.finish(read, listeners, origins).await;
    }

    fn certificate(&self) -> Vec<u8> {
        let snapshot = self.parts.live.load();
        let certificates = &snapshot.endpoints[0].certificates;
        certificates[0].pair.key.cert[0].to_vec()
    }

    fn generation(&self) -> u64 {
        self.parts.live.load().generation
    }
}

#[tokio::test]
async fn a_renewal_swaps_the_snapshot_and_has_its_files_watched() {
    let mut process = Process::start();
    let mut watched = process.parts.reloads.targets.watch_set.subscribe();
    let report = process.reload(Scope::Materials).await.unwrap();
    assert_eq!(report["generation"], 2);
    assert_eq!(process.generation(), 2);
    assert!(watched.has_changed().unwrap());
    assert!(watched.borrow_and_update().file.is_some());
    assert_eq!(process.parts.reloads.last().unwrap()["result"], "done");
}

#[tokio::test]
async fn a_refused_reload_changes_nothing_and_is_remembered_with_its_reasons() {
    let mut process = Process::start();
    let path = process.directory.path().join("config.yaml");
    fs::write(path, CONFIGURATION.replace("forward", "backward")).unwrap();
    let refused = process.reload(Scope::All).await.unwrap_err();
    assert!(refused.message.contains("backward"), "{}", refused.message);
    assert_eq!(process.generation(), 1);
    let last = process.parts.reloads.last().unwrap();
    assert_eq!(last["result"], "refused");
    assert!(last["reasons"][0].as_str().unwrap().contains("backward"));
}

#[tokio::test]
async fn a_pair_that_changes_after_the_watch_has_looked_is_found_when_it_looks_again() {
    let directory = tempfile::tempdir().unwrap();
    let pair = directory.path().join("pair.pem");
    let issue = || {
        let new = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let text = new.cert.pem() + &new.signing_key.serialize_pem();
        fs::write(&pair, text).unwrap();
        new.cert.der().to_vec()
    };
    let first = issue();
    let mut process = Process::start_in(
        directory,
        "
process: { key_permissions: warn }
endpoints:
  - name: edge
    listen: 127.0.0.1:0
    tls: { certificates: [{ cert: pair.pem }] }
    routes: [{ name: all, match: { sni: a.test }, mode: terminate, upstream: up }]
upstreams: { up: { origins: [\"127.0.0.1:9\"] } }
",
    );
    let mut watched = process.parts.reloads.targets.watch_set.subscribe();
    assert_eq!(process.certificate(), first);

    // The stamps are those of the first pair, and the file has the second one when it is read.
    let stamps = FileStamps::of([pair.as_path()]);
    let second = issue();
    process.renew(stamps).await;
    let known = Arc::clone(&watched.borrow_and_update().material_stamps);
    assert!(!known.is_current(&pair), "the watch sees no difference");

    process.renew(FileStamps::of([pair.as_path()])).await;
    assert_eq!(process.certificate(), second);
    assert!(
        watched
            .borrow_and_update()
            .material_stamps
            .is_current(&pair)
    );
}
