//! Certificates that are kept by CAs of the ACME protocol (RFC 8555): ordered, renewed, and written to
//! files of a state directory, from where they are read as any other certificate is.
//!
//! One task on the control plane keeps each certificate. Workers see [`Challenges`] alone. Knows nothing of
//! endpoints, routes and connections, nor of who presents a certificate.

mod account;
pub mod certificates;
mod challenges;
mod definition;
mod dns;
mod failure;
mod keeper;
mod means;
mod order;
mod probe;
mod responder;
mod schedule;
mod shared;
mod status;
mod validation;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tracing::info;

pub use self::challenges::Challenges;
pub use self::definition::{
    ChallengeKind, ExternalKey, HttpPlace, Identifier, Issuer, KeyKind, Managed,
};
pub use self::dns::{DnsZone, TsigAlgorithm};
pub use self::failure::Kind;
use self::keeper::Keeper;
pub use self::means::Means;
pub use self::probe::{Finding, probe};
pub use self::responder::Responder;
use self::responder::Responders;
use self::shared::Shared;
pub use self::status::{OrderCounts, Status, Statuses};

/// How long an order may take that is only tried: somebody waits for its end.
const TRY_TIMEOUT: Duration = Duration::from_secs(50);

/// The certificates that this process keeps, each with its task.
#[derive(Debug)]
pub struct Keepers {
    control: Handle,
    means: Means,
    statuses: Arc<Statuses>,
    renewed: mpsc::Sender<()>,
    kept: HashMap<PathBuf, (Arc<Managed>, AbortHandle)>,
    issuers: HashMap<Arc<str>, Arc<Shared>>,
    responders: Responders,
}

impl Keepers {
    /// None yet. Tasks will run on `control`, and `responders` answer from now on; `renewed` is told when
    /// there is another certificate in a file.
    pub fn new(
        control: Handle,
        means: Means,
        responders: Vec<Responder>,
        renewed: mpsc::Sender<()>,
    ) -> Self {
        let responders = Responders::of(&control, &means.tokens, responders);
        Self {
            control,
            means,
            statuses: Arc::default(),
            renewed,
            kept: HashMap::new(),
            issuers: HashMap::new(),
            responders,
        }
    }

    /// What is known of the certificates.
    pub const fn statuses(&self) -> &Arc<Statuses> {
        &self.statuses
    }

    /// Keeps these certificates from now on, and no others. The file of one that is kept no longer stays,
    /// in case that it comes back.
    pub fn apply(&mut self, all: &[Arc<Managed>]) {
        let places = all.iter().filter_map(|managed| managed.issuer.http());
        self.responders.apply(&places.collect());
        let stay: HashSet<_> = all.iter().map(|managed| &managed.file).collect();
        for (file, (managed, task)) in self.kept.extract_if(|file, _| !stay.contains(file)) {
            task.abort();
            self.statuses.forget(&file);
            let (issuer, names, file) = (&*managed.issuer.name, managed.shown(), file.display());
            info!(issuer, names, %file, "a certificate is not kept any more; its file may be removed");
        }
        for managed in all {
            match self.kept.get(&managed.file) {
                Some((known, _)) if known == managed => {}
                _ => self.keep(managed),
            }
        }
    }

    /// Keeps none from now on: the process stops.
    pub fn stop(&mut self) {
        self.responders.apply(&BTreeSet::new());
        for (_, (_, task)) in self.kept.drain() {
            task.abort();
        }
    }

    /// Makes an order whose certificate is not installed. The error is one sentence.
    pub fn try_order(
        &self,
        managed: &Arc<Managed>,
    ) -> impl Future<Output = Result<(), String>> + Send + use<> {
        let (managed, means) = (Arc::clone(managed), self.means.clone());
        let shared = self.issuers.get(&managed.issuer.name).cloned();
        async move {
            let shared = shared.unwrap_or_default();
            let trying = shared::try_order(&shared, &managed, &means);
            match timeout(TRY_TIMEOUT, trying).await {
                Ok(tried) => tried.map_err(|failure| failure.why),
                Err(_) => Err(format!(
                    "the order was not done within {} s",
                    TRY_TIMEOUT.as_secs()
                )),
            }
        }
    }

    fn keep(&mut self, managed: &Arc<Managed>) {
        self.statuses.expect(&managed.issuer.name);
        let shared = self
            .issuers
            .entry(Arc::clone(&managed.issuer.name))
            .or_default();
        let keeper = Keeper {
            managed: Arc::clone(managed),
            means: self.means.clone(),
            shared: Arc::clone(shared),
            statuses: Arc::clone(&self.statuses),
            renewed: self.renewed.clone(),
        };
        let task = self.control.spawn(keeper.run()).abort_handle();
        let kept = (Arc::clone(managed), task);
        if let Some((_, before)) = self.kept.insert(managed.file.clone(), kept) {
            before.abort();
        }
    }
}

impl Drop for Keepers {
    fn drop(&mut self) {
        self.stop();
    }
}
