//! The control loop: signals, reloads, and what follows from the passing of time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tracing::{error, info, warn};

use super::census::Census;
use super::doors::{Doors, NewDoors};
use super::files::Followed;
use super::plan::{self, Change};
use super::reload::{Prepared, Refused, Running, Scope};
use super::retire::{self, Retirement, Window};
use super::signals::{Signal, Signals};
use super::worker::Workers;
use super::{CUT, Ending, Patience};
use crate::config::load::Source;
use crate::connection::Surroundings;
use crate::endpoint::BindError;
use crate::lifecycle::{Order, Phase};
use crate::observe::sink::Sink;
use crate::outcome::Reason;
use crate::snapshot::{Live, Snapshot};

/// How often older connections are looked after.
const ROUND: Duration = Duration::from_secs(1);

/// What a reload has changed.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) generation: u64,
    pub(super) changes: Vec<Change>,
    /// Live connections that are closed as their certificates are not admitted any more.
    pub(super) disallowed: usize,
    pub(super) warnings: Vec<String>,
    /// Keys whose new value needs a restart.
    pub(super) restart: Vec<&'static str>,
}

/// What came of a reload.
pub(super) type Answer = Result<Report, Refused>;

/// A reload that is under way: its files are being read.
struct UnderWay {
    began: SystemTime,
    reading: JoinHandle<Result<Prepared, Refused>>,
    waiting: Vec<oneshot::Sender<Answer>>,
}

/// A reload that waits for the one that is under way: however often it is asked for, it is one.
#[derive(Default)]
struct Pending {
    scope: Option<Scope>,
    waiting: Vec<oneshot::Sender<Answer>>,
}

/// Everything that the control loop holds in its hands.
pub(super) struct Control {
    pub(super) running: Running,
    pub(super) live: Arc<Live>,
    pub(super) doors: Doors,
    pub(super) crew: Arc<Workers>,
    pub(super) around: Arc<Surroundings>,
    pub(super) census: Arc<Census>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) log: Sink,
    pub(super) reloads: Reloads,
    pub(super) followed: watch::Sender<Followed>,
}

/// The reloads that were asked for.
#[derive(Default)]
pub(super) struct Reloads {
    under_way: Option<UnderWay>,
    pending: Pending,
    retirement: Retirement,
}

