//! The task that keeps one certificate: it waits until an order is due, makes it, and says so.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::CertificateIdentifier;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::account::blocking;
use super::certificates;
use super::definition::Managed;
use super::failure::{Kind, OrderFailure};
use super::means::Means;
use super::order;
use super::schedule::{Failures, Life, Window};
use super::shared::{self, Shared};
use super::status::Statuses;
use crate::observe::format::unix_timestamp;
use crate::tls::pair::Pair;
use crate::tls::unix_now;

/// How long a task waits at most before it looks at the clock again, which may have been set.
const LOOK_AGAIN: i64 = 600;

/// How often the CA is asked for its window, if it does not say; and the bounds if it does.
const ASK_EVERY: i64 = 6 * 3600;
const ASK_MIN: i64 = 60;
const ASK_MAX: i64 = 24 * 3600;

/// The seconds between orders of a certificate that cannot be read back from its file.
const UNREADABLE: i64 = 600;

/// How long another process is left alone that has a certificate in work.
const BESIDE: Duration = Duration::from_secs(5);

/// Keeps one certificate.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) managed: Arc<Managed>,
    pub(super) means: Means,
    pub(super) shared: Arc<Shared>,
    pub(super) statuses: Arc<Statuses>,
    /// Told when there is another certificate.
    pub(super) renewed: mpsc::Sender<()>,
}

/// What a task knows beside the file.
#[derive(Default)]
struct Memory {
    failures: Failures,
    /// When the last order succeeded.
    issued: Option<i64>,
    /// The fingerprint of the certificate that was seen last, if any was; absent before the first look.
    seen: Option<Option<[u8; 32]>>,
    /// The CA's window for it, and when to ask again.
    window: Option<Window>,
    ask_at: i64,
}

impl Keeper {
    /// Orders and renews until it is aborted.
    pub(super) async fn run(self) {
        let mut memory = Memory::default();
        // A task before this one may have been ended in the middle of an order.
        self.statuses
            .update(&self.managed, |status| status.is_ordering = false);
        loop {
            let held = self.held().await;
            self.see(held.as_ref(), &mut memory);
            let now = unix_now();
            if let Some(pair) = &held {
                self.ask(pair, &mut memory, now).await;
                let due = life(pair).renewal(
                    self.managed.issuer.renew_before,
                    memory.window,
                    memory.issued,
                );
                if now < due {
                    self.statuses
                        .update(&self.managed, |status| status.next_order = Some(due));
                    let pause = (due - now).min(LOOK_AGAIN);
                    sleep(Duration::from_secs(pause.max(1).cast_unsigned())).await;
                    continue;
                }
            }
            if held.is_none()
                && let Some(issued) = memory.issued
            {
                // What was issued cannot be read back: another order would not help.
                let again = issued.saturating_add(UNREADABLE).saturating_sub(now);
                sleep(Duration::from_secs(again.max(0).cast_unsigned())).await;
            }
            self.order(held, &mut memory).await;
        }
    }

    /// The certificate in the file, if it can be served.
    async fn held(&self) -> Option<Pair> {
        let managed = Arc::clone(&self.managed);
        let found = blocking(move || certificates::read(&managed)).await;
        match found {
            Ok(Ok(found)) => found,
            Ok(Err(why)) => {
                self.warn(
                    "a certificate in the state cannot be used, and a new one is ordered",
                    &why,
                    None,
                );
                None
            }
            Err(failure) => {
                self.warn("the state cannot be read", &failure.why, None);
                None
            }
        }
    }

    /// Tells if the file holds another certificate than before, from any writer.
    fn see(&self, held: Option<&Pair>, memory: &mut Memory) {
        let now = held.map(|pair| pair.sha256);
        let before = memory.seen.replace(now);
        if before == Some(now) {
            return;
        }
        memory.window = None;
        memory.ask_at = 0;
        // At the first look it was just loaded. A full channel holds a notice already.
        if before.is_some() {
            let _ = self.renewed.try_send(());
        }
    }

