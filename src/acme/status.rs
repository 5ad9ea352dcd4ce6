//! What is known of the certificates that issuers keep, for people and metrics.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::failure::Kind;
use crate::sync::Mutex;

/// What is known of one certificate.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Whether an order is in progress.
    pub is_ordering: bool,
    /// When the next order is due, in seconds of unix time.
    pub next_order: Option<i64>,
    /// Why the last order failed, if the one after it has not succeeded; and when that was.
    pub last_error: Option<(String, i64)>,
}

/// How the orders of one issuer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderCounts {
    /// Those that brought a certificate.
    pub issued: u64,
    /// Those that failed, by kind, in the order of [`Kind::ALL`].
    pub failed: [u64; Kind::ALL.len()],
}

/// What is known of all certificates, by their files, and of the orders of all issuers.
#[derive(Debug, Default)]
pub struct Statuses {
    certificates: Mutex<BTreeMap<PathBuf, Status>>,
    orders: Mutex<BTreeMap<Arc<str>, OrderCounts>>,
}

impl Statuses {
    /// What is known of the certificate of this file.
    pub fn get(&self, file: &Path) -> Status {
        self.certificates
            .lock()
            .get(file)
            .cloned()
            .unwrap_or_default()
    }

    /// How the orders of each issuer ended.
    pub fn orders(&self) -> BTreeMap<Arc<str>, OrderCounts> {
        self.orders.lock().clone()
    }

    pub(super) fn update(&self, file: &Path, change: impl FnOnce(&mut Status)) {
        change(self.certificates.lock().entry(file.to_owned()).or_default());
    }

    pub(super) fn forget(&self, file: &Path) {
        self.certificates.lock().remove(file);
    }

    pub(super) fn count(&self, issuer: &Arc<str>, failed: Option<Kind>) {
        let mut orders = self.orders.lock();
        let counts = orders.entry(Arc::clone(issuer)).or_default();
        match failed {
            None => counts.issued += 1,
            Some(kind) => {
                let place = Kind::ALL.iter().position(|known| *known == kind);
                counts.failed[place.unwrap_or_default()] += 1;
            }
        }
    }
}
