//! The reloads of the control loop: one in progress, at most one pending, each all or nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::admin::{Refusal, RefusalKind, RequestResult};
use crate::config::Severity;
use crate::config::load::{Loaded, Source};
use crate::connection::ConnInfo;
use crate::connection::table::ConnTable;
use crate::control::Control;
use crate::control::expiry_dates;
use crate::control::listeners::PendingListeners;
use crate::control::recheck;
use crate::control::reload::plan::{self, Change};
use crate::control::reload::prepare::{ActiveConfig, Prepared, Refused, Scope};
use crate::control::reload::watch::WatchSet;
use crate::control::status;
use crate::listener::BindError;
use crate::observe::format::timestamp;
use crate::observe::metrics::ReloadResult;
use crate::snapshot::Snapshot;

/// Receives the result of a request.
pub(crate) type ReplySender = oneshot::Sender<RequestResult>;

/// The requested reloads.
#[derive(Default)]
pub(crate) struct ReloadQueue {
    pub(crate) in_progress: Option<InProgress>,
    /// The result of the last reload, for `/status`.
    pub(crate) last: Option<Value>,
    /// Keys whose new value needs a restart.
    pub(crate) restart: Vec<&'static str>,
    /// Warnings about the active configuration that were logged already.
    reported: HashSet<String>,
    pending: Pending,
}

/// A reload whose files are being read.
pub(crate) struct InProgress {
    scope: Scope,
    materials: bool,
    reading: JoinHandle<Result<Prepared, Refused>>,
    waiting: Vec<ReplySender>,
}

/// A reload that waits for the one in progress. All requests that arrive meanwhile share it.
#[derive(Default)]
struct Pending {
    scope: Option<Scope>,
    /// Changed files are read again even if the configuration file is refused.
    materials: bool,
    waiting: Vec<ReplySender>,
}

/// A reload whose files were read.
pub(crate) struct FilesRead {
    scope: Scope,
    materials: bool,
    prepared: Result<Prepared, Refused>,
    waiting: Vec<ReplySender>,
}

/// Waits until the files of the reload in progress were read.
pub(crate) async fn files_read(in_progress: &mut Option<InProgress>) -> FilesRead {
    let Some(reload) = in_progress else {
        return std::future::pending().await;
    };
    let prepared = (&mut reload.reading).await.unwrap_or_else(|_| {
        Err(Refused {
            reasons: vec!["a defect of Reseal ended the reload; please report it".to_owned()],
        })
    });
    let (scope, materials) = (reload.scope, reload.materials);
    let waiting = std::mem::take(&mut reload.waiting);
    *in_progress = None;
    FilesRead {
        scope,
        materials,
        prepared,
        waiting,
    }
}

/// What a reload has changed, or would change.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) generation: u64,
    pub(crate) changes: Vec<Change>,
    /// For a plan: the number of live connections that would be closed for their certificates.
    pub(crate) disallowed: Option<usize>,
    pub(crate) warnings: Vec<String>,
    /// Keys whose new value needs a restart.
    pub(crate) restart: Vec<&'static str>,
}

impl ReloadQueue {
    /// The queue of a process that has logged the warnings of its start.
    pub(crate) fn after_start(loaded: &Loaded) -> Self {
        Self {
            reported: loaded.lines(Severity::Warning).collect(),
            ..Self::default()
        }
    }
}

impl Control {
    /// Starts a reload, or queues it behind the one in progress.
    pub(crate) fn reload(&mut self, scope: Scope, waiting: Option<ReplySender>) {
        let pending = &mut self.reloads.pending;
        pending.scope = pending.scope.max(Some(scope));
        pending.materials |= scope == Scope::Materials;
        pending.waiting.extend(waiting);
        self.next_reload();
    }

