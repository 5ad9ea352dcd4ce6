//! What is known of the certificates that engines issue, for people.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::sync::Mutex;

/// What is known of one certificate. Times are in seconds of unix time.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// When the next one is due.
    pub next: Option<i64>,
    /// Why the last one could not be had, if the one after it was not had; and when that was.
    pub last_error: Option<(String, i64)>,
}

/// What is known of all of them, by their files.
#[derive(Debug, Default)]
pub struct Statuses(Mutex<BTreeMap<PathBuf, Status>>);

impl Statuses {
    /// What is known of the certificate of this file.
    pub fn get(&self, file: &Path) -> Status {
        self.0.lock().get(file).cloned().unwrap_or_default()
    }

    pub(super) fn update(&self, file: &Path, change: impl FnOnce(&mut Status)) {
        change(self.0.lock().entry(file.to_owned()).or_default());
    }

    pub(super) fn forget(&self, file: &Path) {
        self.0.lock().remove(file);
    }
}
