//! Service discovery by DNS: one task on the control runtime resolves each name, for as long as a pool uses
//! it. A connection reads the last result and does not wait for a query.

mod answer;
mod dns;
mod failure;
mod history;
mod hosts;
mod lookup;
mod resolv_conf;
mod servers;
mod text;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tracing::debug;

use crate::sync::Mutex;

use self::answer::{Answer, Query, Record, Resolved};
use self::dns::Dns;
use self::history::AnswerHistory;
pub use self::lookup::Lookup;
use super::definition::{Address, OriginDefinition};
use super::local::is_local;

/// The bounds of the time for which an answer is used, whatever its TTL is.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(300);

/// The pause before the next query after a failure: the first one, and the bound of its doubling.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// A name in use. Dropping it ends its task.
#[derive(Debug)]
pub(super) struct Watch {
    known: watch::Receiver<Option<Arc<Resolved>>>,
    task: AbortHandle,
}

impl Watch {
    /// The last result; `None` before the first answer or failure.
    pub(super) fn known(&self) -> Option<Arc<Resolved>> {
        self.known.borrow().clone()
    }

    /// Notifies of each new result.
    pub(super) fn changes(&self) -> watch::Receiver<Option<Arc<Resolved>>> {
        self.known.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The names of the process.
#[derive(Debug)]
pub(super) struct Resolver {
    control: Handle,
    system: Arc<Dns>,
    watches: Mutex<HashMap<Query, Weak<Watch>>>,
}

impl Resolver {
    /// The source that an origin's definition stands for. A proxy before it looks up a host name itself.
    pub(super) fn source(&self, definition: &Arc<OriginDefinition>, is_proxied: bool) -> Source {
        let query = match &definition.address {
            Address::Host(..) if is_proxied => None,
            Address::Host(host, _) => Some(Query::Host(Arc::clone(host))),
            Address::Srv(service) => Some(Query::Srv(Arc::clone(service))),
            Address::Ip(_) | Address::Unix(_) | Address::Made(..) => None,
        };
        Source {
            definition: Arc::clone(definition),
            watch: query.map(|query| self.watch(&query)),
        }
    }

    pub(super) fn new(control: Handle) -> Self {
        Self {
            control,
            system: Arc::default(),
            watches: Mutex::default(),
        }
    }

    /// The name that stands for `query`; it is asked for from now on.
    fn watch(&self, query: &Query) -> Arc<Watch> {
        let mut watches = self.watches.lock();
        if let Some(watch) = watches.get(query).and_then(Weak::upgrade) {
            return watch;
        }
        let (sender, known) = watch::channel(None);
        let asking = resolve_loop(Arc::clone(&self.system), query.clone(), sender);
        let task = self.control.spawn(asking).abort_handle();
        let watch = Arc::new(Watch { known, task });
        watches.retain(|_, watch| watch.strong_count() > 0);
        watches.insert(query.clone(), Arc::downgrade(&watch));
        watch
    }
}

/// Asks whenever the last answer is out of date.
async fn resolve_loop(
    system: Arc<Dns>,
    query: Query,
    sender: watch::Sender<Option<Arc<Resolved>>>,
) {
    let mut answers = AnswerHistory::default();
    let mut retry = RETRY_MIN;
    loop {
        let answer = system.ask(&query).await;
        log(&query, &answer);
        let (error, pause) = match answer {
            Ok(answer) => {
                retry = RETRY_MIN;
                let soon = answers.take(answer.found, answer.unanswered);
                let ttl = answer.ttl.clamp(TTL_MIN, TTL_MAX);
                // What is missing is asked for once more before it counts.
                (None, if soon { ttl.min(RETRY_MIN) } else { ttl })
            }
            Err(why) => {
                let pause = retry;
                retry = (retry * 2).min(RETRY_MAX);
                (Some(why), pause)
            }
        };
        publish(&sender, answers.known(), error);
        sleep(pause).await;
    }
}

/// An answer, for `log.level: debug`.
fn log(query: &Query, answer: &Result<Answer, Arc<str>>) {
    let (Query::Host(name) | Query::Srv(name)) = query;
    match answer {
        Ok(answer) => debug!(
            name = &**name,
            addresses = answer.found.len(),
            ttl_seconds = answer.ttl.as_secs(),
            "name resolved"
        ),
        Err(why) => debug!(name = &**name, why = &**why, "name not resolved"),
    }
}

/// Tells what is known if that is news.
fn publish(
    sender: &watch::Sender<Option<Arc<Resolved>>>,
    found: &[Record],
    error: Option<Arc<str>>,
) {
    sender.send_if_modified(|known| {
        let same = |known: &Arc<Resolved>| known.found[..] == *found && known.error == error;
        if known.as_ref().is_some_and(same) {
            return false;
        }
        let found = found.into();
        *known = Some(Arc::new(Resolved { found, error }));
        true
    });
}

/// One origin of a definition, and the watch on its name where it has to be resolved.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) definition: Arc<OriginDefinition>,
    watch: Option<Arc<Watch>>,
}

impl Source {
    /// What is known of its name; nothing before the first answer or failure. An origin with an address
    /// of its own is always resolved.
    pub(super) fn resolved(&self) -> Option<Arc<Resolved>> {
        match &self.watch {
            Some(watch) => watch.known(),
            None => Some(Arc::default()),
        }
    }

    /// The addresses that it stands for, each with its priority and weight.
    pub(super) fn addresses(&self, resolved: &Resolved) -> Vec<(Address, u16, u32)> {
        if self.watch.is_none() {
            return vec![(self.definition.address.clone(), 0, 1)];
        }
        let of = |record: &Record| {
            let mut address = record.address;
            if let Address::Host(_, port) = self.definition.address {
                address.set_port(port);
            }
            (
                Address::Ip(address),
                record.priority,
                u32::from(record.weight),
            )
        };
        let usable = resolved.found.iter().filter(|record| self.may_use(record));
        usable.map(of).collect()
    }

    /// Whether an address may be that of an origin.
    fn may_use(&self, record: &Record) -> bool {
        self.definition.may_be_local || !is_local(record.address.ip())
    }

    /// What keeps its name from having an address that may be used.
    pub(super) fn error(&self, resolved: &Resolved) -> Option<Arc<str>> {
        let is_refused = || !resolved.found.iter().any(|record| self.may_use(record));
        let why =
            || "its addresses are of this machine or its link, which only `loopback: true` allows";
        let refused = || (!resolved.found.is_empty() && is_refused()).then(|| why().into());
        resolved.error.clone().or_else(refused)
    }

    /// Why its name has no address, where that is so.
    pub(super) fn unresolved(&self) -> Option<Arc<str>> {
        let resolved = self.watch.as_ref()?.known();
        let Some(resolved) = resolved else {
            return Some("the resolver has not answered yet".into());
        };
        let why = || "the name has no address".into();
        let is_empty = self.addresses(&resolved).is_empty();
        is_empty.then(|| self.error(&resolved).unwrap_or_else(why))
    }

    /// Receives what becomes known of its name.
    pub(super) fn answers(&self) -> Option<watch::Receiver<Option<Arc<Resolved>>>> {
        Some(self.watch.as_ref()?.changes())
    }
}
