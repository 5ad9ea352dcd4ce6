//! Starts and runs a server: sockets, workers, control loop, shutdown.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch as watched};
use tracing::{error, info, warn};

use crate::control::expiry::ExpiryWarnings;
use crate::control::listeners::{Listeners, PendingListeners};
use crate::control::origins::Origins;
use crate::control::reload::commit::ReloadTargets;
use crate::control::reload::prepare::{ActiveConfig, StartupSettings};
use crate::control::reload::watch::WatchSet;
use crate::control::reload::{Reloader, watch};
use crate::control::shutdown::Shutdown;
use crate::control::signals::Signals;
use crate::control::status::StatusView;
use crate::control::{Control, Inputs};
use crate::worker::active::ActiveCount;

use crate::admin::{self, Probes};
use crate::admission::{Admission, Gate, PendingConnections};
use crate::config::load::{Loaded, Source};
use crate::connection::table::ConnTable;
use crate::connection::{ConnInfo, WorkerContext};
pub use crate::control::shutdown::{Ending, StopMode};
use crate::control::{expiry_dates, rlimit};
use crate::health::Checks;
use crate::listener::BindError;
use crate::observe::access_log::AccessLog;
use crate::observe::logging::LogHandle;
use crate::observe::metrics::Metrics;
use crate::observe::sink::Output;
use crate::phase::{Phase, PhaseRx};
use crate::snapshot::{Live, Snapshot};
use crate::tls;
use crate::tls::sessions::Sessions;
use crate::upstream::Upstreams;
use crate::worker::{Worker, Workers};

/// Blocking threads beside the control loop: they read the files of reloads and scan all connections.
const HELPERS: usize = 16;

/// A worker polls its sockets after this many task polls. With tokio's default of 61, one busy
/// connection delays the readiness of all others of its worker by 61 of its own polls.
const EVENT_INTERVAL: u32 = 2;

/// Why a server cannot start.
#[derive(Debug)]
pub enum StartError {
    /// Listening sockets cannot be bound.
    Bind(Vec<BindError>),
    /// The admin socket or the metrics listener cannot be bound: one sentence.
    Admin(String),
    /// The access log cannot be opened.
    Log(Output, io::Error),
    /// Threads, descriptors or randomness are missing.
    System(String),
}

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
}

/// A server whose sockets are bound.
#[derive(Debug)]
pub struct Server {
    running: ActiveConfig,
    live: Arc<Live>,
    bound: PendingListeners,
    workers: usize,
    admission: Admission,
    pending: PendingConnections,
    handshakes: Gate,
    access_log: AccessLog,
    log: LogHandle,
    metrics: Arc<Metrics>,
    admin: admin::AdminListeners,
}

impl Server {
    /// Opens what the snapshot needs: descriptors, logs, sockets. Nothing is accepted yet.
    pub fn start(config: StartConfig, log: LogHandle) -> Result<Self, StartError> {
        let snapshot = config.snapshot;
        tls::seed_randomness()
            .map_err(|_| StartError::System("no randomness to be had".to_owned()))?;
        let access_log = AccessLog::start(&snapshot.access_log)
            .map_err(|e| StartError::Log(snapshot.access_log.output.clone(), e))?;
        for warning in rlimit::warnings(&snapshot) {
            warn!("{warning}");
        }
        let workers = snapshot.process.workers.unwrap_or_else(rlimit::cores);
        rlimit::raise().map_err(|e| StartError::System(e.to_string()))?;
        let bound = Listeners::first(&snapshot, workers).map_err(StartError::Bind)?;
        let admin = admin::AdminListeners::bind(&snapshot.admin).map_err(StartError::Admin)?;
        // Each accept socket has a second descriptor, with its worker.
        let reserved = 2 * bound.sockets() + admin.descriptors();
        let connections = rlimit::connections(snapshot.process.connections, workers, reserved)
            .map_err(StartError::System)?;
        let logs = vec![
            ("access", access_log.sink().clone()),
            ("process", log.sink().clone()),
        ];
        let pending = PendingConnections::new(workers);
        let handshakes = Gate::new(snapshot.process.handshakes);
        let load = handshakes.load();
        let handshaking = vec![("admitted", load.in_use), ("waiting", load.waiting)];
        let metrics = Metrics::new(workers, logs, handshaking);
        metrics.register(&expiry_dates::inventory(
            &snapshot,
            &config.loaded.materials,
        ));
        Ok(Self {
            running: ActiveConfig {
                fixed: Arc::new(StartupSettings::of(&snapshot, &config.loaded)),
                source: config.source,
                loaded: Arc::new(config.loaded),
                sessions: config.sessions,
            },
            bound,
            workers,
            admission: Admission::new(connections, pending.clone()),
            pending,
            handshakes,
            access_log,
            log,
            metrics: Arc::new(metrics),
            admin,
            live: Arc::new(Live::new(snapshot)),
        })
    }

