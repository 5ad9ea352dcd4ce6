//! The life of the process: sockets, workers, signals, and the end.

mod census;
mod control;
mod limits;
mod signals;
mod worker;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{error, info, warn};

use self::census::Census;
use self::control::Control;
use self::signals::{Signal, Signals};
use self::worker::{Listener, Worker, Workers};
use crate::admin::{self, Doors, Probes};
use crate::admission::Admission;
use crate::connection::Surroundings;
use crate::endpoint::unix::SocketFile;
use crate::endpoint::{self, BindError, Bound};
use crate::lifecycle::{Phase, Phases};
use crate::observe::access_log::AccessLog;
use crate::observe::logging::LogHandle;
use crate::observe::metrics::Metrics;
use crate::snapshot::{DrainPolicy, Live, Snapshot};
use crate::sys;
use crate::tls;
use crate::upstream::Resolver;

/// Connections that are cut may still send their last bytes, for a second each; this is a bit more.
const CUT: Duration = Duration::from_millis(1500);

/// How many names may be looked up at once.
const LOOKUPS: usize = 16;

/// Why a server cannot start.
#[derive(Debug)]
pub enum StartError {
    /// Listening sockets cannot be had.
    Bind(Vec<BindError>),
    /// The admin socket or the metrics listener cannot be had: one sentence.
    Admin(String),
    /// A log cannot be opened.
    Log(io::Error),
    /// Threads, descriptors or randomness are missing.
    System(String),
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every connection had finished.
    Drained,
    /// Some were cut.
    Cut,
}

/// How patient a stop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// The first signal drains, a second one cuts.
    Drain,
    /// The first signal cuts: for commands that somebody watches at a terminal.
    None,
}

/// The listening sockets, by endpoint.
type Sockets = Vec<(Arc<str>, Vec<Bound>)>;

/// A server whose sockets are bound.
#[derive(Debug)]
pub struct Server {
    live: Arc<Live>,
    bound: Sockets,
    workers: usize,
    admission: Admission,
    access_log: AccessLog,
    log: LogHandle,
    metrics: Arc<Metrics>,
    doors: Doors,
    config: String,
    drain: DrainPolicy,
}

impl Server {
    /// Opens what the snapshot needs: descriptors, logs, sockets. Nothing is accepted yet. `config` is
    /// what the snapshot was made of, for those who ask.
    pub fn start(snapshot: Snapshot, log: LogHandle, config: String) -> Result<Self, StartError> {
        tls::seed_randomness()
            .map_err(|_| StartError::System("no randomness to be had".to_owned()))?;
        let access_log = AccessLog::start(&snapshot.access_log).map_err(StartError::Log)?;
        let workers = snapshot.process.workers.unwrap_or_else(limits::cores);
        limits::raise().map_err(|e| StartError::System(e.to_string()))?;
        let bound = bind_all(&snapshot, workers)?;
        let doors = Doors::bind(&snapshot.admin).map_err(StartError::Admin)?;
        let sockets = bound.iter().flat_map(|(_, bound)| bound);
        let sockets: usize = sockets.map(|bound| bound.sockets.len()).sum();
        let reserved = sockets + doors.descriptors();
        let connections = limits::connections(snapshot.process.connections, workers, reserved)
            .map_err(StartError::System)?;
        let logs = vec![
            ("access", access_log.sink().clone()),
            ("process", log.sink().clone()),
        ];
        let metrics = Metrics::new(workers, logs);
        metrics.adopt(&control::inventory(&snapshot));
        Ok(Self {
            bound,
            workers,
            admission: Admission::new(connections, snapshot.process.handshakes),
            access_log,
            log,
            metrics: Arc::new(metrics),
            doors,
            config,
            drain: snapshot.process.drain,
            live: Arc::new(Live::new(snapshot)),
        })
    }

