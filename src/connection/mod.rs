//! One connection, from accept to its one outcome.
//!
//! [`run`] covers the whole life of a connection and is the only place that logs and counts its end;
//! `Establish::establish` runs the stages in order. Stages return values and know nothing of each other; data
//! that one needs from another passes through here.

mod admit;
mod client;
mod context;
pub mod decision;
mod dial;
mod ending;
mod establish;
mod identity;
mod info;
pub mod live_progress;
pub mod live_traffic;
pub mod opening;
mod permits;
pub mod progress;
mod proxy_header;
mod record;
mod sniff;
pub mod table;
pub mod traffic;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

pub use self::context::WorkerContext;
use self::establish::{Establish, Established};
pub use self::info::ConnInfo;
use self::opening::Opening;
use crate::admission::{LimitScope, Permit};
use crate::observe::access_log::Client;
use crate::outcome::{CloseWith, Failure, Reason};
use crate::phase;
use crate::snapshot::{Endpoint, Protocol};
use crate::transport::{Socket, Transport};

/// A connection that was just accepted.
#[derive(Debug)]
pub struct Accepted {
    /// Its socket.
    pub socket: Socket,
    /// The client's address; unix clients have none.
    pub client: Option<SocketAddr>,
    /// Its endpoint in the snapshot that was current at accept.
    pub endpoint: Arc<Endpoint>,
    /// The generation of that snapshot.
    pub generation: u64,
    /// Its permit among the connections of the process, and perhaps of the endpoint.
    pub permit: Permit,
    /// What is counted for the endpoint, if that has limits.
    pub scope: Option<Arc<LimitScope>>,
    /// When it was accepted.
    pub at: Instant,
}

/// Serves one connection to its end and records its outcome exactly once. `guard` is dropped when the
/// connection is closed.
///
/// Not an `async fn`: its future would hold each argument a second time for as long as the connection lasts.
pub fn run(
    accepted: Accepted,
    context: Arc<WorkerContext>,
    guard: impl Send,
) -> impl Future<Output = ()> {
    let Accepted {
        socket,
        client: source,
        endpoint,
        generation,
        permit,
        scope,
        at,
    } = accepted;
    let mut client = Transport::plain(socket);
    async move {
        // What the future captures is dropped after what it makes.
        let _ = &guard;
        let mut phases = context.phases.clone();
        let local = context
            .access_log
            .is_open()
            .then(|| client.socket.local())
            .flatten();
        let peer = source.map_or_else(|| Client::Unix(client.socket.peer_user()), Client::Ip);
        let mut establishing = Establish {
            permit,
            scope,
            limit_permits: None,
            context: &context,
            record: context.recorder(peer, local, &endpoint, at),
            endpoint: &endpoint,
            source,
            speaks_tls: endpoint.protocol != Protocol::Tcp,
            dialled: None,
            generation,
            at,
        };
        let opening = establishing.record.opening();
        let established = tokio::select! {
            biased;
            () = killed(opening.as_deref()) => Err(Failure::new(Reason::Killed).close_with(CloseWith::Reset)),
            () = phase::aborted(&mut phases) => Err(Failure::new(Reason::Drain).close_with(CloseWith::Reset)),
            // Boxed, so that the memory is freed once the connection is established.
            established = Box::pin(establishing.establish(&mut client)) => established,
        };
        drop(opening);
        match established {
            Ok(Established {
                route,
                origin,
                slot: _slot,
                on_truncation,
            }) => {
                // This is the only place that opens the record.
                let Some(entry) = establishing.opened(&client, &route, &context.table, generation)
                else {
                    return;
                };
                let relay = establishing.relay(client, origin, &route, on_truncation);
                // The relay has copied the limits and needs no more of the route.
                drop(route);
                let (end, teardown) = relay.run(&entry.handle).await;
                let (_, down) = entry.handle.traffic();
                drop(entry);
                establishing.end_relay(&end, down);
                if let Some(teardown) = teardown {
                    Box::pin(teardown.run(&mut phases)).await;
                }
            }
            Err(failure) => Box::pin(reject(&mut establishing, client.socket, failure)).await,
        }
    }
}

/// Waits until an operator ends a connection that is not established yet.
async fn killed(opening: Option<&Opening>) {
    match opening {
        Some(opening) => opening.killed().await,
        None => std::future::pending().await,
    }
}

/// Records the failure, and closes the client's socket as it says.
async fn reject(establishing: &mut Establish<'_>, socket: Socket, failure: Failure) {
    let record = &mut establishing.record;
    record.fail(failure.reason, failure.detail, failure.limit);
    // The client has been rejected; while it lingers it may be dropped for others like a silent one.
    let pending = establishing.pending();
    tokio::select! {
        biased;
        () = pending.evicted() => {}
        () = socket.reject(failure.close_with) => {}
    }
}

/// Records a connection whose socket was lost right after it was accepted.
pub fn rejected_at_accept(
    client: Option<SocketAddr>,
    endpoint: &Endpoint,
    at: Instant,
    error: &std::io::Error,
    context: &WorkerContext,
) {
    let client = client.map_or(Client::Unix(None), Client::Ip);
    let mut record = context.recorder(client, None, endpoint, at);
    record.end(Reason::LocalDescriptors, Some(error.to_string()));
}
