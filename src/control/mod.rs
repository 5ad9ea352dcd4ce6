//! The control loop: signals, requests, and what follows from the passing of time.

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
use crate::admin::{AdminCall, Answer, Refusal, RefusalKind, Request};
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

/// How often older connections are looked after.
pub(crate) const ROUND: Duration = Duration::from_secs(1);

/// Everything that the control loop holds in its parts.
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
    /// When what is left is cut, once the process stops.
    pub(crate) stopping: Option<Instant>,
    /// The file of the admin socket, removed with this.
    pub(crate) _admin: Option<SocketFile>,
}

/// Those who ask something of the process.
pub(crate) struct Inputs {
    pub(crate) signals: Signals,
    pub(crate) calls: mpsc::Receiver<AdminCall>,
    pub(crate) changes: mpsc::Receiver<Scope>,
    pub(crate) origin_events: OriginEvents,
}

/// What becomes of the control loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    GoOn,
    Stop,
}

impl Control {
    /// Serves until a signal or a request says stop, and to the end of the connections.
    pub(crate) async fn run(mut self, mut inputs: Inputs, mode: StopMode) -> Ending {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                signal = inputs.signals.next() => match signal {
                    Signal::Stop => break,
                    Signal::Reload => self.reload(Scope::All, None),
                    Signal::Reopen => self.reopen(),
                },
                read = queue::read(&mut self.reloads.under_way) => self.reloaded(read).await,
                Some(call) = inputs.calls.recv() => if self.answer(call) == Next::Stop {
                    break;
                },
                Some(scope) = inputs.changes.recv() => self.reload(scope, None),
                Some(event) = inputs.origin_events.recv() => self.on_origin_event(&event, &mut inputs.origin_events),
                _ = rounds.tick() => self.tick(),
            }
        }
        self.stop(inputs, mode).await
    }

    /// Does what is inputs, or sees to it that it is done and answered.
    pub(crate) fn answer(&mut self, call: AdminCall) -> Next {
        let AdminCall { request, reply } = call;
        if reply.is_closed() {
            // Whoever asked has given up, and was told that it is not done.
            return Next::GoOn;
        }
        let mut next = Next::GoOn;
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
        // Whoever asked may have gone.
        let _ = reply.send(answer);
        next
    }

    /// Closes an endpoint's listeners and drains its connections, until a reload opens it again.
    fn drain_endpoint(&mut self, name: &str) -> Answer {
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

    /// Drains the connections of endpoints that were closed by hand. How many are new among them.
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

    /// What time does to connections: those that left the configuration, and certificates that end.
    pub(crate) fn tick(&mut self) {
        let snapshot = self.live.load();
        let table = &self.context.table;
        // Those that were not established yet when the policy changed, or their endpoint was drained.
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
