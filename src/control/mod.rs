//! The control loop: signals, admin requests, reloads, origin events and periodic work.

pub(crate) mod certificates;
pub(crate) mod connections;
pub(crate) mod drain;
pub(crate) mod expiry;
pub(crate) mod expiry_dates;
mod failures;
pub(crate) mod fleet;
mod limits;
pub(crate) mod listeners;
mod looks;
pub(crate) mod origins;
pub(crate) mod progress;
pub(crate) mod recheck;
pub(crate) mod reload;
pub(crate) mod rlimit;
pub(crate) mod sd_notify;
pub(crate) mod shutdown;
pub(crate) mod signals;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod successor;
pub(crate) mod takeover;
mod trace;
pub(crate) mod watchdog;

#[cfg(test)]
mod fixtures;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::level_filters::LevelFilter;
use tracing::{info, warn};

use crate::admin::{
    DrainedEndpoints, OpenAdminListeners, PendingRequest, Received, Refusal, RefusalKind, Request,
    RequestResult,
};
use crate::admission::LimitScopes;
use crate::connection::ConnInfo;
use crate::connection::table::ConnTable;
use crate::control::certificates::Certificates;
use crate::control::connections::Connections;
use crate::control::expiry::ExpiryWarnings;
use crate::control::fleet::FleetRequests;
use crate::control::listeners::Listeners;
use crate::control::origins::{OriginEvents, Origins};
use crate::control::progress::ProgressRecords;
use crate::control::recheck::LateRecheck;
use crate::control::reload::prepare::Scope;
use crate::control::reload::watch::FileChange;
use crate::control::reload::{Reloader, report};
use crate::control::sd_notify::Notifier;
use crate::control::shutdown::{Ending, Shutdown, StopMode};
use crate::control::signals::{Signal, Signals};
use crate::control::stats::StatsView;
use crate::control::status::StatusView;
use crate::control::successor::Successors;
use crate::control::takeover::{ReadySuccessor, Takeover};
use crate::control::watchdog::Watchdog;
use crate::fleet::FleetRequest;
use crate::observe::access_log::AccessLog;
use crate::observe::failures::Failures;
use crate::observe::logging::LogHandle;
use crate::revoked::Revoked;
use crate::snapshot::Live;
use crate::worker::Workers;

/// How often the control loop does its periodic work.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// The parts that the control loop joins. Each owns its state.
pub(crate) struct Control {
    pub(crate) live: Arc<Live>,
    pub(crate) table: Arc<ConnTable<ConnInfo>>,
    pub(crate) connections: Connections,
    pub(crate) failures: Failures,
    pub(crate) stats: StatsView,
    pub(crate) workers: Arc<Workers>,
    pub(crate) listeners: Listeners,
    pub(crate) origins: Origins,
    pub(crate) reloads: Reloader,
    pub(crate) status: StatusView,
    pub(crate) shutdown: Shutdown,
    pub(crate) notifier: Notifier,
    pub(crate) watchdog: Watchdog,
    pub(crate) limit_scopes: Arc<LimitScopes>,
    pub(crate) late_recheck: LateRecheck,
    pub(crate) expiry: ExpiryWarnings,
    pub(crate) progress: ProgressRecords,
    pub(crate) log: LogHandle,
    pub(crate) access_log: AccessLog,
    /// The endpoints that were drained on request, for `/readyz`.
    pub(crate) drained: watch::Sender<DrainedEndpoints>,
    pub(crate) certificates: Certificates,
    pub(crate) admin: OpenAdminListeners,
    pub(crate) takeover: Takeover,
    pub(crate) successors: Successors,
    pub(crate) revoked: Arc<Revoked>,
    /// Whether the fleet wants this instance to serve nobody.
    pub(crate) is_drained: bool,
}

/// The channels that the control loop receives from.
pub(crate) struct Inputs {
    pub(crate) signals: Signals,
    pub(crate) admin: Received,
    pub(crate) changes: mpsc::Receiver<FileChange>,
    /// An issuer has issued a certificate, or a list or a response was fetched.
    pub(crate) renewed: mpsc::Receiver<()>,
    pub(crate) origin_events: OriginEvents,
    pub(crate) fleet: FleetRequests,
}

