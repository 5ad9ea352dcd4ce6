//! What is known of the certificates that issuers keep, for people and metrics.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::definition::Managed;
use super::failure::Kind;
use crate::sync::Mutex;

/// What is known of one certificate.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Its issuer.
    issuer: Arc<str>,
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
    /// The certificates whose last order failed.
    pub failing: u64,
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
        let mut orders = self.orders.lock().clone();
        for status in self.certificates.lock().values() {
            if status.last_error.is_some() {
                orders
                    .entry(Arc::clone(&status.issuer))
                    .or_default()
                    .failing += 1;
            }
        }
        orders
    }

    /// Counts the orders of an issuer from now on: a counter that begins with its first event hides that
    /// event.
    pub(super) fn expect(&self, issuer: &Arc<str>) {
        self.orders.lock().entry(Arc::clone(issuer)).or_default();
    }

    pub(super) fn update(&self, managed: &Managed, change: impl FnOnce(&mut Status)) {
        let mut certificates = self.certificates.lock();
        let status = certificates.entry(managed.file.clone()).or_default();
        status.issuer = Arc::clone(&managed.issuer.name);
        change(status);
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
