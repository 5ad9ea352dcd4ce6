//! The commit of a prepared reload: all or nothing.

use std::sync::Arc;

use tokio::sync::watch::Sender;
use tracing::info;

use crate::admission::LimitScopes;
use crate::connection::ConnInfo;
use crate::connection::table::ConnTable;
use crate::control::listeners::{Listeners, PendingListeners};
use crate::control::origins::Origins;
use crate::control::reload::plan;
use crate::control::reload::prepare::{ActiveConfig, Prepared, Refused, Scope};
use crate::control::reload::report::Report;
use crate::control::reload::watch::WatchSet;
use crate::control::{expiry_dates, recheck};
use crate::listener::BindError;
use crate::observe::metrics::Metrics;
use crate::snapshot::admin::LiveAccess;
use crate::snapshot::{Live, Snapshot};
use crate::worker::Workers;

/// What a reload changes beside listeners and origins.
pub(crate) struct ReloadTargets {
    pub(crate) live: Arc<Live>,
    pub(crate) table: Arc<ConnTable<ConnInfo>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) workers: Arc<Workers>,
    pub(crate) watch_set: Sender<WatchSet>,
    pub(crate) limits: Arc<LimitScopes>,
    /// Who may use the admin listener, if that is a TCP address.
    pub(crate) admin: Option<LiveAccess>,
}

impl ReloadTargets {
    /// Opens new listeners and swaps the snapshot. A failure before the swap leaves everything
    /// unchanged.
    pub(crate) async fn commit(
        &self,
        running: &mut ActiveConfig,
        mut prepared: Prepared,
        scope: Scope,
        listeners: &mut Listeners,
        origins: &Origins,
    ) -> Result<Report, Refused> {
        let Self {
            live,
            table,
            metrics,
            workers,
            watch_set,
            limits,
            admin,
        } = self;
        let new = match scope {
            Scope::All => open(listeners, &prepared.snapshot, workers).await?,
            // Closed endpoints stay closed, and a bind error must not refuse a renewed certificate.
            Scope::Materials => PendingListeners::none(),
        };
        if listeners.needs_restart(&prepared.snapshot) {
            prepared.restart.push("a socket of systemd");
        }
        let materials = &prepared.loaded.materials;
        metrics.register(&expiry_dates::inventory(&prepared.snapshot, materials));
        origins.apply(&prepared.snapshot);
        origins.count();
        limits.apply(prepared.snapshot.limits());
        if let Some(access) = admin {
            access.update(&prepared.snapshot.admin);
        }
        let snapshot = live.swap(prepared.snapshot);
        let opened = new.addresses();
        if scope == Scope::All {
            for (endpoint, address) in listeners.commit(new, &snapshot) {
                info!(%endpoint, address, "no longer listening");
            }
            for (endpoint, address) in &opened {
                info!(%endpoint, address, "listening");
            }
            let closed = std::mem::take(&mut listeners.closed);
            let is_open = |name: &&Arc<str>| opened.iter().any(|(endpoint, _)| endpoint == *name);
            prepared
                .changes
                .extend(plan::reopened(closed.iter().filter(is_open), table));
        }
        running.source = prepared.source;
        running.loaded = Arc::new(prepared.loaded);
        watch_set.send_replace(WatchSet::of(running, &snapshot));
        // Chains and lists may take long to check: on a blocking thread.
        let (table, today) = (Arc::clone(table), Arc::clone(&snapshot));
        tokio::task::spawn_blocking(move || recheck::recheck_all(&table, &today));
        Ok(Report {
            generation: snapshot.generation,
            changes: prepared.changes,
            disallowed: None,
            denied: None,
            warnings: prepared.warnings,
            restart: prepared.restart,
        })
    }
}

async fn open(
    listeners: &Listeners,
    snapshot: &Snapshot,
    workers: &Workers,
) -> Result<PendingListeners, Refused> {
    let refused = |errors: Vec<BindError>| Refused {
        reasons: errors
            .into_iter()
            .map(|error| format!("endpoint `{}`: {}", error.endpoint, error.message))
            .collect(),
    };
    let new = listeners.bind(snapshot, workers.count());
    let new = new.map_err(refused)?;
    new.prepare(workers).await.map_err(refused)?;
    Ok(new)
}