    /// The addresses listened on, each with its endpoint.
    pub fn addresses(&self) -> Vec<(Arc<str>, String)> {
        self.bound.addresses()
    }

    /// Serves until a signal stops the server, then drains the connections. Calls `on_listening` once
    /// clients can connect.
    pub fn run(self, mode: StopMode, on_listening: impl FnOnce()) -> Result<Ending, StartError> {
        let system = |e: io::Error| StartError::System(e.to_string());
        let control = Builder::new_current_thread()
            .max_blocking_threads(HELPERS)
            .thread_keep_alive(Duration::from_secs(1))
            .thread_name("control")
            .enable_all()
            .build()
            .map_err(system)?;
        let signals = control
            .block_on(async { Signals::listen() })
            .map_err(system)?;
        let (phase, phases) = watched::channel(Phase::Run);
        let (upstreams, origin_events) = Upstreams::new(control.handle().clone());
        let upstreams = Arc::new(upstreams);
        let table = Arc::<ConnTable<ConnInfo>>::default();
        let origins = Origins {
            upstreams: Arc::clone(&upstreams),
            checks: Checks::new(control.handle().clone()),
            live: Arc::clone(&self.live),
            table: Arc::clone(&table),
            metrics: Arc::clone(&self.metrics),
        };
        origins.apply(&self.live.load());
        let context = Arc::new(WorkerContext {
            access_log: self.access_log.clone(),
            counters: self.metrics.shard(0),
            phases: phases.clone(),
            table,
            pending: self.pending.shard(0),
            live: Arc::clone(&self.live),
            upstreams: Arc::clone(&upstreams),
            handshakes: self.handshakes.clone(),
            large_hellos: Gate::new(WorkerContext::LARGE_HELLOS),
            listeners: Arc::default(),
        });
        let active = Arc::new(ActiveCount::default());
        let (handles, threads) = self.spawn_workers(&context, &active).map_err(system)?;
        let (access_log, log) = (self.access_log.clone(), self.log.clone());
        let parts = ControlParts {
            context,
            active,
            workers: handles,
            phase,
            phases,
            signals,
            origins,
            origin_events,
            mode,
        };
        let ending = control.block_on(self.serve(parts, on_listening));
        for thread in threads {
            if thread.join().is_err() {
                error!("a worker had panicked");
            }
        }
        control.shutdown_background();
        access_log.sink().flush();
        log.sink().flush();
        ending
    }

