//! What the tasks of one issuer share: its account, and turns.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::Account;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::account::{self, Requests, blocking};
use super::definition::{Issuer, Managed};
use super::failure::{AskedPause, OrderFailure};
use super::means::Means;
use super::order;
use crate::state::{self, Lock};
use crate::sync::Mutex;

/// The most orders of one issuer at a time: a start with a thousand names is no burst for the CA.
const ORDERS_AT_ONCE: usize = 4;

/// The longest time for which one refusal by rate keeps the other certificates of an issuer waiting.
const REST_MAX: Duration = Duration::from_secs(60);

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
pub(super) struct Known {
    pub(super) account: Account,
    pub(super) pause: AskedPause,
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
    /// The account with the issuer: the one in use, else that of the file, else a new one. One task at a
    /// time, so that there is only one.
    pub(super) async fn account(
        &self,
        issuer: &Arc<Issuer>,
        means: &Means,
    ) -> Result<Known, OrderFailure> {
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
    pub(super) async fn forget_account(&self) {
        *self.account.lock().await = None;
    }

    /// Gives up an account that the CA does not know any more, unless another task has done so. Its key
    /// stays, beside that of the next one.
    pub(super) async fn give_up(
        &self,
        issuer: &Arc<Issuer>,
        account: &Account,
    ) -> Result<(), OrderFailure> {
        let mut known = self.account.lock().await;
        let is_used = known
            .as_ref()
            .is_some_and(|(_, known)| known.account.id() == account.id());
        if !is_used {
            return Ok(());
        }
        *known = None;
        let file = issuer.account_file();
        let issuer = &*issuer.name;
        warn!(
            issuer,
            account = account.id(),
            "the CA does not know the account any more: a new one is made"
        );
        let gone = blocking(move || fs::rename(&file, file.with_extension("gone")));
        gone.await?.map_err(OrderFailure::local)
    }

    /// A turn to make a request, held until the result is dropped.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// Has no order begin for some time: the CA has too many.
    pub(super) fn rest(&self, pause: Duration) {
        *self.rests_until.lock() = Some(Instant::now() + pause.min(REST_MAX));
    }

    /// Waits until orders may begin.
    pub(super) async fn rested(&self) {
        let until = *self.rests_until.lock();
        if let Some(until) = until {
            sleep_until(until).await;
        }
    }
}

/// Makes an order whose certificate is not installed.
pub(super) async fn try_order(
    shared: &Shared,
    managed: &Arc<Managed>,
    means: &Means,
) -> Result<(), OrderFailure> {
    let _turn = shared.turn().await;
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
pub(super) async fn lock(managed: &Arc<Managed>) -> Result<Option<Lock>, OrderFailure> {
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
