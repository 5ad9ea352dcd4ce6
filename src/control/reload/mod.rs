//! Reload: watching files, queueing, preparing all that can fail, and committing.

pub(crate) mod commit;
pub(crate) mod plan;
pub(crate) mod prepare;
pub(crate) mod queue;
pub(crate) mod report;
pub(crate) mod watch;

use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};
use tracing::{error, warn};

use self::commit::ReloadTargets;
use self::prepare::{ActiveConfig, Scope};
use self::queue::{FilesRead, ReloadQueue, ReplySender};
use self::report::{Report, refusal};
use self::watch::FileChange;
use crate::admin::RequestResult;
use crate::config::compile::Materials;
use crate::config::{self, Severity};
use crate::control::listeners::Listeners;
use crate::control::origins::Origins;
use crate::control::recheck;
use crate::control::sd_notify::Notifier;
use crate::fleet::Document;
use crate::observe::format::timestamp;
use crate::observe::metrics::{ReloadExtent, ReloadResult};
use crate::sandbox::Sandbox;
use crate::tls::sessions::TicketSecret;

/// How many reloads are kept for operators.
const HISTORY: usize = 16;

/// The active configuration and the reloads that replace it, each all or nothing.
pub(crate) struct Reloader {
    running: ActiveConfig,
    targets: ReloadTargets,
    queue: ReloadQueue,
    notifier: Notifier,
    /// Whether reloads wait: for the end of a takeover.
    is_held: bool,
    /// The result of the last reload, for `/status`.
    last: Option<Value>,
    /// The last reloads, the latest first.
    history: VecDeque<Value>,
    /// Keys whose new value needs a restart.
    restart: Vec<&'static str>,
    /// Warnings about the active configuration that were logged already.
    reported: HashSet<String>,
}

impl Reloader {
    /// The reloads of a process that has logged the warnings of its start.
    pub(crate) fn new(running: ActiveConfig, targets: ReloadTargets, notifier: Notifier) -> Self {
        Self {
            reported: running.loaded.lines(Severity::Warning).collect(),
            running,
            targets,
            queue: ReloadQueue::default(),
            notifier,
            is_held: false,
            last: None,
            history: VecDeque::new(),
            restart: Vec::new(),
        }
    }

    /// The path of the configuration.
    pub(crate) fn source(&self) -> &Path {
        self.running.source.path()
    }