    /// Refuses all pending reloads: the process stops.
    pub(crate) fn refuse_pending_reloads(&mut self) {
        let in_progress = self.reloads.in_progress.take();
        let waiting = in_progress
            .into_iter()
            .flat_map(|in_progress| in_progress.waiting);
        for waiting in waiting.chain(self.reloads.pending.waiting.drain(..)) {
            let _ = waiting.send(Err(not_while_stopping()));
        }
    }

    fn next_reload(&mut self) {
        let ReloadQueue {
            in_progress,
            pending,
            ..
        } = &mut self.reloads;
        if in_progress.is_some() {
            return;
        }
        if let Some(scope) = pending.scope.take() {
            let (running, snapshot) = (self.running.clone(), Arc::clone(&self.live.load()));
            *in_progress = Some(InProgress {
                scope,
                materials: std::mem::take(&mut pending.materials),
                reading: tokio::task::spawn_blocking(move || running.prepare(scope, &snapshot)),
                waiting: std::mem::take(&mut pending.waiting),
            });
        }
    }

    /// Commits or refuses a reload whose files were read.
    pub(crate) async fn reloaded(&mut self, read: FilesRead) {
        let result = match read.prepared {
            Ok(prepared) => self.commit(prepared, read.scope).await,
            Err(refused) => Err(refused),
        };
        let time = timestamp(SystemTime::now());
        let answer = match result {
            Ok(report) => {
                self.reloads.log_report(&report, read.scope);
                let stale = self.running.loaded.materials.stale();
                let result = if stale.is_empty() {
                    ReloadResult::Done
                } else {
                    ReloadResult::Partial
                };
                self.metrics.reloaded(result);
                let mut last = json!({ "time": time, "result": result.word() });
                if !stale.is_empty() {
                    last["reasons"] = json!(stale);
                }
                self.reloads.last = Some(last);
                self.reloads.restart.clone_from(&report.restart);
                Ok(status::report(&report))
            }
            Err(refused) => {
                if read.scope == Scope::All && read.materials {
                    // The changed files are still read again: they do not depend on the refused text.
                    let pending = &mut self.reloads.pending;
                    pending.scope = pending.scope.max(Some(Scope::Materials));
                    pending.materials = true;
                }
                let reasons = &refused.reasons;
                for reason in reasons {
                    error!(
                        reason,
                        "the reload is refused, the running configuration stays"
                    );
                }
                let result = ReloadResult::Refused;
                self.metrics.reloaded(result);
                let last = json!({ "time": time, "result": result.word(), "reasons": reasons });
                self.reloads.last = Some(last);
                Err(refusal(&refused))
            }
        };
        for waiting in read.waiting {
            let _ = waiting.send(answer.clone());
        }
        self.next_reload();
    }

    /// Opens new listeners and swaps the snapshot. A failure before the swap leaves everything
    /// unchanged.
    async fn commit(&mut self, mut prepared: Prepared, scope: Scope) -> Result<Report, Refused> {
        let old = Arc::clone(&self.live.load());
        let new = match scope {
            Scope::All => self.open(&prepared.snapshot).await?,
            // Closed endpoints stay closed, and a bind error must not refuse a renewed certificate.
            Scope::Materials => PendingListeners::none(),
        };
        if self.listeners.needs_restart(&prepared.snapshot) {
            prepared.restart.push("a socket of systemd");
        }
        let changes = self.running.changes(&old, &prepared, &self.context.table);
        let materials = &prepared.loaded.materials;
        let inventory = expiry_dates::inventory(&prepared.snapshot, materials);
        self.metrics.register(&inventory);
        self.origins.apply(&prepared.snapshot);
        self.count_origins();
        let snapshot = self.live.swap(prepared.snapshot);
        let opened = new.addresses();
        if scope == Scope::All {
            for (endpoint, address) in self.listeners.commit(new, &snapshot) {
                info!(%endpoint, address, "no longer listening");
            }
            for (endpoint, address) in opened {
                info!(%endpoint, address, "listening");
            }
            self.listeners.closed.clear();
        }
        self.running.loaded = Arc::new(prepared.loaded);
        let watch_set = self.running.watch_set(&snapshot);
        self.watch_set.send_replace(watch_set);
        // Chains and lists may take long to check: on a blocking thread.
        let (table, today) = (Arc::clone(&self.context.table), Arc::clone(&snapshot));
        tokio::task::spawn_blocking(move || recheck::recheck_all(&table, &today));
        Ok(Report {
            generation: snapshot.generation,
            changes,
            disallowed: None,
            warnings: prepared.warnings,
            restart: prepared.restart,
        })
    }

