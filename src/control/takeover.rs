//! The takeover of this process's sockets by a new process.

use std::collections::HashSet;
use std::io;

use tokio::task::JoinHandle;
use tracing::info;

use crate::admin::OpenAdminListeners;
use crate::control::listeners::Listeners;
use crate::snapshot::ListenKey;
use crate::takeover::{Giving, Offered, Role};

/// The takeover in progress, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Takeover(Option<InProgress>);

#[derive(Debug)]
struct InProgress {
    offered: Vec<Place>,
    answer: JoinHandle<io::Result<(Giving, Vec<usize>)>>,
}

/// An address that was offered.
#[derive(Debug)]
enum Place {
    Endpoint(ListenKey),
    Admin(Role),
}

/// A new process that is ready to serve, and what it has taken.
#[derive(Debug)]
pub(crate) struct ReadySuccessor {
    giving: Giving,
    pub(crate) endpoints: HashSet<ListenKey>,
    pub(crate) admin: Vec<Role>,
}

impl Takeover {
    /// Offers the sockets to a new process, which is refused if another one has them already.
    pub(crate) fn offer(
        &mut self,
        mut successor: Giving,
        generation: u64,
        listeners: &Listeners,
        admin: &OpenAdminListeners,
    ) {
        if self.is_in_progress() {
            return refuse(successor, "another takeover is in progress");
        }
        let (places, offered) = match offered(listeners, admin) {
            Ok(offered) => offered,
            Err(error) => {
                return refuse(successor, &format!("the sockets cannot be passed: {error}"));
            }
        };
        info!(
            pid = successor.pid(),
            sockets = places.len(),
            "offering the sockets to a new process"
        );
        let answer = tokio::spawn(async move {
            let taken = successor.offer(generation, &offered).await?;
            Ok((successor, taken))
        });
        self.0 = Some(InProgress {
            offered: places,
            answer,
        });
    }

    pub(crate) const fn is_in_progress(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until the new process is ready, or has failed; forever, if there is none. May be dropped at any
    /// await.
    pub(crate) async fn answered(&mut self) -> io::Result<ReadySuccessor> {
        let Some(in_progress) = &mut self.0 else {
            return std::future::pending().await;
        };
        let answer = (&mut in_progress.answer).await;
        let offered = self.0.take().map(|in_progress| in_progress.offered);
        let (giving, taken) = answer.map_err(io::Error::other)??;
        let taken: HashSet<_> = taken.into_iter().collect();
        let mut ready = ReadySuccessor {
            giving,
            endpoints: HashSet::new(),
            admin: Vec::new(),
        };
        for (index, place) in offered.into_iter().flatten().enumerate() {
            match place {
                _ if !taken.contains(&index) => {}
                Place::Endpoint(key) => {
                    ready.endpoints.insert(key);
                }
                Place::Admin(role) => ready.admin.push(role),
            }
        }
        Ok(ready)
    }

    /// Ends the takeover in progress: the process stops. The new process notices, and ends.
    pub(crate) fn cancel(&mut self) {
        if let Some(in_progress) = self.0.take() {
            in_progress.answer.abort();
        }
    }
}

impl ReadySuccessor {
    /// The new process, if it is in the same namespace.
    pub(crate) const fn pid(&self) -> Option<u32> {
        self.giving.pid()
    }

    /// Tells it that the sockets are its own.
    pub(crate) async fn release(self) -> io::Result<(HashSet<ListenKey>, Vec<Role>)> {
        self.giving.release().await?;
        Ok((self.endpoints, self.admin))
    }
}

/// Tells a new process why there is no takeover.
pub(crate) fn refuse(mut successor: Giving, why: &str) {
    info!(pid = successor.pid(), why, "a takeover is refused");
    let why = why.to_owned();
    tokio::spawn(async move { successor.refuse(&why).await });
}

fn offered(
    listeners: &Listeners,
    admin: &OpenAdminListeners,
) -> io::Result<(Vec<Place>, Vec<Offered>)> {
    let (keys, mut offered) = listeners.offer()?;
    let mut places: Vec<_> = keys.into_iter().map(Place::Endpoint).collect();
    for admin in admin.offer()? {
        places.push(Place::Admin(admin.role));
        offered.push(admin);
    }
    Ok((places, offered))
}
