//! Certificates that a PKI engine of Vault or OpenBao issues for this process: issued, renewed, written to
//! files of a state directory, from where they are read as any other certificate is, and revoked at the end
//! of the process.
//!
//! One task on the control plane keeps each of them. Knows nothing of upstreams, nor of who presents a
//! certificate.

mod api;
mod definition;
mod files;
mod keeper;
mod status;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use self::definition::{Auth, Engine, Identity, Secret};
pub use self::files::read;
use self::keeper::Keeper;
pub use self::status::{Status, Statuses};
use crate::state::Tasks;
use crate::upstream::Lookup;

/// How long the end of the process waits for revocations.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The certificates that this process keeps, each with its task.
#[derive(Debug)]
pub struct Identities {
    lookup: Lookup,
    statuses: Arc<Statuses>,
    changed: mpsc::Sender<()>,
    all: Vec<Arc<Identity>>,
    tasks: Tasks<Identity>,
}

impl Identities {
    /// None yet. Tasks will run on `control`; `changed` is told when there is another certificate in a file.
    pub fn new(control: Handle, lookup: Lookup, changed: mpsc::Sender<()>) -> Self {
        Self {
            lookup,
            statuses: Arc::default(),
            changed,
            all: Vec::new(),
            tasks: Tasks::new(control),
        }
    }

    /// What is known of the certificates.
    pub const fn statuses(&self) -> &Arc<Statuses> {
        &self.statuses
    }

    /// Keeps these certificates from now on, and no others. The file of one that is kept no longer stays
    /// until it ends.
    pub fn apply(&mut self, all: &[Arc<Identity>]) {
        let start = |identity: &Arc<Identity>| {
            let keeper = Keeper {
                identity: Arc::clone(identity),
                lookup: self.lookup.clone(),
                statuses: Arc::clone(&self.statuses),
                changed: self.changed.clone(),
            };
            keeper.run()
        };
        for gone in self.tasks.apply(all, start) {
            self.statuses.forget(&gone);
        }
        self.all = all.to_vec();
    }

    /// Renews none from now on: the process stops.
    pub fn stop(&mut self) {
        self.tasks.stop();
    }

    /// Revokes those that are to be revoked at the end, and forgets them. Does not take longer than 5 s.
    pub async fn revoke(&self) {
        let mut revoking = JoinSet::new();
        for identity in self.all.iter().filter(|identity| identity.engine.revokes) {
            let (identity, lookup) = (Arc::clone(identity), self.lookup.clone());
            revoking.spawn(async move { keeper::revoke(&identity, &lookup).await });
        }
        let _ = timeout(REVOKE_TIMEOUT, revoking.join_all()).await;
    }
}
