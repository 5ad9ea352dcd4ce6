//! Puts the parts of the control loop together, and opens the listeners.

use std::sync::Arc;

use tokio::sync::{mpsc, watch as watched};
use tracing::info;

use super::resources::StartError;
use crate::admin::{self, AdminListeners, DrainedEndpoints, Probes};
use crate::connection::WorkerContext;
use crate::control::expiry::ExpiryWarnings;
use crate::control::listeners::{Listeners, PendingListeners};
use crate::control::origins::{OriginEvents, Origins};
use crate::control::recheck::LateRecheck;
use crate::control::reload::commit::ReloadTargets;
use crate::control::reload::prepare::ActiveConfig;
use crate::control::reload::watch::WatchSet;
use crate::control::reload::{Reloader, watch};
use crate::control::sd_notify::Notifier;
use crate::control::shutdown::Shutdown;
use crate::control::signals::Signals;
use crate::control::status::StatusView;
use crate::control::watchdog::Watchdog;
use crate::control::{Control, Inputs};
use crate::observe::logging::LogHandle;
use crate::observe::metrics::Metrics;
use crate::phase::Phase;
use crate::worker::Workers;
use crate::worker::active::ActiveCount;

/// What the control loop is made of, beside its inputs. The workers run already.
pub(super) struct ControlPlane {
    pub(super) running: ActiveConfig,
    pub(super) context: Arc<WorkerContext>,
    pub(super) workers: Arc<Workers>,
    pub(super) active: Arc<ActiveCount>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) phase: watched::Sender<Phase>,
    pub(super) origins: Origins,
    pub(super) log: LogHandle,
    pub(super) notifier: Notifier,
}

impl ControlPlane {
    /// Opens the admin socket and the listeners: clients can connect afterwards. An error stops the workers.
    pub(super) async fn start(
        self,
        (bound, admin): (PendingListeners, AdminListeners),
        signals: Signals,
        origin_events: OriginEvents,
    ) -> Result<(Control, Inputs), StartError> {
        let WorkerContext { live, table, .. } = &*self.context;
        let snapshot = Arc::clone(&live.load());
        let (watch_set, follow) = watched::channel(WatchSet::of(&self.running, &snapshot));
        let (changed, changes) = mpsc::channel(1);
        let (handle, requests) = admin::channel();
        let (drained, drained_endpoints) = watched::channel(DrainedEndpoints::default());
        let probes = Probes {
            drained: drained_endpoints,
            metrics: Arc::clone(&self.metrics),
            phases: self.phase.subscribe(),
        };
        let admin_addresses = admin.addresses();
        let admin_socket = admin.open(&handle, &probes).inspect_err(|_| {
            self.phase.send_replace(Phase::Abort);
        })?;
        let targets = self.reload_targets(watch_set);
        let notifier = self.notifier;
        let mut control = Control {
            live: Arc::clone(live),
            table: Arc::clone(table),
            listeners: Listeners::new(Arc::clone(&self.context.listeners)),
            origins: self.origins,
            reloads: Reloader::new(self.running, targets, notifier.clone()),
            limit_scopes: Arc::clone(&self.context.limits),
            shutdown: Shutdown::new(self.phase, Arc::clone(table), Arc::clone(&self.active)),
            status: StatusView {
                live: Arc::clone(live),
                table: Arc::clone(table),
                active: self.active,
                metrics: self.metrics,
            },
            watchdog: Watchdog::from_environment(Arc::clone(&self.workers)),
            notifier,
            late_recheck: LateRecheck::default(),
            expiry: ExpiryWarnings::default(),
            log: self.log,
            access_log: self.context.access_log.sink().clone(),
            drained,
            _admin: admin_socket,
        };
        control.origins.count();
        if let Err(errors) = bound.prepare(&self.workers).await {
            drop(bound);
            control.shutdown.abort(&mut control.listeners).await;
            return Err(StartError::Bind(errors));
        }
        // A process that listens has opened what it holds for as long as it runs.
        let watching = watch::watch(follow, changed);
        control.listeners.commit(bound, &snapshot);
        log_addresses(&control.listeners, admin_addresses);
        let generation = snapshot.generation;
        control
            .notifier
            .ready(&format!("serving, generation {generation}"));
        tokio::spawn(watching);
        let inputs = Inputs {
            signals,
            requests,
            changes,
            origin_events,
        };
        Ok((control, inputs))
    }

    fn reload_targets(&self, watch_set: watched::Sender<WatchSet>) -> ReloadTargets {
        ReloadTargets {
            live: Arc::clone(&self.context.live),
            table: Arc::clone(&self.context.table),
            metrics: Arc::clone(&self.metrics),
            workers: Arc::clone(&self.workers),
            watch_set,
            limits: Arc::clone(&self.context.limits),
        }
    }
}

/// Tells where clients and operators can connect.
fn log_addresses(listeners: &Listeners, admin: Vec<(&'static str, String)>) {
    for (endpoint, address) in listeners.addresses() {
        info!(%endpoint, address, "listening");
    }
    for (listener, address) in admin {
        info!(listener, address, "listening");
    }
}
