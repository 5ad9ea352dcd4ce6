//! Host names to addresses: off the workers, remembered for a while, the last good answer kept.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long an answer is used without asking again.
const FRESH: Duration = Duration::from_secs(30);

/// How long a new answer is waited for when there is an old one.
const PATIENCE: Duration = Duration::from_secs(1);

/// An answer names no more addresses than these; the rest is ignored.
const ADDRESSES_MAX: usize = 32;

type Answer = Result<Arc<[IpAddr]>, Arc<io::Error>>;

/// Looks host names up with the system's resolver, on threads of the control runtime, so that a
/// slow one delays no worker. One question at a time is asked for a name, however many wait for it; when
/// many names hang at once, others wait for a thread.
#[derive(Clone, Debug)]
pub struct Resolver {
    control: Handle,
    names: Arc<Mutex<HashMap<Arc<str>, Entry>>>,
}

/// How a lookup begins.
enum Lookup {
    /// There is a fresh answer.
    Fresh(Arc<[IpAddr]>),
    /// A question is under way; there may be an old answer.
    Asked {
        answer: watch::Receiver<Option<Answer>>,
        old: Option<Arc<[IpAddr]>>,
    },
}

#[derive(Debug, Default)]
struct Entry {
    good: Option<(Instant, Arc<[IpAddr]>)>,
    asking: Option<watch::Receiver<Option<Answer>>>,
}

impl Resolver {
    /// A resolver that works on `control`.
    pub fn new(control: Handle) -> Self {
        Self {
            control,
            names: Arc::default(),
        }
    }

    /// The addresses of `host`; never empty. The caller bounds the time.
    pub async fn lookup(&self, host: &Arc<str>) -> io::Result<Arc<[IpAddr]>> {
        let (mut answer, old) = match self.begin(host) {
            Lookup::Fresh(addresses) => return Ok(addresses),
            Lookup::Asked { answer, old } => (answer, old),
        };
        let answered = async {
            match answer.wait_for(Option::is_some).await {
                Ok(answer) => answer.clone(),
                Err(_) => None,
            }
        };
        let answer = match &old {
            Some(_) => timeout(PATIENCE, answered).await.unwrap_or_default(),
            None => answered.await,
        };
        match (answer, old) {
            (Some(Ok(addresses)), _) | (_, Some(addresses)) => Ok(addresses),
            (Some(Err(error)), None) => Err(io::Error::new(error.kind(), error.to_string())),
            (None, None) => Err(io::Error::other("the lookup was given up")),
        }
    }

    fn begin(&self, host: &Arc<str>) -> Lookup {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = names.entry(Arc::clone(host)).or_default();
        if let Some((since, addresses)) = &entry.good
            && since.elapsed() < FRESH
        {
            return Lookup::Fresh(Arc::clone(addresses));
        }
        let asking = entry
            .asking
            .get_or_insert_with(|| self.ask(Arc::clone(host)));
        Lookup::Asked {
            answer: asking.clone(),
            old: entry.good.as_ref().map(|(_, old)| Arc::clone(old)),
        }
    }

    fn ask(&self, host: Arc<str>) -> watch::Receiver<Option<Answer>> {
        let (tell, asking) = watch::channel(None);
        let names = Arc::clone(&self.names);
        self.control.spawn_blocking(move || {
            let question = Question { names, host };
            let answer = resolve(&question.host);
            if let Ok(addresses) = &answer {
                question.answered(addresses);
            }
            drop(question);
            tell.send_replace(Some(answer));
        });
        asking
    }
}

/// A question under way; when it is dropped, however it went, another may be asked.
struct Question {
    names: Arc<Mutex<HashMap<Arc<str>, Entry>>>,
    host: Arc<str>,
}

impl Question {
    fn answered(&self, addresses: &Arc<[IpAddr]>) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = names.entry(Arc::clone(&self.host)).or_default();
        entry.good = Some((Instant::now(), Arc::clone(addresses)));
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.entry(Arc::clone(&self.host)).or_default().asking = None;
    }
}

fn resolve(host: &str) -> Answer {
    let mut found: Vec<IpAddr> = (host, 0)
        .to_socket_addrs()
        .map_err(Arc::new)?
        .map(|address| address.ip())
        .collect();
    found.dedup();
    found.truncate(ADDRESSES_MAX);
    if found.is_empty() {
        return Err(Arc::new(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        )));
    }
    Ok(found.into())
}
