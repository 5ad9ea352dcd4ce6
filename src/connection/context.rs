//! What a connection uses of its worker and of the process.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::info::ConnInfo;
use super::opening::OpeningTable;
use super::permits;
use super::record::{Places, Recorder};
use super::table::ConnTable;
use crate::acme::Challenges;
use crate::admission::{Gate, LimitScopes, PendingShard};
use crate::observe::access_log::{AccessLog, Client};
use crate::observe::failures::FailureShard;
use crate::observe::metrics::Shard;
use crate::phase::PhaseRx;
use crate::revoked::Revoked;
use crate::snapshot::{Endpoint, Live};
use crate::upstream::{OwnListeners, Upstreams};

/// State that all connections of a worker share.
#[derive(Clone, Debug)]
pub struct WorkerContext {
    /// Receives the records.
    pub access_log: AccessLog,
    /// This worker's counters.
    pub counters: Arc<Shard>,
    /// The phases of the process.
    pub phases: PhaseRx,
    /// The table of established connections.
    pub table: Arc<ConnTable<ConnInfo>>,
    /// The table of those before.
    pub openings: Arc<OpeningTable>,
    /// This worker's latest failures.
    pub failures: Arc<FailureShard>,
    /// The list of connections that are still pending.
    pub pending: PendingShard,
    /// The current snapshot.
    pub live: Arc<Live>,
    /// The pools of origins.
    pub upstreams: Arc<Upstreams>,
    /// What is counted for endpoints and routes that have limits.
    pub limits: Arc<LimitScopes>,
    /// The permits for handshakes with clients.
    pub handshakes: Gate,
    /// The permits for large ClientHellos.
    pub large_hellos: Gate,
    /// Who is revoked by an operator.
    pub revoked: Arc<Revoked>,
    /// The addresses this process listens on: a name that resolves to one of them is a loop.
    pub listeners: Arc<OwnListeners>,
    /// The validations that CAs are asked to make now.
    pub challenges: Arc<Challenges>,
}

impl WorkerContext {
    /// How many large ClientHellos may be read at once.
    pub const LARGE_HELLOS: usize = permits::LARGE_HELLOS;

    pub(super) fn recorder(
        &self,
        client: Client,
        local: Option<SocketAddr>,
        endpoint: &Endpoint,
        at: Instant,
    ) -> Recorder<'_> {
        let counts = self.counters.endpoint(&endpoint.name);
        let places = Places {
            log: &self.access_log,
            failures: &self.failures,
            openings: &self.openings,
        };
        Recorder::new(places, counts, client, local, endpoint, at)
    }
}
