//! The fleet's part of the control loop: what comes from the store, and is answered once it is done or refused.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::connection::ConnInfo;
use crate::connection::table::ConnTable;
use crate::control::drain;
use crate::control::listeners::Listeners;
use crate::control::reload::Reloader;
use crate::fleet::{FleetRequest, FleetState, Follower, Offer};
use crate::phase::PhaseRx;
use crate::revoked::Revoked;
use crate::snapshot::{Live, Snapshot};
use crate::worker::Workers;
use crate::worker::active::ActiveCount;

/// Requests of the fleet on their way to the control loop.
pub(crate) type FleetRequests = mpsc::Receiver<FleetRequest>;

/// Starts to follow the fleet, if there is one. Its requests come by the channel.
pub(crate) fn follow(
    live: &Arc<Live>,
    state: Option<&Arc<FleetState>>,
    revoked: &Arc<Revoked>,
    active: &Arc<ActiveCount>,
    phases: PhaseRx,
) -> FleetRequests {
    let (requests, received) = mpsc::channel(2);
    if let Some(state) = state {
        let (live, active) = (Arc::clone(live), Arc::clone(active));
        let follower = Follower {
            settings: move || live.load().fleet.clone(),
            connections: move || active.count(),
            requests,
            revoked: Arc::clone(revoked),
            state: Arc::clone(state),
            phases,
        };
        tokio::spawn(follower.follow());
    }
    received
}

/// Has a document applied as any reload.
pub(crate) fn apply(offer: Offer, reloads: &mut Reloader) {
    let Offer { document, answer } = offer;
    let (reply, result) = oneshot::channel();
    reloads.serve_document(document, reply);
    tokio::spawn(async move {
        let result = match result.await {
            Ok(result) => result.map(drop).map_err(|refusal| refusal.message),
            Err(_) => Err("the process stops".to_owned()),
        };
        // Whoever asked may have left.
        let _ = answer.send(result);
    });
}

/// Closes all endpoints and drains their connections.
pub(crate) fn drain_all(
    snapshot: &Snapshot,
    listeners: &mut Listeners,
    table: &ConnTable<ConnInfo>,
) {
    for endpoint in &snapshot.endpoints {
        if !listeners.closed.contains(&endpoint.name) {
            // It is one of the snapshot.
            let _ = drain::drain_endpoint(&endpoint.name, snapshot, listeners, table);
        }
    }
}

/// Opens all endpoints again that are closed.
pub(crate) async fn undrain_all(
    snapshot: &Snapshot,
    listeners: &mut Listeners,
    workers: &Workers,
    table: &ConnTable<ConnInfo>,
) {
    for endpoint in &snapshot.endpoints {
        let name = &endpoint.name;
        if !listeners.closed.contains(name) {
            continue;
        }
        let opened = drain::undrain_endpoint(name, snapshot, listeners, workers, table).await;
        if let Err(refusal) = opened {
            warn!(endpoint = %name, error = refusal.message, "an endpoint stays closed");
        }
    }
}
