//! What the process keeps itself: certificates of issuers, of which some may not be there yet, and what is
//! fetched about revocation; and what is told of it.

use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tracing::info;

use super::expiry_dates;
use crate::acme::{Keepers, Managed, Status};
use crate::admin::{PendingCertificates, Refusal, RefusalKind, RequestResult};
use crate::observe::format::unix_timestamp;
use crate::outcome::Reason;
use crate::revocation::Fetchers;
use crate::snapshot::{Endpoint, Snapshot};
use crate::vault::{self, Identities, Identity};

/// The tasks that keep certificates, and what `/readyz` says of those that are not there yet.
#[derive(Debug)]
pub(crate) struct Certificates {
    keepers: Keepers,
    identities: Identities,
    fetchers: Fetchers,
    pending: watch::Sender<PendingCertificates>,
}

impl Certificates {
    /// None yet. If the process `waits`, it is not ready before all of them are there.
    pub(crate) fn new(
        keepers: Keepers,
        identities: Identities,
        fetchers: Fetchers,
        waits: bool,
    ) -> Self {
        let none = PendingCertificates {
            lines: Vec::new(),
            is_awaited: waits,
        };
        Self {
            keepers,
            identities,
            fetchers,
            pending: watch::Sender::new(none),
        }
    }

    /// Those that are not there yet, for `/readyz`.
    pub(crate) fn pending(&self) -> watch::Receiver<PendingCertificates> {
        self.pending.subscribe()
    }

    /// Keeps the certificates of a configuration, and fetches what it names, and nothing else.
    pub(crate) fn apply(&mut self, snapshot: &Snapshot) {
        self.keepers.apply(&snapshot.managed);
        self.identities.apply(&snapshot.identities);
        self.fetchers.apply(&snapshot.fetched);
    }

    /// Keeps none from now on.
    pub(crate) fn stop(&mut self) {
        self.keepers.stop();
        self.identities.stop();
        self.fetchers.stop();
    }

    /// Revokes the certificates that nobody has once the process has ended.
    pub(crate) async fn revoke(&self) {
        self.identities.revoke().await;
    }

    /// Whether the process is not ready because certificates are not there.
    pub(crate) fn is_awaited(&self) -> bool {
        self.pending.borrow().is_awaited
    }

    /// Tells which certificates are not there. Returns whether the last one that was waited for has come.
    pub(crate) fn publish(&self, snapshot: &Snapshot) -> bool {
        let of = |endpoint: &Endpoint| {
            let pending = endpoint.pending.iter();
            pending
                .map(|pending| {
                    let owner = format!("{}/{}", endpoint.name, pending.name);
                    self.line(&owner, &pending.managed)
                })
                .collect::<Vec<_>>()
        };
        let endpoints = snapshot.endpoints.iter();
        let awaited = snapshot.awaited.iter();
        let awaited = awaited.map(|awaited| self.line(&awaited.upstream, &awaited.managed));
        let lines: Vec<_> = endpoints
            .flat_map(|endpoint| of(endpoint))
            .chain(awaited)
            .collect();
        let mut has_come = false;
        self.pending.send_if_modified(|known| {
            let is_awaited = known.is_awaited && !lines.is_empty();
            has_come = known.is_awaited && !is_awaited;
            let is_new = known.lines != lines || has_come;
            known.lines = lines;
            known.is_awaited = is_awaited;
            is_new
        });
        if has_come {
            info!("every certificate is there");
        }
        has_come
    }

    fn line(&self, owner: &str, managed: &Managed) -> String {
        let status = self.keepers.statuses().get(&managed.file);
        let why = match status.last_error {
            Some((why, _)) => why,
            None => "it was not issued yet".to_owned(),
        };
        let reason = Reason::CertificatePending;
        format!("{reason}: {owner}: {why}")
    }

