//! What the running process answers when it is asked.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::info;
use tracing::level_filters::LevelFilter;

use super::census::Census;
use crate::admin::{Answer, Call, Refusal, RefusalKind, Request};
use crate::lifecycle::Phases;
use crate::observe::format::timestamp;
use crate::observe::logging::LogHandle;
use crate::observe::metrics::{CertificateEnd, Inventory, Metrics};
use crate::snapshot::{Live, Snapshot};

/// The control side of the admin socket: what it can tell, and through whom.
pub(super) struct Control {
    pub(super) live: Arc<Live>,
    pub(super) census: Arc<Census>,
    pub(super) phases: Phases,
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: LogHandle,
    /// The effective configuration as YAML; secrets are in files and not in it.
    pub(super) config: String,
    /// Each endpoint's name and an address it listens on.
    pub(super) addresses: Vec<(Arc<str>, String)>,
}

impl Control {
    /// Answers one call after the other, for as long as somebody can ask.
    pub(super) async fn answer_all(self, mut calls: mpsc::Receiver<Call>) {
        while let Some(Call { request, reply }) = calls.recv().await {
            // Whoever asked may have gone.
            let _ = reply.send(self.answer(request));
        }
    }

    fn answer(&self, request: Request) -> Answer {
        match request {
            Request::Status => Ok(self.status()),
            Request::Certificates => Ok(self.certificates()),
            Request::Config => Ok(json!({ "yaml": self.config })),
            Request::LogLevel(level) => Ok(self.log_level(level)),
            Request::Connections
            | Request::Origins
            | Request::Reload { .. }
            | Request::Drain { .. }
            | Request::Kill(_)
            | Request::Origin { .. } => Err(Refusal::new(
                RefusalKind::Unsupported,
                "this is not supported yet",
            )),
        }
    }

    fn status(&self) -> Value {
        let start = self.metrics.start();
        let uptime = start.elapsed().unwrap_or_default();
        let listening: Vec<_> = self
            .addresses
            .iter()
            .map(|(endpoint, address)| json!({ "endpoint": &**endpoint, "address": address }))
            .collect();
        json!({
            "phase": self.phases.borrow().word(),
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "started": timestamp(start),
            "uptime_seconds": uptime.as_secs(),
            "generation": 1,
            "connections": self.census.count(),
            "listening": listening,
        })
    }

    fn certificates(&self) -> Value {
        let snapshot = self.live.load();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        let certificates = snapshot.endpoints.iter().flat_map(|endpoint| {
            endpoint.certificates.iter().map(move |certificate| {
                let names: Vec<_> = certificate.names.iter().map(ToString::to_string).collect();
                json!({
                    "endpoint": &*endpoint.name,
                    "name": certificate.name,
                    "names": names,
                    "not_before": date(certificate.not_before),
                    "not_after": date(certificate.not_after),
                    "seconds_left": certificate.not_after.saturating_sub(now),
                })
            })
        });
        json!({ "certificates": certificates.collect::<Vec<_>>() })
    }

    fn log_level(&self, new: Option<LevelFilter>) -> Value {
        if let Some(level) = new {
            self.log.set_level(level);
            info!(%level, "the log's level was changed");
        }
        json!({ "level": self.log.level().to_string() })
    }
}

fn date(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    timestamp(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// What of a snapshot has series of its own.
pub(super) fn inventory(snapshot: &Snapshot) -> Inventory {
    let endpoints = snapshot.endpoints.iter();
    let certificates = endpoints.clone().flat_map(|endpoint| {
        endpoint
            .certificates
            .iter()
            .map(|certificate| CertificateEnd {
                endpoint: Arc::clone(&endpoint.name),
                certificate: certificate.name.clone(),
                not_after: certificate.not_after,
            })
    });
    Inventory {
        certificates: certificates.collect(),
        endpoints: endpoints
            .map(|endpoint| {
                let routes = endpoint.routes.iter().map(|route| Arc::clone(&route.name));
                (Arc::clone(&endpoint.name), routes.collect())
            })
            .collect(),
    }
}