impl Control {
    /// Serves until a signal says stop, and to the end of the connections.
    pub(super) async fn live_on(
        mut self,
        mut signals: Signals,
        mut changes: mpsc::Receiver<Scope>,
        patience: Patience,
    ) -> Ending {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    Signal::Stop => break,
                    Signal::Reload => self.reload(Scope::All, None),
                    Signal::Reopen => self.reopen(),
                },
                read = read(&mut self.reloads.under_way) => self.reloaded(read).await,
                Some(scope) = changes.recv() => self.reload(scope, None),
                _ = rounds.tick() => self.look_after(),
            }
        }
        self.stop(signals, patience).await
    }

    /// Begins a reload, or notes that another one is to follow that which is under way.
    fn reload(&mut self, scope: Scope, waiting: Option<oneshot::Sender<Answer>>) {
        let pending = &mut self.reloads.pending;
        pending.scope = pending.scope.max(Some(scope));
        pending.waiting.extend(waiting);
        self.next_reload();
    }

    fn next_reload(&mut self) {
        let Reloads {
            under_way, pending, ..
        } = &mut self.reloads;
        if under_way.is_some() {
            return;
        }
        if let Some(scope) = pending.scope.take() {
            let running = self.running.clone();
            *under_way = Some(UnderWay {
                began: SystemTime::now(),
                reading: tokio::task::spawn_blocking(move || running.prepare(scope)),
                waiting: std::mem::take(&mut pending.waiting),
            });
        }
    }

    /// The files of a reload were read.
    async fn reloaded(&mut self, read: Read) {
        let answer = match read.prepared {
            Ok(prepared) => self.commit(prepared, read.began).await,
            Err(refused) => Err(refused),
        };
        match &answer {
            Ok(report) => tell(report),
            Err(refused) => {
                for reason in &refused.reasons {
                    error!(
                        reason,
                        "the reload is refused, the running configuration stays"
                    );
                }
            }
        }
        for waiting in read.waiting {
            let _ = waiting.send(answer.clone());
        }
        self.next_reload();
    }

    /// Opens what is new, and puts the new snapshot in the place of the old one. Up to the swap all
    /// can fail, and leaves everything as it was.
    async fn commit(&mut self, mut prepared: Prepared, began: SystemTime) -> Answer {
        let old = Arc::clone(&self.live.load());
        prepared.compare(&old);
        let new = self.open(&prepared.snapshot).await?;
        let changes = self.changes(&old, &prepared);
        let Prepared {
            loaded,
            snapshot,
            warnings,
            restart,
        } = prepared;
        let snapshot = self.live.swap(snapshot);
        let opened = new.addresses();
        for (endpoint, address) in self.doors.commit(new, &snapshot) {
            info!(%endpoint, address, "no longer listening");
        }
        for (endpoint, address) in opened {
            info!(%endpoint, address, "listening");
        }
        self.reloads.retirement.begin(&snapshot);
        self.running.loaded = Arc::new(loaded);
        self.followed
            .send_replace(self.running.followed(&snapshot, began));
        let (register, today) = (Arc::clone(&self.around.register), Arc::clone(&snapshot));
        let recheck = tokio::task::spawn_blocking(move || retire::recheck(&register, &today));
        let disallowed = recheck.await.unwrap_or_default();
        self.look_after();
        Ok(Report {
            generation: snapshot.generation,
            changes,
            disallowed,
            warnings,
            restart,
        })
    }

    async fn open(&self, snapshot: &Snapshot) -> Result<NewDoors, Refused> {
        let refused = |errors: Vec<BindError>| Refused {
            reasons: errors
                .into_iter()
                .map(|error| format!("endpoint `{}`: {}", error.endpoint, error.message))
                .collect(),
        };
        let new = self
            .doors
            .bind(snapshot, self.crew.count())
            .map_err(refused)?;
        new.prepare(&self.crew).await.map_err(refused)?;
        Ok(new)
    }

    fn changes(&self, old: &Snapshot, prepared: &Prepared) -> Vec<Change> {
        match (&self.running.loaded.spec, &prepared.loaded.spec) {
            (Some(old_spec), Some(new_spec)) => plan::changes(
                (old_spec, old),
                (new_spec, &prepared.snapshot),
                &self.around.register,
            ),
            // What was compiled had a spec.
            _ => Vec::new(),
        }
    }

    /// What time does to connections: those that left the configuration, and certificates that end.
    fn look_after(&mut self) {
        let snapshot = self.live.load();
        let register = &self.around.register;
        self.reloads.retirement.proceed(register, &snapshot);
        if snapshot.generation > 1 {
            // Those that were not established yet when the policy changed.
            retire::recheck(register, &snapshot);
        }
        retire::expire(register);
    }

    fn reopen(&self) {
        self.around.access_log.sink().reopen();
        self.log.reopen();
    }

    /// The end: drain, then cut.
    async fn stop(mut self, mut signals: Signals, patience: Patience) -> Ending {
        if patience == Patience::None {
            self.cut().await;
            return Ending::Drained;
        }
        let policy = self.live.load().process.drain;
        let cut_short = self
            .still(&mut signals, Instant::now() + policy.lame_duck)
            .await;
        let deadline = Instant::now() + policy.stop;
        info!(connections = self.census.count(), "draining");
        self.phase.send_replace(Phase::Drain);
        // The accept loops close their sockets; a unix socket's file goes with them.
        self.doors.close();
        let window = Window::stop(&policy);
        window.drain(&self.around.register.all());
        self.around.register.from_now_on(Order::Drain {
            idle_after: policy.idle_after,
            from: Instant::now(),
        });
        let drained = !cut_short && self.drained(&mut signals, deadline).await;
        if drained {
            self.phase.send_replace(Phase::Cut);
            info!("drained");
            return Ending::Drained;
        }
        let left = self.census.count();
        self.cut().await;
        if left == 0 {
            return Ending::Drained;
        }
        warn!(connections = left, "cut at the end of the drain");
        Ending::Cut
    }

    /// Ends every connection now, and waits for their last words.
    pub(super) async fn cut(&mut self) {
        self.doors.close();
        self.phase.send_replace(Phase::Cut);
        let end = Order::End {
            reason: Reason::Drain,
            at: Instant::now(),
        };
        self.around.register.from_now_on(end);
        for connection in self.around.register.all() {
            connection.leash.tell(end);
        }
        let _ = timeout(CUT, self.census.emptied()).await;
    }

    /// Goes on as before until `end`. `true` when a second signal ends the patience.
    async fn still(&self, signals: &mut Signals, end: Instant) -> bool {
        loop {
            tokio::select! {
                () = sleep_until(end) => return false,
                signal = signals.next() => match signal {
                    Signal::Stop => return true,
                    Signal::Reload => info!("not reloaded: the process stops"),
                    Signal::Reopen => self.reopen(),
                },
            }
        }
    }

    /// Whether all connections finished before the deadline and before a second signal.
    async fn drained(&self, signals: &mut Signals, deadline: Instant) -> bool {
        tokio::select! {
            () = self.census.emptied() => true,
            _ = self.still(signals, deadline) => false,
        }
    }
}

/// A reload whose files were read.
struct Read {
    prepared: Result<Prepared, Refused>,
    began: SystemTime,
    waiting: Vec<oneshot::Sender<Answer>>,
}

/// Waits until the files of the reload that is under way were read.
async fn read(under_way: &mut Option<UnderWay>) -> Read {
    let Some(reload) = under_way else {
        return std::future::pending().await;
    };
    let prepared = (&mut reload.reading).await.unwrap_or_else(|_| {
        Err(Refused {
            reasons: vec!["a defect of Reseal ended the reload; please report it".to_owned()],
        })
    });
    let (began, waiting) = (reload.began, std::mem::take(&mut reload.waiting));
    *under_way = None;
    Read {
        prepared,
        began,
        waiting,
    }
}

impl Running {
    /// What is to be watched for changes.
    pub(super) fn followed(&self, snapshot: &Snapshot, read_at: SystemTime) -> Followed {
        Followed {
            policy: snapshot.process.watch,
            file: match &self.source {
                Source::File(path) => Some(path.clone()),
                Source::Text { .. } => None,
            },
            materials: self.loaded.materials.paths().map(Into::into).collect(),
            read_at,
        }
    }
}

fn tell(report: &Report) {
    for warning in &report.warnings {
        warn!("{warning}");
    }
    for key in &report.restart {
        warn!(key, "restart needed: the running value of this key stays");
    }
    for change in &report.changes {
        info!("{change}");
    }
    info!(
        generation = report.generation,
        changes = report.changes.len(),
        disallowed = report.disallowed,
        "reloaded"
    );
}