    /// Asks the CA when it wants the certificate to be renewed.
    async fn ask(&self, pair: &Pair, memory: &mut Memory, now: i64) {
        if self.managed.issuer.renew_before.is_some() || now < memory.ask_at {
            return;
        }
        memory.ask_at = now + ASK_EVERY;
        let id =
            certificates::leaf(pair).and_then(|leaf| CertificateIdentifier::try_from(leaf).ok());
        let (Some(id), Some(_turn)) = (id, self.shared.turn().await) else {
            return;
        };
        let Ok(known) = self.shared.account(&self.managed.issuer, &self.means).await else {
            return;
        };
        match known.account.renewal_info(&id).await {
            Ok((info, again)) => {
                let again = i64::try_from(again.as_secs()).unwrap_or(ASK_MAX);
                memory.ask_at = now + again.clamp(ASK_MIN, ASK_MAX);
                memory.window = Some(Window {
                    start: info.suggested_window.start.unix_timestamp(),
                    end: info.suggested_window.end.unix_timestamp(),
                });
            }
            // Many CAs have none.
            Err(error) => {
                debug!(issuer = &*self.managed.issuer.name, %error, "no renewal information")
            }
        }
    }

    /// Makes an order when it is this task's turn, and waits after a failure.
    async fn order(&self, held: Option<Pair>, memory: &mut Memory) {
        let managed = &self.managed;
        let turn = self.shared.turn().await;
        self.shared.rested().await;
        let ordered = match shared::lock(managed).await {
            Ok(Some(lock)) => {
                // Another process may have renewed it while this one waited.
                let latest = self.held().await.map(|pair| pair.sha256);
                if latest != held.as_ref().map(|pair| pair.sha256) {
                    return;
                }
                self.statuses
                    .update(managed, |status| status.is_ordering = true);
                let ordered = self.obtain(held.as_ref()).await;
                self.statuses
                    .update(managed, |status| status.is_ordering = false);
                drop(lock);
                ordered
            }
            Ok(None) => {
                drop(turn);
                sleep(BESIDE).await;
                return;
            }
            Err(failure) => Err(failure),
        };
        drop(turn);
        self.statuses.count(
            &managed.issuer.name,
            ordered.as_ref().err().map(|failure| failure.kind),
        );
        match ordered {
            Ok(()) => {
                memory.failures = Failures::default();
                memory.issued = Some(unix_now());
                self.statuses
                    .update(managed, |status| status.last_error = None);
                let (issuer, names) = (&*managed.issuer.name, managed.shown());
                info!(issuer, names, "a certificate was issued");
            }
            Err(failure) => self.fail(failure, memory).await,
        }
    }

    async fn obtain(&self, replaced: Option<&Pair>) -> Result<(), OrderFailure> {
        let (shared, managed, means) = (&self.shared, &self.managed, &self.means);
        let mut known = shared.account(&managed.issuer, means).await?;
        let mut ordered = order::obtain(managed, means, &known.account, replaced).await;
        if ordered.as_ref().is_err_and(|failure| failure.is_stranger) {
            shared.give_up(&managed.issuer, &known.account).await?;
            known = shared.account(&managed.issuer, means).await?;
            ordered = order::obtain(managed, means, &known.account, replaced).await;
        }
        let issued = ordered.map_err(|failure| failure.asked(&known.pause))?;
        issued.install(managed).await
    }

    /// Tells of a failure, and waits until the next attempt.
    async fn fail(&self, failure: OrderFailure, memory: &mut Memory) {
        let now = unix_now();
        let pause = memory
            .failures
            .pause(failure.kind, failure.retry_after, now);
        let pause = pause + pause.mul_f64(0.25 * random());
        if failure.kind == Kind::RateLimited {
            self.shared.rest(pause);
        }
        if matches!(failure.kind, Kind::Unreachable | Kind::Refused) {
            // Its directory may have changed, or the account be gone.
            self.shared.forget_account().await;
        }
        let next = now.saturating_add(i64::try_from(pause.as_secs()).unwrap_or(i64::MAX));
        self.statuses.update(&self.managed, |status| {
            status.last_error = Some((failure.why.clone(), now));
            status.next_order = Some(next);
        });
        self.warn("a certificate could not be had", &failure.why, Some(next));
        sleep(pause).await;
    }

    fn warn(&self, what: &str, why: &str, next: Option<i64>) {
        let (issuer, names) = (&*self.managed.issuer.name, self.managed.shown());
        let next = next.map(unix_timestamp);
        warn!(issuer, names, why, next, "{what}");
    }
}

fn life(pair: &Pair) -> Life {
    let [a, b, c, d, e, f, g, h, ..] = pair.sha256;
    Life {
        from: pair.not_before,
        until: pair.not_after,
        lot: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
    }
}

/// A random number from 0 to 1.
fn random() -> f64 {
    let mut byte = [0];
    let _ = aws_lc_rs::rand::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}
