//! The control loop: signals, requests, and what follows from the passing of time.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::info;

use super::census::Census;
use super::doors::Doors;
use super::files::Followed;
use super::origins::{News, Origins};
use super::reload::{Running, Scope};
use super::reloads::{self, Reloads};
use super::reminders::Reminders;
use super::retire::{self, Window};
use super::signals::{Signal, Signals};
use super::worker::Workers;
use super::{Ending, Patience};
use crate::admin::{Answer, Call, Refusal, RefusalKind, Request};
use crate::connection::WorkerContext;
use crate::endpoint::unix::SocketFile;
use crate::observe::logging::LogHandle;
use crate::observe::metrics::Metrics;
use crate::phase::Phase;
use crate::snapshot::{Live, Snapshot};

/// How often older connections are looked after.
pub(super) const ROUND: Duration = Duration::from_secs(1);

/// Everything that the control loop holds in its hands.
pub(super) struct Control {
    pub(super) running: Running,
    pub(super) live: Arc<Live>,
    pub(super) doors: Doors,
    pub(super) crew: Arc<Workers>,
    pub(super) context: Arc<WorkerContext>,
    pub(super) census: Arc<Census>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) log: LogHandle,
    pub(super) metrics: Arc<Metrics>,
    pub(super) reloads: Reloads,
    pub(super) followed: watch::Sender<Followed>,
    pub(super) origins: Origins,
    pub(super) reminders: Reminders,
    /// When what is left is cut, once the process stops.
    pub(super) stopping: Option<Instant>,
    /// The file of the admin socket, removed with this.
    pub(super) _admin: Option<SocketFile>,
}

/// Those who ask something of the process.
pub(super) struct Asked {
    pub(super) signals: Signals,
    pub(super) calls: mpsc::Receiver<Call>,
    pub(super) changes: mpsc::Receiver<Scope>,
    pub(super) news: News,
}

/// What becomes of the control loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    Stop,
}

impl Control {
    /// Serves until a signal or a request says stop, and to the end of the connections.
    pub(super) async fn live_on(mut self, mut asked: Asked, patience: Patience) -> Ending {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                signal = asked.signals.next() => match signal {
                    Signal::Stop => break,
                    Signal::Reload => self.reload(Scope::All, None),
                    Signal::Reopen => self.reopen(),
                },
                read = reloads::read(&mut self.reloads.under_way) => self.reloaded(read).await,
                Some(call) = asked.calls.recv() => if self.answer(call) == Next::Stop {
                    break;
                },
                Some(scope) = asked.changes.recv() => self.reload(scope, None),
                Some(event) = asked.news.recv() => self.origin_news(&event, &mut asked.news),
                _ = rounds.tick() => self.look_after(),
            }
        }
        self.stop(asked, patience).await
    }

    /// Does what is asked, or sees to it that it is done and answered.
    pub(super) fn answer(&mut self, call: Call) -> Next {
        let Call { request, reply } = call;
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
            Request::Reload { .. } if self.stopping.is_some() => Err(reloads::not_while_stopping()),
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

    /// Closes an endpoint's doors and drains its connections, until a reload opens it again.
    fn drain_endpoint(&mut self, name: &str) -> Answer {
        let snapshot = self.live.load();
        if snapshot.endpoint(name).is_none() {
            return Err(Refusal::new(
                RefusalKind::NotFound,
                format!("there is no endpoint `{name}`"),
            ));
        }
        let closed = self.doors.close_endpoint(name);
        let count = self.drain_closed_endpoints(&snapshot);
        info!(endpoint = name, connections = count, "draining an endpoint");
        Ok(json!({ "draining": name, "closed": closed, "connections": count }))
    }

    /// Drains the connections of endpoints that were closed by hand. How many are new among them.
    fn drain_closed_endpoints(&self, snapshot: &Snapshot) -> usize {
        if self.doors.closed.is_empty() {
            return 0;
        }
        let mut connections = Vec::new();
        self.context.table.each(|connection| {
            let endpoint = &connection.info.record.endpoint;
            if self.doors.closed.contains(endpoint) && connection.handle.command().is_none() {
                connections.push(Arc::clone(connection));
            }
        });
        Window::removed(&snapshot.process.drain).drain(&connections);
        connections.len()
    }

    /// What time does to connections: those that left the configuration, and certificates that end.
    pub(super) fn look_after(&mut self) {
        let snapshot = self.live.load();
        let table = &self.context.table;
        // Those that were not established yet when the policy changed, or their endpoint was drained.
        retire::settle(table, &snapshot);
        self.drain_closed_endpoints(&snapshot);
        retire::expire(table);
        self.see_off();
        self.count_origins();
        let materials = &self.running.loaded.materials;
        self.reminders.proceed(&snapshot, materials);
    }

    pub(super) fn reopen(&self) {
        self.context.access_log.sink().reopen();
        self.log.sink().reopen();
    }
}