    /// Opens the listeners, and runs the control loop.
    async fn serve(
        self,
        parts: ControlParts,
        on_listening: impl FnOnce(),
    ) -> Result<Ending, StartError> {
        let snapshot = Arc::clone(&self.live.load());
        let (watch_set, follow) = watched::channel(WatchSet::of(&self.running, &snapshot));
        let (changed, changes) = mpsc::channel(1);
        let (handle, requests) = admin::channel();
        let probes = Probes {
            metrics: Arc::clone(&self.metrics),
            phases: parts.phases,
        };
        let opened: Vec<_> = self.admin.addresses();
        let admin = self.admin.open(&handle, &probes);
        let admin = admin.map_err(|e| {
            // The workers are running already; this stops them.
            parts.phase.send_replace(Phase::Abort);
            StartError::System(e.to_string())
        })?;
        let table = &parts.context.table;
        let targets = ReloadTargets {
            live: Arc::clone(&self.live),
            table: Arc::clone(table),
            metrics: Arc::clone(&self.metrics),
            workers: Arc::clone(&parts.workers),
            watch_set,
        };
        let mut control = Control {
            table: Arc::clone(table),
            listeners: Listeners::new(Arc::clone(&parts.context.listeners)),
            origins: parts.origins,
            reloads: Reloader::new(self.running, targets),
            shutdown: Shutdown::new(parts.phase, Arc::clone(table), Arc::clone(&parts.active)),
            status: StatusView {
                live: Arc::clone(&self.live),
                table: Arc::clone(table),
                active: parts.active,
                metrics: self.metrics,
            },
            expiry: ExpiryWarnings::default(),
            log: self.log,
            access_log: self.access_log.sink().clone(),
            live: self.live,
            _admin: admin,
        };
        control.origins.count();
        if let Err(errors) = self.bound.prepare(&parts.workers).await {
            drop(self.bound);
            control.shutdown.abort(&mut control.listeners).await;
            return Err(StartError::Bind(errors));
        }
        control.listeners.commit(self.bound, &snapshot);
        for (endpoint, address) in control.listeners.addresses() {
            info!(%endpoint, address, "listening");
        }
        for (listener, address) in opened {
            info!(listener, address, "listening");
        }
        on_listening();
        tokio::spawn(watch::watch(follow, changed));
        let inputs = Inputs {
            signals: parts.signals,
            requests,
            changes,
            origin_events: parts.origin_events,
        };
        Ok(control.run(inputs, parts.mode).await)
    }

    /// Starts the workers. Everything that can fail is done before the first thread starts.
    fn spawn_workers(
        &self,
        context: &Arc<WorkerContext>,
        active: &Arc<ActiveCount>,
    ) -> io::Result<(Arc<Workers>, Vec<thread::JoinHandle<()>>)> {
        let runtimes: Vec<_> = (0..self.workers)
            .map(|_| {
                let mut builder = Builder::new_current_thread();
                builder.enable_all().event_interval(EVENT_INTERVAL).build()
            })
            .collect::<io::Result<_>>()?;
        let (handles, inboxes) = Workers::new(&runtimes);
        let mut workers = Vec::new();
        for (index, (runtime, inbox)) in runtimes.into_iter().zip(inboxes).enumerate() {
            let worker = Worker {
                index,
                workers: Arc::clone(&handles),
                inbox,
                live: Arc::clone(&self.live),
                admission: self.admission.clone(),
                context: Arc::new(WorkerContext {
                    counters: self.metrics.shard(index),
                    pending: self.pending.shard(index),
                    ..WorkerContext::clone(context)
                }),
                active: Arc::clone(active),
            };
            workers.push((index, runtime, worker));
        }
        let threads = workers
            .into_iter()
            .map(|(index, runtime, worker)| {
                thread::Builder::new()
                    .name(format!("worker-{index}"))
                    .spawn(move || runtime.block_on(worker.work()))
            })
            .collect::<io::Result<_>>()?;
        Ok((handles, threads))
    }
}

/// What the control loop needs besides the server itself.
struct ControlParts {
    context: Arc<WorkerContext>,
    active: Arc<ActiveCount>,
    workers: Arc<Workers>,
    phase: watched::Sender<Phase>,
    phases: PhaseRx,
    signals: Signals,
    origins: Origins,
    origin_events: crate::control::origins::OriginEvents,
    mode: StopMode,
}
