//! The control loop: signals, admin requests, reloads, origin events and periodic work.

pub(crate) mod expiry;
pub(crate) mod expiry_dates;
pub(crate) mod listeners;
pub(crate) mod origins;
pub(crate) mod recheck;
pub(crate) mod reload;
pub(crate) mod rlimit;
pub(crate) mod shutdown;
pub(crate) mod signals;
pub(crate) mod status;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::info;

use self::recheck::DrainSchedule;
use crate::admin::{PendingRequest, Refusal, RefusalKind, Request, RequestResult};
use crate::connection::WorkerContext;
use crate::control::expiry::ExpiryWarnings;
use crate::control::listeners::Listeners;
use crate::control::origins::{OriginEvents, Origins};
use crate::control::reload::prepare::{ActiveConfig, Scope};
use crate::control::reload::queue::{self, ReloadQueue};
use crate::control::reload::watch::WatchSet;
use crate::control::shutdown::{Ending, StopMode};
use crate::control::signals::{Signal, Signals};
use crate::listener::unix::SocketFile;
use crate::observe::logging::LogHandle;
use crate::observe::metrics::Metrics;
use crate::phase::Phase;
use crate::snapshot::{Live, Snapshot};
use crate::worker::Workers;
use crate::worker::active::ActiveCount;

/// How often the control loop does its periodic work.
pub(crate) const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// The state of the control loop.
pub(crate) struct Control {
    pub(crate) running: ActiveConfig,
    pub(crate) live: Arc<Live>,
    pub(crate) listeners: Listeners,
    pub(crate) workers: Arc<Workers>,
    pub(crate) context: Arc<WorkerContext>,
    pub(crate) active: Arc<ActiveCount>,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) log: LogHandle,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) reloads: ReloadQueue,
    pub(crate) watch_set: watch::Sender<WatchSet>,
    pub(crate) origins: Origins,
    pub(crate) expiry: ExpiryWarnings,
    /// When the remaining connections are aborted, once the process stops.
    pub(crate) stopping: Option<Instant>,
    /// The file of the admin socket, removed on drop.
    pub(crate) _admin: Option<SocketFile>,
}

/// The channels that the control loop receives from.
pub(crate) struct Inputs {
    pub(crate) signals: Signals,
    pub(crate) requests: mpsc::Receiver<PendingRequest>,
    pub(crate) changes: mpsc::Receiver<Scope>,
    pub(crate) origin_events: OriginEvents,
}

/// Whether the control loop continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Continue,
    Stop,
}

impl Control {
    /// Runs until a signal or a request stops the process, then drains the connections.
    pub(crate) async fn run(mut self, mut inputs: Inputs, mode: StopMode) -> Ending {
        let mut ticks = interval(TICK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                signal = inputs.signals.next() => match signal {
                    Signal::Stop => break,
                    Signal::Reload => self.reload(Scope::All, None),
                    Signal::Reopen => self.reopen(),
                },
                read = queue::files_read(&mut self.reloads.in_progress) => self.reloaded(read).await,
                Some(request) = inputs.requests.recv() => if self.handle(request) == Next::Stop {
                    break;
                },
                Some(scope) = inputs.changes.recv() => self.reload(scope, None),
                Some(event) = inputs.origin_events.recv() => self.on_origin_event(&event, &mut inputs.origin_events),
                _ = ticks.tick() => self.tick(),
            }
        }
        self.stop(inputs, mode).await
    }

    /// Handles a request: replies now, or leaves the reply to the task that does the work.
    pub(crate) fn handle(&mut self, pending: PendingRequest) -> Next {
        let PendingRequest { request, reply } = pending;
        if reply.is_closed() {
            // The client has disconnected, or was sent "no answer in time".
            return Next::Continue;
        }
        let mut next = Next::Continue;
        let answer = match request {
            Request::Status => Ok(self.status()),
            Request::Connections => {
                self.connections(reply);
                return next;
            }
            Request::Certificates => Ok(self.certificates()),
            Request::Config => Ok(self.configuration()),
            Request::LogLevel(level) => Ok(self.log_level(level)),
            Request::Kill(id) => self.kill(id),
            Request::Reload { .. } if self.stopping.is_some() => Err(queue::not_while_stopping()),
            Request::Reload { plan: false } => {
                self.reload(Scope::All, Some(reply));
                return next;
            }
            Request::Reload { plan: true } => {
                self.plan(reply);
                return next;
            }
            Request::Drain { endpoint: None } => {
                next = Next::Stop;
                Ok(json!({ "draining": "the process" }))
            }
            Request::Drain {
                endpoint: Some(name),
            } => self.drain_endpoint(&name),
            Request::Origins => Ok(self.list_origins()),
            Request::Origin {
                upstream,
                origin,
                action,
            } => self.order_origin(&upstream, &origin, action),
        };
        // The client may have disconnected.
        let _ = reply.send(answer);
        next
    }

    /// Closes an endpoint's listeners and drains its connections, until a reload opens it again.
    fn drain_endpoint(&mut self, name: &str) -> RequestResult {
        let snapshot = self.live.load();
        if snapshot.endpoint(name).is_none() {
            return Err(Refusal::new(
                RefusalKind::NotFound,
                format!("there is no endpoint `{name}`"),
            ));
        }
        let closed = self.listeners.close_endpoint(name);
        let count = self.drain_closed_endpoints(&snapshot);
        info!(endpoint = name, connections = count, "draining an endpoint");
        Ok(json!({ "draining": name, "closed": closed, "connections": count }))
    }

    /// Drains the connections of endpoints that a request has closed. Returns how many were not
    /// draining.
    fn drain_closed_endpoints(&self, snapshot: &Snapshot) -> usize {
        if self.listeners.closed.is_empty() {
            return 0;
        }
        let mut connections = Vec::new();
        self.context.table.each(|connection| {
            let endpoint = &connection.info.record.endpoint;
            if self.listeners.closed.contains(endpoint) && connection.handle.command().is_none() {
                connections.push(Arc::clone(connection));
            }
        });
        DrainSchedule::removed(&snapshot.process.drain).drain(&connections);
        connections.len()
    }

    /// Periodic work: drains and closes connections that policy or expiry no longer admits, and logs
    /// expiry warnings.
    pub(crate) fn tick(&mut self) {
        let snapshot = self.live.load();
        let table = &self.context.table;
        // Connections that were not established yet when the policy changed or their endpoint was
        // drained.
        recheck::recheck_all(table, &snapshot);
        self.drain_closed_endpoints(&snapshot);
        recheck::expire(table);
        self.evict();
        self.count_origins();
        let materials = &self.running.loaded.materials;
        self.expiry.proceed(&snapshot, materials);
    }

    pub(crate) fn reopen(&self) {
        self.context.access_log.sink().reopen();
        self.log.sink().reopen();
    }
}
