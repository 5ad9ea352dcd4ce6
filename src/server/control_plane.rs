//! Puts the parts of the control loop together, and opens the listeners.

use std::sync::Arc;

use tokio::sync::{mpsc, watch as watched};
use tracing::{error, info};

use super::resources::{Sockets, StartError};
use crate::acme::Keepers;
use crate::admin::{self, DrainedEndpoints, OpenAdminListeners, Probes};
use crate::connection::WorkerContext;
use crate::control::certificates::Certificates;
use crate::control::connections::Connections;
use crate::control::expiry::ExpiryWarnings;
use crate::control::fleet;
use crate::control::listeners::Listeners;
use crate::control::origins::{OriginEvents, Origins};
use crate::control::progress::ProgressRecords;
use crate::control::recheck::LateRecheck;
use crate::control::reload::commit::ReloadTargets;
use crate::control::reload::prepare::ActiveConfig;
use crate::control::reload::watch::WatchSet;
use crate::control::reload::{Reloader, watch};
use crate::control::shutdown::Shutdown;
use crate::control::signals::Signals;
use crate::control::stats::StatsView;
use crate::control::status::StatusView;
use crate::control::successor::Successors;
use crate::control::takeover::Takeover;
use crate::control::watchdog::Watchdog;
use crate::control::{Control, Inputs};
use crate::fleet::FleetState;
use crate::observe::failures::Failures;
use crate::observe::logging::LogHandle;
use crate::observe::metrics::Metrics;
use crate::phase::Phase;
use crate::revocation::Fetchers;
use crate::snapshot::admin::LiveAccess;
use crate::takeover::Taking;
use crate::vault::Identities;
use crate::worker::Workers;
use crate::worker::active::ActiveCount;

/// What the control loop is made of, beside its inputs. The workers run already.
pub(super) struct ControlPlane {
    pub(super) running: ActiveConfig,
    pub(super) context: Arc<WorkerContext>,
    pub(super) workers: Arc<Workers>,
    pub(super) active: Arc<ActiveCount>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) failures: Failures,
    pub(super) phase: watched::Sender<Phase>,
    pub(super) origins: Origins,
    pub(super) log: LogHandle,
    pub(super) keepers: Keepers,
    pub(super) identities: Identities,
    pub(super) fetchers: Fetchers,
    /// Whether the process is ready only once every certificate is there.
    pub(super) waits: bool,
    /// Absent without a fleet.
    pub(super) fleet: Option<Arc<FleetState>>,
}