    /// Orders the certificate of this name, or for this host, and does not install it.
    pub(crate) fn try_order(
        &self,
        snapshot: &Snapshot,
        name: &str,
        reply: oneshot::Sender<RequestResult>,
    ) {
        let is_named = |managed: &Managed| {
            let mut names = managed.names.iter();
            names.any(|own| own.to_string() == name) || is_called(snapshot, managed, name)
        };
        let mut managed = snapshot.managed.iter();
        let Some(managed) = managed.find(|managed| is_named(managed)).cloned() else {
            let message = "no issuer keeps a certificate of this name";
            let _ = reply.send(Err(Refusal::new(RefusalKind::NotFound, message)));
            return;
        };
        let trying = self.keepers.try_order(&managed);
        tokio::spawn(async move {
            let answer = match trying.await {
                Ok(()) => Ok(json!({
                    "issuer": &*managed.issuer.name,
                    "names": names(&managed),
                    "result": "the CA issued a certificate, which was not installed",
                })),
                Err(why) => Err(Refusal::new(RefusalKind::Conflict, why)),
            };
            let _ = reply.send(answer);
        });
    }

    /// What is known of all of them, for `/certificates`.
    pub(crate) fn listed(&self, snapshot: &Snapshot) -> Value {
        let ends = expiry_dates::ends_by_file(snapshot);
        let all = snapshot.managed.iter().map(|managed| {
            let status = self.keepers.statuses().get(&managed.file);
            let end = ends.get(&*managed.file.to_string_lossy()).copied();
            shown(managed, &status, end)
        });
        let issued = snapshot.identities.iter().map(|identity| {
            let status = self.identities.statuses().get(&identity.file);
            let end = ends.get(&*identity.file.to_string_lossy()).copied();
            self::issued(identity, &status, end)
        });
        Value::Array(all.chain(issued).collect())
    }

    /// What is known of what is fetched about revocation, for `/certificates`.
    pub(crate) fn fetched(&self, snapshot: &Snapshot) -> Value {
        let all = snapshot.fetched.iter().map(|source| {
            let status = self.fetchers.statuses().get(&source.file);
            let (error, at) = status.last_error.unzip();
            json!({
                "kind": source.wanted.word(),
                "url": source.url,
                "file": source.file.display().to_string(),
                "last_fetch": status.fetched.map(unix_timestamp),
                "next_fetch": status.next.map(unix_timestamp),
                "last_error": error,
                "last_error_at": at.map(unix_timestamp),
            })
        });
        Value::Array(all.collect())
    }
}

/// Whether an endpoint calls a certificate by this name.
fn is_called(snapshot: &Snapshot, managed: &Managed, name: &str) -> bool {
    let source = managed.file.to_string_lossy();
    snapshot.endpoints.iter().any(|endpoint| {
        let mut pending = endpoint.pending.iter();
        let mut served = endpoint.certificates.iter();
        pending.any(|pending| pending.name == name && pending.managed.file == managed.file)
            || served.any(|served| served.name == name && *served.pair.source == *source)
    })
}

fn names(managed: &Managed) -> Vec<String> {
    managed.names.iter().map(ToString::to_string).collect()
}

fn issued(identity: &Identity, status: &vault::Status, not_after: Option<i64>) -> Value {
    let state = match not_after {
        Some(_) => "served",
        None => Reason::CertificatePending.code(),
    };
    let error = status.last_error.as_ref();
    json!({
        "issuer": &*identity.engine.name,
        "names": identity.names,
        "file": identity.file.display().to_string(),
        "state": state,
        "not_after": not_after.map(unix_timestamp),
        "next_order": status.next.map(unix_timestamp),
        "last_error": error.map(|(why, _)| why),
        "last_error_at": error.map(|(_, at)| unix_timestamp(*at)),
    })
}

fn shown(managed: &Managed, status: &Status, not_after: Option<i64>) -> Value {
    let state = match not_after {
        Some(_) => "served",
        None => Reason::CertificatePending.code(),
    };
    let (error, at) = status
        .last_error
        .as_ref()
        .map(|(why, at)| (why, *at))
        .unzip();
    json!({
        "issuer": &*managed.issuer.name,
        "names": names(managed),
        "file": managed.file.display().to_string(),
        "state": state,
        "not_after": not_after.map(unix_timestamp),
        "is_ordering": status.is_ordering,
        "next_order": status.next_order.map(unix_timestamp),
        "last_error": error,
        "last_error_at": at.map(unix_timestamp),
    })
}
