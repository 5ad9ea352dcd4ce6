//! Reloads without the control loop.

use std::fs;

use tokio::sync::oneshot;

use super::*;
use crate::config::load::Source;
use crate::control::fixtures::{CONFIGURATION, Parts};

/// A configuration file, its reloads and what they change.
struct Process {
    directory: tempfile::TempDir,
    parts: Parts,
}

impl Process {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        fs::write(&path, CONFIGURATION).unwrap();
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