/// Whether the control loop continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Continue,
    Stop,
}

/// Why the process stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Requested,
    /// Another process serves in its place.
    TakenOver,
}

impl Control {
    /// Runs until a signal or a request stops the process, then drains the connections.
    pub(crate) async fn run(mut self, mut inputs: Inputs) -> Ending {
        let mut ticks = interval(TICK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stop = loop {
            tokio::select! {
                biased;
                signal = inputs.signals.next() => match signal {
                    Signal::Stop => break Stop::Requested,
                    Signal::Reload => self.reloads.request(Scope::All, None),
                    Signal::Reopen => self.reopen(),
                    Signal::Takeover => {
                        let (reloads, admin) = (&self.reloads, self.admin.path());
                        let may_execute = reloads.sandbox().word() == "off";
                        self.successors.start(reloads.source(), admin, may_execute);
                    }
                },
                answer = self.takeover.answered() => if self.hand_over(answer).await {
                    break Stop::TakenOver;
                },
                read = self.reloads.files_read() => {
                    self.reloads.finish(read, &mut self.listeners, &self.origins).await;
                    if self.is_drained {
                        // A reload opens what is closed.
                        fleet::drain_all(&self.live.load(), &mut self.listeners, &self.table);
                    }
                    self.publish_drained();
                    self.certificates.apply(&self.live.load());
                    self.publish_certificates();
                }
                Some(request) = inputs.admin.requests.recv() => {
                    if self.handle(request).await == Next::Stop {
                        break Stop::Requested;
                    }
                }
                // The sockets do not change while they are offered.
                Some(successor) = inputs.admin.successors.recv(), if !self.reloads.is_reading() => {
                    self.reloads.hold();
                    let generation = self.live.load().generation;
                    let (listeners, admin) = (&self.listeners, &self.admin);
                    self.takeover.offer(successor, generation, listeners, admin);
                }
                Some(change) = inputs.changes.recv() => self.reloads.files_changed(change),
                Some(()) = inputs.renewed.recv() => self.reloads.request(Scope::Materials, None),
                Some(request) = inputs.fleet.recv() => self.fleet(request).await,
                Some(event) = inputs.origin_events.recv() => {
                    self.origins.on_event(&event, &mut inputs.origin_events);
                }
                () = self.watchdog.due() => self.watchdog.notify(&self.notifier),
                _ = ticks.tick() => self.tick(),
            }
        };
        self.stop(stop, inputs).await
    }

    /// Leaves the listeners to a new process that is ready. Returns whether it serves.
    async fn hand_over(&mut self, answer: io::Result<ReadySuccessor>) -> bool {
        let pid = answer.as_ref().ok().and_then(ReadySuccessor::pid);
        let released = match answer {
            Ok(ready) => ready.release().await,
            Err(error) => Err(error),
        };
        match released {
            Ok((endpoints, admin)) => {
                info!(pid, "a new process has taken over");
                self.notifier.hand_over(pid);
                self.successors.taken_over();
                let policy = self.live.load().process.drain;
                self.listeners.release(&endpoints, policy.stop);
                self.admin.release(&admin);
                true
            }
            Err(error) => {
                warn!(pid, %error, "the takeover has failed; this process continues");
                self.reloads.release();
                false
            }
        }
    }

    /// Ends the process: connections first, then what only they needed.
    async fn stop(mut self, stop: Stop, inputs: Inputs) -> Ending {
        let ending = self.finish(stop, inputs).await;
        // The process that has taken over goes on with them.
        if stop == Stop::Requested {
            self.certificates.revoke().await;
        }
        ending
    }

    /// Lets the connections finish, as long as mode and policy allow.
    async fn finish(&mut self, stop: Stop, mut inputs: Inputs) -> Ending {
        self.takeover.cancel();
        self.notifier.stopping("stopping");
        self.certificates.stop();
        if inputs.signals.mode == StopMode::Immediate {
            self.shutdown.abort(&mut self.listeners).await;
            return Ending::Drained;
        }
        self.reloads.refuse_all();
        let policy = self.live.load().process.drain;
        // Load balancers see the process that serves.
        let stopped_early = stop == Stop::Requested && {
            let lame_duck_end = self.shutdown.lame_duck(&policy);
            self.serve_until(&mut inputs, lame_duck_end).await
        };
        let deadline = self.shutdown.drain(&policy, &mut self.listeners);
        self.notifier.status("draining");
        let drained = self.shutdown.drained();
        let drained = !stopped_early
            && tokio::select! {
                () = drained => true,
                _ = self.serve_until(&mut inputs, deadline) => false,
            };
        self.shutdown.end(drained, &mut self.listeners).await
    }

    /// Serves without reloads until `end`. Returns `true` if a signal to stop comes earlier.
    async fn serve_until(&mut self, inputs: &mut Inputs, end: Instant) -> bool {
        let mut ticks = interval(TICK_INTERVAL);
        loop {
            tokio::select! {
                () = sleep_until(end) => return false,
                signal = inputs.signals.next() => match signal {
                    Signal::Stop => return true,
                    Signal::Reload => info!("not reloaded: the process stops"),
                    Signal::Reopen => self.reopen(),
                    Signal::Takeover => warn!("USR2 is ignored: the process stops"),
                },
                Some(request) = inputs.admin.requests.recv() => {
                    self.handle(request).await;
                }
                Some(successor) = inputs.admin.successors.recv() => {
                    takeover::refuse(successor, "the process stops");
                }
                Some(event) = inputs.origin_events.recv() => {
                    self.origins.on_event(&event, &mut inputs.origin_events);
                }
                () = self.watchdog.due() => self.watchdog.notify(&self.notifier),
                _ = ticks.tick() => self.tick(),
            }
        }
    }

    /// Handles a request: replies now, or leaves the reply to the task that does the work.
    async fn handle(&mut self, pending: PendingRequest) -> Next {
        let PendingRequest { request, reply } = pending;
        if reply.is_closed() {
            // The client has disconnected, or was sent "no answer in time".
            return Next::Continue;
        }
        let mut next = Next::Continue;
        let answer = match request {
            Request::Status => Ok(self
                .status
                .json(&self.listeners, &self.reloads, &self.shutdown)),
            Request::Stats { rates } => {
                self.stats.answer(rates, reply);
                return next;
            }
            Request::Connections(query) => {
                self.connections.list(query, reply);
                return next;
            }
            Request::Failures(query) => {
                failures::list(&self.failures, query, reply);
                return next;
            }
            Request::Certificates => {
                let snapshot = self.live.load();
                let mut listed = expiry_dates::listed(&snapshot, self.reloads.materials());
                listed["managed"] = self.certificates.listed(&snapshot);
                listed["fetched"] = self.certificates.fetched(&snapshot);
                Ok(listed)
            }
            Request::TryOrder(name) => {
                self.certificates.try_order(&self.live.load(), &name, reply);
                return next;
            }
            Request::Config => Ok(self.reloads.configuration()),
            Request::LogLevel(level) => Ok(self.log_level(level)),
            Request::Kill(filter) => self.connections.kill(&filter),
            Request::Reload { .. } if self.shutdown.has_begun() => {
                Err(report::not_while_stopping())
            }
            Request::Reload { plan: false } => {
                self.reloads.request(Scope::All, Some(reply));
                return next;
            }
            Request::Reload { plan: true } => {
                self.reloads.plan(&self.listeners, reply);
                return next;
            }
            Request::Stop => {
                next = Next::Stop;
                Ok(json!({ "draining": "the process", "then": "it exits" }))
            }
            Request::Drain { endpoint } => self.drain_endpoint(&endpoint),
            Request::Undrain { endpoint } => self.undrain_endpoint(&endpoint).await,
            Request::Origins => Ok(self.origins.list()),
            Request::Reloads => Ok(self.reloads.history()),
            Request::Limits {
                endpoint,
                route,
                source,
            } => {
                let snapshot = self.live.load();
                let scopes = &self.limit_scopes;
                limits::fill(&snapshot, scopes, &endpoint, route.as_deref(), source)
            }
            Request::Origin {
                upstream,
                origin,
                action,
            } => self.origins.change(&upstream, &origin, action),
        };
        // The client may have disconnected.
        let _ = reply.send(answer);
        next
    }

    /// Does what the fleet asks for.
    async fn fleet(&mut self, request: FleetRequest) {
        match request {
            FleetRequest::Apply(offer) => fleet::apply(offer, &mut self.reloads),
            FleetRequest::Tickets(tickets) => self.reloads.use_tickets(tickets),
            FleetRequest::CloseRevoked => recheck::close_revoked(&self.table, &self.revoked),
            FleetRequest::Drain(is_drained) => {
                self.is_drained = is_drained;
                let (snapshot, listeners) = (self.live.load(), &mut self.listeners);
                match is_drained {
                    true => fleet::drain_all(&snapshot, listeners, &self.table),
                    false => {
                        fleet::undrain_all(&snapshot, listeners, &self.workers, &self.table).await;
                    }
                }
                self.publish_drained();
            }
        }
    }

    fn drain_endpoint(&mut self, name: &str) -> RequestResult {
        let snapshot = self.live.load();
        let answer = drain::drain_endpoint(name, &snapshot, &mut self.listeners, &self.table);
        self.publish_drained();
        answer
    }

    async fn undrain_endpoint(&mut self, name: &str) -> RequestResult {
        if self.shutdown.has_begun() {
            let message = "the process stops";
            return Err(Refusal::new(RefusalKind::Conflict, message));
        }
        let snapshot = self.live.load();
        let answer = drain::undrain_endpoint(
            name,
            &snapshot,
            &mut self.listeners,
            &self.workers,
            &self.table,
        );
        let answer = answer.await;
        self.publish_drained();
        answer
    }

    /// Shows `/readyz` which endpoints are drained.
    fn publish_drained(&self) {
        let is_listening = !self.listeners.addresses().is_empty();
        self.drained.send_replace(DrainedEndpoints {
            names: self.listeners.drained(),
            is_all: !is_listening,
        });
    }

    /// The log level, after it was set to `new`.
    fn log_level(&self, new: Option<LevelFilter>) -> Value {
        if let Some(level) = new {
            self.log.set_level(level);
            info!(to = %level, "the log's level was changed");
        }
        json!({ "level": self.log.level().to_string() })
    }

    /// Periodic work: drains and closes connections that policy or expiry no longer admits, and logs
    /// expiry warnings.
    fn tick(&mut self) {
        let snapshot = self.live.load();
        // Connections that were not established yet when the policy changed or their endpoint was
        // drained.
        self.late_recheck.start(&self.table, &snapshot);
        drain::drain_closed_endpoints(&snapshot, &self.listeners, &self.table);
        recheck::expire(&self.table);
        recheck::close_revoked(&self.table, &self.revoked);
        self.connections.tick();
        self.origins.update();
        self.access_log.renew(&snapshot.access_log);
        self.progress.proceed(&self.table);
        trace::proceed(self.log.traces(), &self.table);
        self.expiry.proceed(&snapshot, self.reloads.materials());
        self.publish_certificates();
    }

    /// Tells which certificates are not there yet, and the service manager when the last one that was waited for
    /// has come.
    fn publish_certificates(&self) {
        let snapshot = self.live.load();
        if self.certificates.publish(&snapshot) {
            let generation = snapshot.generation;
            let status = format!("serving, generation {generation}");
            self.notifier.ready(&status);
        }
    }

    /// Opens the log files again, after a log rotation.
    fn reopen(&self) {
        self.access_log.sink().reopen();
        self.log.sink().reopen();
    }
}
