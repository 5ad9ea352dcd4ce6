//! The task that keeps one certificate: it waits until an order is due, makes it, and says so.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{Account, CertificateIdentifier};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::account::{self, Requests, blocking};
use super::certificates;
use super::definition::{Issuer, Managed};
use super::failure::{AskedPause, Kind, OrderFailure};
use super::means::Means;
use super::order;
use super::schedule::{Failures, Life, Window};
use super::status::Statuses;
use crate::observe::format::unix_timestamp;
use crate::state::{self, Lock};
use crate::sync::Mutex;
use crate::tls::pair::Pair;
use crate::tls::unix_now;

/// The most orders of one issuer at a time: a start with a thousand names is no burst for the CA.
const ORDERS_AT_ONCE: usize = 4;

/// How long a task waits at most before it looks at the clock again, which may have been set.
const LOOK_AGAIN: i64 = 600;

/// How often the CA is asked for its window, if it does not say; and the bounds if it does.
const ASK_EVERY: i64 = 6 * 3600;
const ASK_MIN: i64 = 60;
const ASK_MAX: i64 = 24 * 3600;

/// The longest time for which one refusal by rate keeps the other certificates of an issuer waiting.
const REST_MAX: Duration = Duration::from_secs(60);

/// The seconds between orders of a certificate that cannot be read back from its file.
const UNREADABLE: i64 = 600;

/// How long another process is left alone that has a certificate in work.
const BESIDE: Duration = Duration::from_secs(5);

/// What the tasks of one issuer share.
#[derive(Debug)]
pub(super) struct Shared {
    turns: Semaphore,
    /// The account in use, and the wishes of the CA that its requests have noted.
    account: tokio::sync::Mutex<Option<(Arc<Issuer>, Known)>>,
    /// Until when no order is made, since the CA has too many.
    rests_until: Mutex<Option<Instant>>,
}

/// An account, and where its requests note for how long the CA wants to be left alone.
#[derive(Clone)]
struct Known {
    account: Account,
    pause: AskedPause,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known")
            .field("account", &self.account.id())
            .finish_non_exhaustive()
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            turns: Semaphore::new(ORDERS_AT_ONCE),
            account: tokio::sync::Mutex::default(),
            rests_until: Mutex::default(),
        }
    }
}

impl Shared {
    /// The account with the issuer: the one in use, else that of the file, else a new one. One task at a time, so
    /// that there is only one.
    async fn account(&self, issuer: &Arc<Issuer>, means: &Means) -> Result<Known, OrderFailure> {
        let mut known = self.account.lock().await;
        if let Some((of, known)) = &*known
            && of == issuer
        {
            return Ok(known.clone());
        }
        let requests = Requests::new(issuer, &means.lookup)?;
        let pause = requests.pause();
        let found = account::account(issuer, requests).await;
        let account = found.map_err(|failure| failure.asked(&pause))?;
        let new = Known { account, pause };
        *known = Some((Arc::clone(issuer), new.clone()));
        Ok(new)
    }

    /// Has the next order read account and directory anew.
    async fn forget_account(&self) {
        *self.account.lock().await = None;
    }

    async fn rested(&self) {
        let until = *self.rests_until.lock();
        if let Some(until) = until {
            sleep_until(until).await;
        }
    }
}

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
    /// When the last order was made, and when the last one that succeeded.
    ordered: Option<i64>,
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
        loop {
            let held = self.held().await;
            self.see(held.as_ref(), &mut memory);
            let now = unix_now();
            if let Some(pair) = &held {
                self.ask(pair, &mut memory, now).await;
                let due = life(pair).renewal(
                    self.managed.issuer.renew_before,
                    memory.window,
                    memory.ordered,
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
        // At the first look it was just loaded. A full channel means that it is told of anyway.
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
        let (Some(id), Ok(_turn)) = (id, self.shared.turns.acquire().await) else {
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
        let turn = self.shared.turns.acquire().await;
        self.shared.rested().await;
        let ordered = match lock(managed).await {
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
        memory.ordered = Some(unix_now());
        self.statuses.count(
            &managed.issuer.name,
            ordered.as_ref().err().map(|failure| failure.kind),
        );
        match ordered {
            Ok(()) => {
                memory.failures = Failures::default();
                memory.issued = memory.ordered;
                self.statuses
                    .update(managed, |status| status.last_error = None);
                let (issuer, names) = (&*managed.issuer.name, managed.shown());
                info!(issuer, names, "a certificate was issued");
            }
            Err(failure) => self.fail(failure, memory).await,
        }
    }

    async fn obtain(&self, replaced: Option<&Pair>) -> Result<(), OrderFailure> {
        let known = self
            .shared
            .account(&self.managed.issuer, &self.means)
            .await?;
        let ordered = order::obtain(&self.managed, &self.means, &known.account, replaced).await;
        let issued = ordered.map_err(|failure| failure.asked(&known.pause))?;
        issued.install(&self.managed).await
    }

    /// Tells of a failure, and waits until the next attempt.
    async fn fail(&self, failure: OrderFailure, memory: &mut Memory) {
        let now = unix_now();
        let pause = memory
            .failures
            .pause(failure.kind, failure.retry_after, now);
        let pause = pause + pause.mul_f64(0.25 * random());
        if failure.kind == Kind::RateLimited {
            let rest = Instant::now() + pause.min(REST_MAX);
            *self.shared.rests_until.lock() = Some(rest);
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

/// Makes an order whose certificate is not installed.
pub(super) async fn try_order(
    shared: &Shared,
    managed: &Arc<Managed>,
    means: &Means,
) -> Result<(), OrderFailure> {
    let _turn = shared.turns.acquire().await;
    let Some(_lock) = lock(managed).await? else {
        let why = "an order of this certificate is in progress";
        return Err(OrderFailure::local(why));
    };
    let known = shared.account(&managed.issuer, means).await?;
    let tried = order::obtain(managed, means, &known.account, None).await;
    let tried = tried.map_err(|failure| failure.asked(&known.pause));
    tried.map(|_issued| ())
}

/// Takes the right to write the file of a certificate; `None` if another task or process has it.
async fn lock(managed: &Arc<Managed>) -> Result<Option<Lock>, OrderFailure> {
    let place = Arc::clone(managed);
    let taken = blocking(move || {
        state::prepare(place.state())?;
        state::lock(&place.file)
    });
    taken.await?.map_err(|error| {
        let place = managed.state().display();
        OrderFailure::local(format_args!("{place}: {error}"))
    })
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
