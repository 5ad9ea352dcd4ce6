//! A spare descriptor of a listener, so that it answers when the process has no other left.

use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use crate::sync::Mutex;

/// The spare descriptor. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Spare(Arc<Mutex<Option<File>>>);

/// Opens the spare descriptor again when a connection has ended.
pub(super) struct Refill(Spare);

impl Spare {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(open())))
    }

    /// Whether accepting failed for lack of descriptors and there is one more now.
    pub(super) fn replaces(&self, error: &io::Error) -> bool {
        let lacks = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
        let is_lack = error
            .raw_os_error()
            .is_some_and(|error| lacks.contains(&error));
        is_lack && self.0.lock().take().is_some()
    }

    /// A guard that is dropped when a connection has closed its descriptor.
    pub(super) fn refill_on_drop(&self) -> Refill {
        Refill(self.clone())
    }
}

impl Drop for Refill {
    fn drop(&mut self) {
        let mut spare = self.0.0.lock();
        if spare.is_none() {
            *spare = open();
        }
    }
}

/// Any file: it is only there to be closed.
fn open() -> Option<File> {
    File::open("/dev/null").ok()
}