    /// The rights that the process has given up.
    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.running.sandbox
    }

    /// The contents of the files that the configuration names.
    pub(crate) fn materials(&self) -> &Materials {
        &self.running.loaded.materials
    }

    /// The result of the last reload, for `/status`.
    pub(crate) const fn last(&self) -> Option<&Value> {
        self.last.as_ref()
    }

    /// The last reloads, the latest first, with what each has changed, for `/reloads`.
    pub(crate) fn history(&self) -> Value {
        json!({ "reloads": self.history })
    }

    /// Keeps a reload: its result, and what it has changed.
    fn remember(&mut self, scope: Scope, last: Value, report: Option<&Report>) {
        let mut entry = last.clone();
        entry["scope"] = json!(match scope {
            Scope::All => "all",
            Scope::Materials => "materials",
        });
        if let (Some(report), Value::Object(entry)) = (report, &mut entry) {
            let Value::Object(changed) = report.json() else {
                return;
            };
            entry.extend(changed);
        }
        self.history.truncate(HISTORY - 1);
        self.history.push_front(entry);
        self.last = Some(last);
    }

    /// Keys whose new value needs a restart.
    pub(crate) fn restart_needed(&self) -> &[&'static str] {
        &self.restart
    }

    /// The configuration in force as YAML. Secrets are in files and not in it.
    pub(crate) fn configuration(&self) -> Value {
        let spec = self.running.loaded.spec.as_ref();
        let spec = spec.map(|spec| self.running.fixed.in_force(spec));
        json!({ "yaml": spec.as_ref().map(config::print).unwrap_or_default() })
    }

    /// Starts a reload, or queues it behind the one in progress.
    pub(crate) fn request(&mut self, scope: Scope, waiting: Option<ReplySender>) {
        self.queue.push(scope, waiting);
        self.start_next();
    }

    /// Issues and accepts tickets with these secrets from now on.
    pub(crate) fn use_tickets(&mut self, tickets: Vec<TicketSecret>) {
        self.running.tickets = tickets;
        self.request(Scope::Materials, None);
    }

    /// Starts a reload with a document of the fleet, or queues it.
    pub(crate) fn serve_document(&mut self, document: Arc<Document>, waiting: ReplySender) {
        self.queue.push_document(document, waiting);
        self.start_next();
    }

    /// Starts a reload because files have changed, or queues it.
    pub(crate) fn files_changed(&mut self, change: FileChange) {
        self.queue.push_change(change.scope, change.stamps);
        self.start_next();
    }

    /// Refuses all reloads: the process stops.
    pub(crate) fn refuse_all(&mut self) {
        self.queue.refuse_all();
    }

    /// Whether the files of a reload are being read.
    pub(crate) const fn is_reading(&self) -> bool {
        self.queue.is_reading()
    }

    /// Lets reloads wait until [`Reloader::release`].
    pub(crate) const fn hold(&mut self) {
        self.is_held = true;
    }

    /// Continues with the reloads that were requested meanwhile.
    pub(crate) fn release(&mut self) {
        self.is_held = false;
        self.start_next();
    }

    fn start_next(&mut self) {
        if self.is_held {
            return;
        }
        let (running, targets, notifier) = (&self.running, &self.targets, &self.notifier);
        self.queue.start(|scope, inputs| {
            if scope == Scope::All {
                notifier.reloading();
            }
            let (running, snapshot) = (running.clone(), Arc::clone(&targets.live.load()));
            let table = Arc::clone(&targets.table);
            tokio::task::spawn_blocking(move || {
                let running = running.with(inputs.document);
                running.prepare(scope, inputs.stamps.as_deref(), &snapshot, &table)
            })
        });
    }

    /// Waits until the files of the reload in progress were read; forever, if there is none. May be dropped
    /// at any await.
    pub(crate) async fn files_read(&mut self) -> FilesRead {
        self.queue.files_read().await
    }

    /// Commits or refuses a reload whose files were read, and starts the next one.
    pub(crate) async fn finish(
        &mut self,
        read: FilesRead,
        listeners: &mut Listeners,
        origins: &Origins,
    ) {
        let FilesRead {
            scope,
            materials,
            prepared,
            waiting,
        } = read;
        let result = match prepared {
            Ok(prepared) => {
                let (targets, running) = (&self.targets, &mut self.running);
                targets
                    .commit(running, prepared, scope, listeners, origins)
                    .await
            }
            Err(refused) => Err(refused),
        };
        let time = timestamp(SystemTime::now());
        let answer = match result {
            Ok(report) => {
                self.log(&report, scope);
                let stale = self.materials().stale();
                let result = if stale.is_empty() {
                    ReloadResult::Done
                } else {
                    ReloadResult::Partial
                };
                self.targets.metrics.reloaded(result, extent(scope));
                let mut last = json!({ "time": time, "result": result.word() });
                if !stale.is_empty() {
                    last["reasons"] = json!(stale);
                }
                self.remember(scope, last, Some(&report));
                self.restart.clone_from(&report.restart);
                Ok(report.json())
            }
            Err(refused) => {
                self.queue.after_refusal(scope, materials);
                let reasons = &refused.reasons;
                for reason in reasons {
                    error!(
                        reason,
                        "the reload is refused, the running configuration stays"
                    );
                }
                let result = ReloadResult::Refused;
                self.targets.metrics.reloaded(result, extent(scope));
                let last = json!({ "time": time, "result": result.word(), "reasons": reasons });
                self.remember(scope, last, None);
                Err(refusal(&refused))
            }
        };
        if scope == Scope::All {
            self.notify(&answer);
        }
        for reply in waiting {
            let _ = reply.send(answer.clone());
        }
        self.start_next();
    }

    /// Tells the service manager that a reload has ended.
    fn notify(&self, answer: &RequestResult) {
        let generation = self.targets.live.load().generation;
        let status = match answer {
            Ok(_) => format!("serving, generation {generation}"),
            Err(refusal) => format!(
                "serving, generation {generation}; the last reload was refused: {}",
                refusal.message
            ),
        };
        self.notifier.ready(&status);
    }

    /// Reports what a reload would change, and changes nothing.
    pub(crate) fn plan(&self, listeners: &Listeners, reply: ReplySender) {
        let closed = listeners.closed.clone();
        let running = self.running.clone();
        let old = Arc::clone(&self.targets.live.load());
        let table = Arc::clone(&self.targets.table);
        tokio::task::spawn_blocking(move || {
            let prepared = running.prepare(Scope::All, None, &old, &table);
            let report = prepared.map(|prepared| {
                let mut changes = prepared.changes;
                let stays = |name: &&Arc<str>| prepared.snapshot.endpoint(name).is_some();
                changes.extend(plan::reopened(closed.iter().filter(stays), &table));
                Report {
                    generation: old.generation,
                    changes,
                    disallowed: Some(recheck::disallowed(&table, &prepared.snapshot)),
                    denied: Some(recheck::denied(&table, &prepared.snapshot)),
                    warnings: prepared.warnings,
                    restart: prepared.restart,
                }
            });
            let answer = report.map(|report| report.json());
            let _ = reply.send(answer.map_err(|refused| refusal(&refused)));
        });
    }

    /// Logs what a reload has changed. A renewal of files alone does not repeat the warnings about an
    /// unchanged configuration.
    fn log(&mut self, report: &Report, scope: Scope) {
        let warnings = report.all_warnings();
        for warning in &warnings {
            if scope == Scope::All || !self.reported.contains(warning) {
                warn!("{warning}");
            }
        }
        self.reported = warnings.into_iter().collect();
        report.log();
    }
}

const fn extent(scope: Scope) -> ReloadExtent {
    match scope {
        Scope::All => ReloadExtent::Whole,
        Scope::Materials => ReloadExtent::Materials,
    }
}

#[cfg(test)]
mod tests;
