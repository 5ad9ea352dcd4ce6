//! Runs a server: [`run`] starts both planes, and returns when the last connection has ended.

mod control_plane;
mod gauges;
mod resources;
mod workers;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tracing::error;

use self::control_plane::ControlPlane;
pub use self::resources::{Predecessor, Resources, StartError};
use self::workers::Shared;
use crate::acme::{self, Keepers};
use crate::admission::{Admission, Gate, LimitScopes, PendingConnections};
use crate::config::load::{Loaded, Source};
use crate::connection::table::ConnTable;
use crate::connection::{ConnInfo, WorkerContext, live_traffic};
use crate::control::expiry_dates;
use crate::control::origins::Origins;
use crate::control::reload::prepare::{ActiveConfig, StartupSettings};
pub use crate::control::shutdown::{Ending, StopMode};
pub use crate::control::signals::Signals;
use crate::fleet::FleetState;
use crate::health::Checks;
use crate::observe::failures::Failures;
use crate::observe::logging::LogHandle;
use crate::observe::metrics::Metrics;
use crate::phase::Phase;
use crate::revocation::Fetchers;
use crate::sandbox::Sandbox;
use crate::snapshot::{Live, Snapshot};
use crate::tls::sessions::{Sessions, TicketSecret};
use crate::upstream::Upstreams;
use crate::vault::Identities;

/// Blocking threads beside the control loop: they read the files of reloads and scan all connections.
const HELPERS: usize = 16;

/// A compiled configuration with its source.
#[derive(Debug)]
pub struct StartConfig {
    /// Where it came from, for reloads.
    pub source: Source,
    /// What was loaded; the snapshot was moved out of it.
    pub loaded: Loaded,
    /// The compiled snapshot.
    pub snapshot: Snapshot,
    /// The TLS sessions that it was compiled with.
    pub sessions: Arc<Sessions>,
    /// The secrets of tickets that its fleet shares.
    pub tickets: Vec<TicketSecret>,
    /// The process log.
    pub log: LogHandle,
    /// The rights that the process has given up.
    pub sandbox: Arc<Sandbox>,
    /// Whether the process is ready only once every certificate is there.
    pub waits: bool,
    /// What it knows of its fleet, if it belongs to one.
    pub fleet: Option<Arc<FleetState>>,
}

/// Runs both planes: a thread for each worker, which serves connections, and the control loop on this one.
/// Returns after a signal or a request has stopped the server and its connections have ended.
///
/// `resources` are those of the snapshot in `config`. `signals` is called on the control loop's runtime.
/// `on_listening` is called with the addresses of the endpoints once clients can connect.
pub fn run(
    config: StartConfig,
    resources: Resources,
    signals: impl FnOnce() -> io::Result<Signals>,
    on_listening: impl FnOnce(&[(Arc<str>, String)]),
) -> Result<Ending, StartError> {
    let mut config = config;
    config.snapshot.generation = resources.generation();
    let (access_log, log) = (resources.access_log.clone(), config.log.clone());
    log.sink().start()?;
    access_log.start()?;
    let ending = run_planes(config, resources, signals, on_listening);
    access_log.flush();
    log.sink().flush();
    ending
}

