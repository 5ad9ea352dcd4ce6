//! The task of one certificate: it has the next one issued when two thirds of the life of the one before are
//! over.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::api::Session;
use super::definition::Identity;
use super::files;
use super::status::Statuses;
use crate::observe::format::unix_timestamp;
use crate::tls::pair::Pair;
use crate::tls::unix_now;
use crate::upstream::Lookup;

/// The pause after the first failure, and the bound of its doubling.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// The share of a certificate's life that is left at its renewal: a third, for retries.
const SHARE_LEFT: i64 = 3;

/// How long a task sleeps at most: the clock of the machine may be set.
const LOOK_AGAIN: i64 = 3600;

/// The least time between two certificates, whatever dates the engine gives them.
const BETWEEN: i64 = 5;

/// Keeps one certificate.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) identity: Arc<Identity>,
    pub(super) lookup: Lookup,
    pub(super) statuses: Arc<Statuses>,
    /// Told when there is another certificate.
    pub(super) changed: mpsc::Sender<()>,
}

impl Keeper {
    /// Has certificates issued until it is aborted.
    pub(super) async fn run(self) {
        let mut retry = RETRY_MIN;
        let mut issued = i64::MIN;
        loop {
            let now = unix_now();
            let due = match held(&self.identity).await {
                Some(pair) => renewal(&pair).max(issued.saturating_add(BETWEEN)),
                None => issued.saturating_add(BETWEEN),
            };
            if now < due {
                self.update(Some(due), None);
                let pause = (due - now).clamp(1, LOOK_AGAIN);
                sleep(Duration::from_secs(pause.cast_unsigned())).await;
                continue;
            }
            match self.issue().await {
                Ok(()) => {
                    retry = RETRY_MIN;
                    issued = unix_now();
                    info!(
                        vault = &*self.identity.engine.name,
                        names = self.shown(),
                        "a certificate was issued"
                    );
                    // A full channel means that it is told of anyway.
                    let _ = self.changed.try_send(());
                }
                Err(why) => {
                    self.fail(why, retry);
                    sleep(retry).await;
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
        }
    }

    async fn issue(&self) -> Result<(), String> {
        let session = Session::begin(&self.identity.engine, &self.lookup).await?;
        let pem = session.issue(&self.identity).await?;
        let identity = Arc::clone(&self.identity);
        let installed = tokio::task::spawn_blocking(move || files::install(&identity, &pem));
        installed.await.map_err(|error| error.to_string())?
    }

    fn fail(&self, why: String, pause: Duration) {
        let now = unix_now();
        let next = now.saturating_add(i64::try_from(pause.as_secs()).unwrap_or(i64::MAX));
        let (vault, names) = (&*self.identity.engine.name, self.shown());
        let before = self.statuses.get(&self.identity.file).last_error;
        if before.is_some_and(|(before, _)| before == why) {
            debug!(vault, names, why, "no certificate could be had");
        } else {
            let next = unix_timestamp(next);
            warn!(vault, names, why, next, "no certificate could be had");
        }
        self.update(Some(next), Some((why, now)));
    }

    fn update(&self, next: Option<i64>, error: Option<(String, i64)>) {
        self.statuses.update(&self.identity.file, |status| {
            status.next = next;
            status.last_error = error;
        });
    }

    fn shown(&self) -> String {
        self.identity.names.join(" ")
    }
}

/// The certificate in the file, if it can be presented.
async fn held(identity: &Arc<Identity>) -> Option<Pair> {
    let identity = Arc::clone(identity);
    let found = tokio::task::spawn_blocking(move || files::read(&identity)).await;
    found.ok()?.unwrap_or_else(|why| {
        warn!(
            why,
            "a certificate in the state cannot be used, and another one is asked for"
        );
        None
    })
}

/// When a certificate is renewed, in seconds of unix time.
fn renewal(pair: &Pair) -> i64 {
    let life = pair.not_after.saturating_sub(pair.not_before).max(0);
    pair.not_after.saturating_sub(life / SHARE_LEFT)
}

/// Revokes a certificate at the end of the process, and forgets it: the next process has another one.
pub(super) async fn revoke(identity: &Arc<Identity>, lookup: &Lookup) {
    let Some(serial) = held(identity).await.and_then(|pair| pair.serial()) else {
        return;
    };
    let revoked = async {
        let session = Session::begin(&identity.engine, lookup).await?;
        session.revoke(&serial).await
    };
    let (vault, names) = (&*identity.engine.name, identity.names.join(" "));
    match revoked.await {
        Ok(()) => {
            info!(vault, names, "a certificate was revoked: the process ends");
            let identity = Arc::clone(identity);
            let _ = tokio::task::spawn_blocking(move || files::forget(&identity)).await;
        }
        // Many policies do not allow it, and it is short-lived.
        Err(why) => info!(
            vault,
            names, why, "a certificate was not revoked, and is valid until it ends"
        ),
    }
}