impl ControlPlane {
    /// Opens the admin socket and the listeners: clients can connect afterwards. An error stops the workers.
    pub(super) async fn start(
        self,
        sockets: Sockets,
        signals: Signals,
        (origin_events, renewed): (OriginEvents, mpsc::Receiver<()>),
    ) -> Result<(Control, Inputs), StartError> {
        let WorkerContext {
            live,
            table,
            openings,
            ..
        } = &*self.context;
        let snapshot = Arc::clone(&live.load());
        let (watch_set, follow) = watched::channel(WatchSet::of(&self.running, &snapshot));
        let (changed, changes) = mpsc::channel(1);
        let (handle, received) = admin::channel();
        let (drained, drained_endpoints) = watched::channel(DrainedEndpoints::default());
        let targets = self.reload_targets(watch_set, sockets.admin.access());
        let certificates =
            Certificates::new(self.keepers, self.identities, self.fetchers, self.waits);
        let probes = Probes {
            drained: drained_endpoints,
            pending: certificates.pending(),
            metrics: Arc::clone(&self.metrics),
            phases: self.phase.subscribe(),
            traces: Arc::clone(self.log.traces()),
        };
        let phases = self.phase.subscribe();
        let revoked = &self.context.revoked;
        let fleet = fleet::follow(live, self.fleet.as_ref(), revoked, &self.active, phases);
        let notifier = sockets.notifier.clone();
        let mut control = Control {
            live: Arc::clone(live),
            table: Arc::clone(table),
            connections: Connections::new(Arc::clone(table), Arc::clone(openings)),
            failures: self.failures,
            stats: StatsView::new(Arc::clone(&self.metrics), Arc::clone(table)),
            workers: Arc::clone(&self.workers),
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
                fleet: self.fleet,
            },
            watchdog: Watchdog::from_environment(Arc::clone(&self.workers)),
            notifier,
            late_recheck: LateRecheck::default(),
            expiry: ExpiryWarnings::default(),
            progress: ProgressRecords::of(self.context.access_log.clone()),
            log: self.log,
            access_log: self.context.access_log.clone(),
            drained,
            certificates,
            admin: OpenAdminListeners::default(),
            takeover: Takeover::default(),
            successors: Successors::of_this_program(),
            revoked: Arc::clone(&self.context.revoked),
            is_drained: false,
        };
        control.origins.count();
        // A process that listens has opened what it holds for as long as it runs.
        let watching = watch::watch(follow, changed);
        if let Err(error) = open(&mut control, sockets, &self.workers, (&handle, &probes)).await {
            control.shutdown.abort(&mut control.listeners).await;
            return Err(error);
        }
        tokio::spawn(watching);
        let inputs = Inputs {
            signals,
            admin: received,
            changes,
            renewed,
            origin_events,
            fleet,
        };
        Ok((control, inputs))
    }

    fn reload_targets(
        &self,
        watch_set: watched::Sender<WatchSet>,
        admin: Option<LiveAccess>,
    ) -> ReloadTargets {
        ReloadTargets {
            live: Arc::clone(&self.context.live),
            table: Arc::clone(&self.context.table),
            metrics: Arc::clone(&self.metrics),
            workers: Arc::clone(&self.workers),
            watch_set,
            limits: Arc::clone(&self.context.limits),
            admin,
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

/// Opens the listeners and the admin socket: clients can connect afterwards. Whatever can fail is done before
/// the process that serves until now, if there is one, stops accepting.
async fn open(
    control: &mut Control,
    sockets: Sockets,
    workers: &Workers,
    (handle, probes): (&admin::Handle, &Probes),
) -> Result<(), StartError> {
    let Sockets { bound, admin, .. } = sockets;
    bound.prepare(workers).await.map_err(StartError::Bind)?;
    let is_takeover = sockets.taking.is_some();
    if let Some(taking) = sockets.taking {
        take_over(taking).await?;
        for failed in bound
            .prepare_after_takeover(workers)
            .await
            .err()
            .into_iter()
            .flatten()
        {
            error!(
                endpoint = failed.endpoint,
                error = failed.message,
                "not listening"
            );
        }
    }
    let snapshot = Arc::clone(&control.live.load());
    let admin_addresses = admin.addresses();
    match admin.open(handle, probes) {
        Ok(open) => control.admin = open,
        Err(error) if is_takeover => error!(%error, "the admin sockets are not served"),
        Err(error) => return Err(error.into()),
    }
    control.listeners.commit(bound, &snapshot);
    // CAs can connect.
    control.certificates.apply(&snapshot);
    control.certificates.publish(&snapshot);
    let generation = snapshot.generation;
    let status = format!("serving, generation {generation}");
    if is_takeover {
        // Those of the process before this one are in force until here.
        control.listeners.reapply_options(&snapshot);
        control.admin.set_access(snapshot.admin.listen.as_ref());
        control.notifier.ready_as_main_process(&status);
    } else if control.certificates.is_awaited() {
        control.notifier.status("waiting for certificates");
    } else {
        control.notifier.ready(&status);
    }
    log_addresses(&control.listeners, admin_addresses);
    Ok(())
}

/// Waits until the running process has stopped accepting.
async fn take_over(taking: Taking) -> Result<(), StartError> {
    let pid = taking.pid();
    let completed = tokio::task::spawn_blocking(|| taking.complete()).await;
    let completed = completed.map_err(|_| StartError::Takeover("a defect of Reseal".to_owned()))?;
    completed.map_err(|error| StartError::Takeover(error.to_string()))?;
    info!(pid, "took over from the process that served");
    Ok(())
}