fn run_planes(
    config: StartConfig,
    resources: Resources,
    signals: impl FnOnce() -> io::Result<Signals>,
    on_listening: impl FnOnce(&[(Arc<str>, String)]),
) -> Result<Ending, StartError> {
    let control = control_runtime()?;
    let signals = control.block_on(async { signals() })?;
    let fixed = StartupSettings::of(&config.snapshot, &config.loaded);
    let running = ActiveConfig {
        fixed: Arc::new(fixed),
        source: config.source,
        loaded: Arc::new(config.loaded),
        sessions: config.sessions,
        tickets: config.tickets,
        sandbox: config.sandbox,
    };
    let handshakes = Gate::new(
        "process.limits.handshakes",
        config.snapshot.process.handshakes,
    );
    let large_hellos = Gate::new("large ClientHellos", WorkerContext::LARGE_HELLOS);
    let pending = PendingConnections::new(resources.workers);
    let admission = Admission::new(resources.connections, pending.clone());
    let table: Arc<ConnTable<ConnInfo>> = Arc::default();
    let limits = Arc::new(LimitScopes::new(resources.workers));
    let live = Arc::new(Live::new(config.snapshot));
    limits.apply(live.load().limits());
    let gates = [&handshakes, &large_hellos];
    let of_process = gauges::metrics(&resources, &config.log, gates, &admission);
    let of_process = of_process.with_fleet(gauges::fleet(config.fleet.as_ref()));
    let metrics = metrics(of_process, &running, &live, &limits, &table);
    let (phase, phases) = watch::channel(Phase::Run);
    let failures = Failures::new(resources.workers);
    let (upstreams, origin_events) = Upstreams::new(control.handle().clone());
    let means = acme::Means::default();
    let challenges = Arc::clone(&means.challenges);
    let mut resources = resources;
    let responders = std::mem::take(&mut resources.sockets.responders);
    let lookup = means.lookup.clone();
    let (changed, renewed) = mpsc::channel(1);
    let handle = control.handle();
    let keepers = Keepers::new(handle.clone(), means, responders, changed.clone());
    let identities = Identities::new(handle.clone(), lookup.clone(), changed.clone());
    let fetchers = Fetchers::new(handle.clone(), lookup, changed);
    let context = Arc::new(WorkerContext {
        access_log: resources.access_log,
        counters: metrics.shard(0),
        phases,
        table,
        openings: Arc::default(),
        failures: failures.shard(0),
        pending: pending.shard(0),
        live: Arc::clone(&live),
        upstreams: Arc::new(upstreams),
        limits,
        handshakes,
        large_hellos,
        revoked: Arc::clone(running.sessions.revoked()),
        listeners: Arc::default(),
        challenges,
    });
    let origins = origins(&control, &context, &metrics);
    origins.apply(&live.load());
    let shared = Shared {
        admission,
        pending,
        failures: failures.clone(),
        metrics: Arc::clone(&metrics),
        active: Arc::default(),
    };
    let (workers, threads) = workers::spawn(resources.workers, &context, &shared)?;
    metrics.watch_issuers(gauges::issuers(keepers.statuses()));
    metrics.watch_fetches(gauges::fetches(fetchers.statuses()));
    metrics.watch_workers(gauges::worker_samples(&workers));
    let plane = ControlPlane {
        running,
        context,
        workers,
        active: shared.active,
        metrics,
        failures,
        phase,
        origins,
        log: config.log,
        keepers,
        identities,
        fetchers,
        waits: config.waits,
        fleet: config.fleet,
    };
    let ending = control.block_on(async {
        let (control, inputs) = plane
            .start(resources.sockets, signals, (origin_events, renewed))
            .await?;
        on_listening(&control.listeners.addresses());
        Ok(control.run(inputs).await)
    });
    join(threads);
    control.shutdown_background();
    ending
}

/// The metrics of the process with those of its parts, and the series of the first configuration.
fn metrics(
    of_process: Metrics,
    running: &ActiveConfig,
    live: &Arc<Live>,
    limits: &Arc<LimitScopes>,
    table: &Arc<ConnTable<ConnInfo>>,
) -> Arc<Metrics> {
    let table = Arc::clone(table);
    let metrics = of_process
        .with_scopes(gauges::scope_report(live, limits))
        .with_tickets(gauges::tickets(&running.sessions))
        .with_traffic(move |shard| live_traffic::count(&table, shard));
    let materials = &running.loaded.materials;
    metrics.register(&expiry_dates::inventory(&live.load(), materials));
    Arc::new(metrics)
}

fn control_runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .max_blocking_threads(HELPERS)
        .thread_keep_alive(Duration::from_secs(1))
        .thread_name("control")
        .enable_all()
        .build()
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            error!("a worker had panicked");
        }
    }
}

fn origins(control: &Runtime, context: &WorkerContext, metrics: &Arc<Metrics>) -> Origins {
    Origins {
        upstreams: Arc::clone(&context.upstreams),
        checks: Checks::new(control.handle().clone()),
        live: Arc::clone(&context.live),
        table: Arc::clone(&context.table),
        metrics: Arc::clone(metrics),
    }
}

#[cfg(test)]
mod tests;
