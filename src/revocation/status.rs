//! What is known of the sources, for people and metrics.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::source::Source;
use crate::sync::Mutex;

/// What is known of one source. Times are in seconds of unix time.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Whether it is of lists or of a certificate's status: `crl` or `ocsp`.
    pub kind: &'static str,
    /// Where it is.
    pub url: String,
    /// When it last brought something of use.
    pub fetched: Option<i64>,
    /// When it is asked next.
    pub next: Option<i64>,
    /// Why the last fetch failed, if the one after it has not succeeded; and when that was.
    pub last_error: Option<(String, i64)>,
    /// How many fetches have brought something of use.
    pub successes: u64,
    /// How many have not.
    pub failures: u64,
}

/// What is known of all of them, by their files.
#[derive(Debug, Default)]
pub struct Statuses(Mutex<BTreeMap<PathBuf, Status>>);

impl Statuses {
    /// What is known of the source of this file.
    pub fn get(&self, file: &Path) -> Status {
        self.0.lock().get(file).cloned().unwrap_or_default()
    }

    /// What is known of all sources, by their files.
    pub fn all(&self) -> BTreeMap<PathBuf, Status> {
        self.0.lock().clone()
    }

    /// Makes a source known. What is known of its file stays.
    pub(super) fn know(&self, source: &Source) {
        self.update(&source.file, |status| {
            status.kind = source.wanted.word();
            status.url.clone_from(&source.url);
        });
    }

    pub(super) fn update(&self, file: &Path, change: impl FnOnce(&mut Status)) {
        change(self.0.lock().entry(file.to_owned()).or_default());
    }

    pub(super) fn forget(&self, file: &Path) {
        self.0.lock().remove(file);
    }
}