    async fn open(&self, snapshot: &Snapshot) -> Result<PendingListeners, Refused> {
        let refused = |errors: Vec<BindError>| Refused {
            reasons: errors
                .into_iter()
                .map(|error| format!("endpoint `{}`: {}", error.endpoint, error.message))
                .collect(),
        };
        let new = self.listeners.bind(snapshot, self.workers.count());
        let new = new.map_err(refused)?;
        new.prepare(&self.workers).await.map_err(refused)?;
        Ok(new)
    }

    /// Reports what a reload would change, and changes nothing.
    pub(crate) fn plan(&self, reply: ReplySender) {
        let running = self.running.clone();
        let old = Arc::clone(&self.live.load());
        let table = Arc::clone(&self.context.table);
        tokio::task::spawn_blocking(move || {
            let report = running.prepare(Scope::All, &old).map(|prepared| Report {
                generation: old.generation,
                changes: running.changes(&old, &prepared, &table),
                disallowed: Some(recheck::disallowed(&table, &prepared.snapshot)),
                warnings: prepared.warnings,
                restart: prepared.restart,
            });
            let answer = report.map(|report| status::report(&report));
            let _ = reply.send(answer.map_err(|refused| refusal(&refused)));
        });
    }
}

/// The refusal of a reload while the process stops.
pub(crate) fn not_while_stopping() -> Refusal {
    Refusal::new(RefusalKind::Conflict, "not reloaded: the process stops")
}

fn refusal(refused: &Refused) -> Refusal {
    Refusal::new(RefusalKind::Conflict, refused.to_string())
}

impl ActiveConfig {
    /// What the prepared configuration changes, and how many live connections that affects.
    fn changes(
        &self,
        old: &Snapshot,
        prepared: &Prepared,
        table: &ConnTable<ConnInfo>,
    ) -> Vec<Change> {
        match (&self.loaded.spec, &prepared.loaded.spec) {
            (Some(old_spec), Some(new_spec)) => {
                plan::changes((old_spec, old), (new_spec, &prepared.snapshot), table)
            }
            // A spec exists whenever a snapshot was compiled.
            _ => Vec::new(),
        }
    }

    /// The files to watch.
    pub(crate) fn watch_set(&self, snapshot: &Snapshot) -> WatchSet {
        WatchSet {
            policy: snapshot.process.watch,
            file: match &self.source {
                Source::File(path) => Some(path.clone()),
                Source::Text { .. } => None,
            },
            file_stamp: Arc::new(self.loaded.stamp.clone()),
            material_stamps: Arc::new(self.loaded.materials.stamps().clone()),
        }
    }
}

impl ReloadQueue {
    /// Logs what a reload has changed. A renewal of files alone does not repeat the warnings about an
    /// unchanged configuration.
    fn log_report(&mut self, report: &Report, scope: Scope) {
        let restart = report.restart.iter();
        let restart =
            restart.map(|key| format!("restart needed: the running value of `{key}` stays"));
        let warnings: Vec<_> = report.warnings.iter().cloned().chain(restart).collect();
        for warning in &warnings {
            if scope == Scope::All || !self.reported.contains(warning) {
                warn!("{warning}");
            }
        }
        self.reported = warnings.into_iter().collect();
        for change in &report.changes {
            info!("{change}");
        }
        info!(
            generation = report.generation,
            changes = report.changes.len(),
            "reloaded"
        );
    }
}
