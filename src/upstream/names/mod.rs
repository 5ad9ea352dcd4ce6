//! Names that stand for origins: each is asked for by one task on the control runtime, for as long as
//! somebody uses it. A connection looks at what is known and waits for nobody.

mod answers;
mod system;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use self::answers::Answers;
use self::system::System;

/// An answer is used for at least, and at most, this long, whatever its TTL is.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(300);

/// How long after a failure the name is asked for again, at first and at last.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// How long one question may take, the resolver's own repetitions included.
const QUESTION: Duration = Duration::from_secs(15);

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Question {
    /// The addresses of a host.
    Host(Arc<str>, u16),
    /// The hosts and ports of a service, and their addresses.
    Srv(Arc<str>),
}

/// One address that a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) address: SocketAddr,
    /// Lower ones are used first (RFC 2782); 0 for a host.
    pub(super) priority: u16,
    /// At least 1.
    pub(super) weight: u16,
}

/// An answer, and how long it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) found: Vec<Found>,
    pub(super) ttl: Duration,
}

/// What is known of a name.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The last good answer, with what has only just left it.
    pub(super) found: Arc<[Found]>,
    /// Why the last question had no good answer.
    pub(super) trouble: Option<Arc<str>>,
}

/// A name in use. Its task ends with it.
#[derive(Debug)]
pub(super) struct Name {
    known: watch::Receiver<Option<Arc<Known>>>,
    task: AbortHandle,
}

impl Name {
    /// What is known; nothing before the first answer, or the first failure.
    pub(super) fn known(&self) -> Option<Arc<Known>> {
        self.known.borrow().clone()
    }

    /// Tells when more is known.
    pub(super) fn changes(&self) -> watch::Receiver<Option<Arc<Known>>> {
        self.known.clone()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The names of the process.
#[derive(Debug)]
pub(super) struct Names {
    control: Handle,
    system: Arc<System>,
    names: Mutex<HashMap<Question, Weak<Name>>>,
}

impl Names {
    pub(super) fn new(control: Handle) -> Self {
        Self {
            control,
            system: Arc::default(),
            names: Mutex::default(),
        }
    }

    /// The name that stands for `question`; it is asked for from now on.
    pub(super) fn name(&self, question: &Question) -> Arc<Name> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.get(question).and_then(Weak::upgrade) {
            return name;
        }
        let (tell, known) = watch::channel(None);
        let asking = keep_asking(Arc::clone(&self.system), question.clone(), tell);
        let task = self.control.spawn(asking).abort_handle();
        let name = Arc::new(Name { known, task });
        names.retain(|_, name| name.strong_count() > 0);
        names.insert(question.clone(), Arc::downgrade(&name));
        name
    }
}

/// Asks whenever the last answer is out of date.
async fn keep_asking(
    system: Arc<System>,
    question: Question,
    tell: watch::Sender<Option<Arc<Known>>>,
) {
    let mut answers = Answers::default();
    let mut retry = RETRY_MIN;
    loop {
        let answer = timeout(QUESTION, system.ask(&question)).await;
        let answer = answer.unwrap_or_else(|_| Err("the resolver does not answer".into()));
        let (trouble, pause) = match answer {
            Ok(answer) => {
                retry = RETRY_MIN;
                let soon = answers.take(answer.found);
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
        publish(&tell, answers.known(), trouble);
        sleep(pause).await;
    }
}

/// Tells what is known if that is news.
fn publish(tell: &watch::Sender<Option<Arc<Known>>>, found: &[Found], trouble: Option<Arc<str>>) {
    tell.send_if_modified(|known| {
        let same = |known: &Arc<Known>| known.found[..] == *found && known.trouble == trouble;
        if known.as_ref().is_some_and(same) {
            return false;
        }
        let found = found.into();
        *known = Some(Arc::new(Known { found, trouble }));
        true
    });
}
