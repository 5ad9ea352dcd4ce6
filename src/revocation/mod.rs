//! What CAs publish about revocation and the process fetches: lists, and responses to be stapled. It is kept
//! in files, from where it is read as any other. Knows no endpoint and no policy: a source says which CAs
//! must have signed.

mod keeper;
mod lists;
mod source;
mod staples;
mod status;

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use self::keeper::Keeper;
pub use self::keeper::probe;
pub use self::source::{Lists, Reach, Source, Staple, Wanted};
pub use self::status::Statuses;
use crate::state::Tasks;
use crate::upstream::Lookup;

/// The sources that this process fetches from, each with its task.
#[derive(Debug)]
pub struct Fetchers {
    lookup: Lookup,
    statuses: Arc<Statuses>,
    changed: mpsc::Sender<()>,
    tasks: Tasks<Source>,
}

impl Fetchers {
    /// None yet. Tasks will run on `control`; `changed` is told when a file has another content.
    pub fn new(control: Handle, lookup: Lookup, changed: mpsc::Sender<()>) -> Self {
        Self {
            lookup,
            statuses: Arc::default(),
            changed,
            tasks: Tasks::new(control),
        }
    }

    /// What is known of the sources.
    pub const fn statuses(&self) -> &Arc<Statuses> {
        &self.statuses
    }

    /// Fetches from these sources from now on, and from no others.
    pub fn apply(&mut self, all: &[Arc<Source>]) {
        let start = |source: &Arc<Source>| {
            self.statuses.know(source);
            let keeper = Keeper {
                source: Arc::clone(source),
                lookup: self.lookup.clone(),
                statuses: Arc::clone(&self.statuses),
                changed: self.changed.clone(),
            };
            keeper.run()
        };
        for gone in self.tasks.apply(all, start) {
            self.statuses.forget(&gone);
        }
    }

    /// Fetches nothing from now on: the process stops.
    pub fn stop(&mut self) {
        self.tasks.stop();
    }
}