    /// The addresses listened on, by endpoint.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, &str)> {
        self.bound
            .iter()
            .flat_map(|(name, bound)| bound.iter().map(move |b| (&**name, b.address.as_str())))
    }

    /// Serves until a signal says stop, and to the end of its connections.
    pub fn run(mut self, patience: Patience) -> Result<Ending, StartError> {
        let system = |e: io::Error| StartError::System(e.to_string());
        let control = Builder::new_current_thread()
            .max_blocking_threads(LOOKUPS)
            .thread_name("control")
            .enable_all()
            .build()
            .map_err(system)?;
        let (phase, phases) = watch::channel(Phase::Run);
        let signals = control
            .block_on(async { Signals::listen() })
            .map_err(system)?;
        let around = Arc::new(Surroundings {
            resolver: Resolver::new(control.handle().clone()),
            access_log: self.access_log.clone(),
            counters: self.metrics.shard(0),
            phases: phases.clone(),
        });
        let census = Arc::new(Census::default());
        let doors = self.doors.addresses();
        let _file = self.open_doors(&control, &census, phases).map_err(system)?;
        let threads = self.spawn_workers(&around, &census).map_err(system)?;
        for (endpoint, address) in self.addresses() {
            info!(endpoint, address, "listening");
        }
        for (door, address) in doors {
            info!(door, address, "listening");
        }
        let ending = control.block_on(self.live_on(signals, phase, &census, patience));
        for thread in threads {
            if thread.join().is_err() {
                error!("a worker had panicked");
            }
        }
        control.shutdown_background();
        self.access_log.sink().flush();
        self.log.sink().flush();
        Ok(ending)
    }

    /// Lets the process be asked. The admin socket's file goes with what is returned.
    fn open_doors(
        &mut self,
        runtime: &Runtime,
        census: &Arc<Census>,
        phases: Phases,
    ) -> io::Result<Option<SocketFile>> {
        let _within = runtime.enter();
        let (handle, calls) = admin::channel();
        let addresses = self.addresses();
        let addresses = addresses.map(|(e, a)| (e.into(), a.to_owned())).collect();
        let control = Control {
            live: Arc::clone(&self.live),
            census: Arc::clone(census),
            phases: phases.clone(),
            metrics: Arc::clone(&self.metrics),
            log: self.log.clone(),
            config: std::mem::take(&mut self.config),
            addresses,
        };
        tokio::spawn(control.answer_all(calls));
        let metrics = Arc::clone(&self.metrics);
        std::mem::take(&mut self.doors).open(&handle, &Probes { metrics, phases })
    }

    /// Starts the workers. All that can fail is done before a thread is begun.
    fn spawn_workers(
        &mut self,
        around: &Arc<Surroundings>,
        census: &Arc<Census>,
    ) -> io::Result<Vec<thread::JoinHandle<()>>> {
        let (crew, inboxes) = Workers::new(self.workers);
        let mut workers = Vec::new();
        for (index, inbox) in inboxes.into_iter().enumerate() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let worker = Worker {
                index,
                crew: Arc::clone(&crew),
                inbox,
                listeners: self.listeners(&runtime)?,
                live: Arc::clone(&self.live),
                admission: self.admission.clone(),
                around: Arc::new(Surroundings {
                    counters: self.metrics.shard(index),
                    ..Surroundings::clone(around)
                }),
                census: Arc::clone(census),
            };
            workers.push((index, runtime, worker));
        }
        workers
            .into_iter()
            .map(|(index, runtime, worker)| {
                thread::Builder::new()
                    .name(format!("worker-{index}"))
                    .spawn(move || runtime.block_on(worker.work()))
            })
            .collect()
    }

    /// Takes the sockets of one worker, so that they are closed when its accept loops end.
    fn listeners(&mut self, runtime: &Runtime) -> io::Result<Vec<Listener>> {
        let _within = runtime.enter();
        let mut listeners = Vec::new();
        for (name, bound) in &mut self.bound {
            for socket in bound.iter_mut().filter_map(|bound| bound.sockets.pop()) {
                listeners.push((Arc::clone(name), sys::watch(socket)?));
            }
        }
        Ok(listeners)
    }

    /// The control loop: one signal after the other, until nothing is left to serve.
    async fn live_on(
        &mut self,
        mut signals: Signals,
        phase: watch::Sender<Phase>,
        census: &Census,
        patience: Patience,
    ) -> Ending {
        self.until_stop(&mut signals).await;
        if patience == Patience::None {
            phase.send_replace(Phase::Cut);
            let _ = timeout(CUT, census.emptied()).await;
            return Ending::Drained;
        }
        phase.send_replace(Phase::LameDuck);
        let cut_short = self.lame_duck(&mut signals).await;
        let deadline = Instant::now() + self.drain.stop;
        info!(connections = census.count(), "draining");
        phase.send_replace(Phase::Drain {
            idle_after: self.drain.idle_after,
        });
        // The accept loops close their sockets; a unix socket's file goes with them.
        self.bound.clear();
        let drained = !cut_short && self.drained(&mut signals, census, deadline).await;
        if drained {
            phase.send_replace(Phase::Cut);
            info!("drained");
            return Ending::Drained;
        }
        let left = census.count();
        phase.send_replace(Phase::Cut);
        let _ = timeout(CUT, census.emptied()).await;
        if left == 0 {
            return Ending::Drained;
        }
        warn!(connections = left, "cut at the end of the drain");
        Ending::Cut
    }

    async fn until_stop(&self, signals: &mut Signals) {
        loop {
            match signals.next().await {
                Signal::Stop => return,
                other => self.handle(other),
            }
        }
    }

    /// Still accepting for `lame_duck`. `true` when a second signal ends the patience.
    async fn lame_duck(&self, signals: &mut Signals) -> bool {
        let end = Instant::now() + self.drain.lame_duck;
        loop {
            tokio::select! {
                () = sleep_until(end) => return false,
                signal = signals.next() => match signal {
                    Signal::Stop => return true,
                    other => self.handle(other),
                },
            }
        }
    }

    /// Whether all connections finished before the deadline and before a second signal.
    async fn drained(&self, signals: &mut Signals, census: &Census, deadline: Instant) -> bool {
        loop {
            tokio::select! {
                () = census.emptied() => return true,
                () = sleep_until(deadline) => return false,
                signal = signals.next() => match signal {
                    Signal::Stop => return false,
                    other => self.handle(other),
                },
            }
        }
    }

    fn handle(&self, signal: Signal) {
        match signal {
            Signal::Reopen => {
                self.access_log.sink().reopen();
                self.log.sink().reopen();
            }
            Signal::Reload => warn!("reload is not supported yet: the running configuration stays"),
            Signal::Stop => {}
        }
    }
}

fn bind_all(snapshot: &Snapshot, workers: usize) -> Result<Sockets, StartError> {
    let mut bound = Vec::new();
    let mut errors = Vec::new();
    for endpoint in &snapshot.endpoints {
        match endpoint::bind(endpoint, workers) {
            Ok(sockets) => bound.push((Arc::clone(&endpoint.name), sockets)),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(bound)
    } else {
        Err(StartError::Bind(errors))
    }
}
