//! The pools of an upstream whose addresses are made of clients' names: one for each name in use, and no more
//! than there may be, whatever names clients send.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::definition::UpstreamDefinition;
use super::discovery::Resolver;
use super::eviction::{Eviction, EvictionReason};
use super::pool::Pool;
use crate::sync::Mutex;

/// How many names that have an address are kept. Each takes a few KiB and a query whenever its answer is out
/// of date.
const KNOWN_MAX: usize = 4096;

/// How many names may be without an address at a time. It bounds the queries that clients with made-up names
/// cause, and keeps them from displacing others.
const FRESH_MAX: usize = 256;

/// How long a name without connections is kept: its next client need not wait for the resolver.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Why a client's name gets no pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPool {
    /// The upstream left the configuration, or has fixed addresses now.
    Left,
    /// The labels of the name make no host name.
    Unusable,
    /// So many names are in use that there is no place for another one.
    Full,
}

/// The pools of one upstream.
#[derive(Debug)]
pub(super) struct NamedPools(Mutex<Names>);

#[derive(Debug)]
struct Names {
    definition: Arc<UpstreamDefinition>,
    /// By the labels of the clients' names.
    known: HashMap<Box<str>, Entry>,
    /// Those that had no address when they were last looked at.
    fresh: HashMap<Box<str>, Entry>,
}

#[derive(Debug)]
struct Entry {
    pool: Arc<Pool>,
    used: Instant,
}

impl Entry {
    /// Whether no connection has a place in the pool, or asks for one.
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.pool) == 1
    }

    fn is_outdated(&self, now: Instant) -> bool {
        self.is_idle() && now.saturating_duration_since(self.used) >= IDLE_MAX
    }
}

impl NamedPools {
    pub(super) fn new(definition: &Arc<UpstreamDefinition>) -> Self {
        Self(Mutex::new(Names {
            definition: Arc::clone(definition),
            known: HashMap::new(),
            fresh: HashMap::new(),
        }))
    }

    /// Takes over another definition; names that it cannot make are dropped.
    pub(super) fn apply(
        &self,
        definition: &Arc<UpstreamDefinition>,
        resolver: &Resolver,
        control: &Handle,
    ) {
        let mut names = self.0.lock();
        if Arc::ptr_eq(&names.definition, definition) {
            return;
        }
        names.definition = Arc::clone(definition);
        let Names { known, fresh, .. } = &mut *names;
        let redefine = |labels: &str, entry: &mut Entry| {
            let made = definition.made(labels).map(Arc::new);
            match made {
                Some(made) => entry.pool.apply(&made, resolver, control, false),
                None => entry.pool.close(),
            }
            // One that is used goes on; the others need not.
            !entry.is_idle()
        };
        known.retain(|labels, entry| redefine(labels, entry));
        fresh.retain(|labels, entry| redefine(labels, entry));
    }

    /// The upstream left the configuration.
    pub(super) fn close(&self) {
        let mut names = self.0.lock();
        let Names { known, fresh, .. } = &mut *names;
        for (_, entry) in known.drain().chain(fresh.drain()) {
            entry.pool.close();
        }
    }

    /// The pool of the name with these labels.
    pub(super) fn pool(
        &self,
        labels: &str,
        resolver: &Resolver,
        control: &Handle,
    ) -> Result<Arc<Pool>, NoPool> {
        let now = Instant::now();
        let mut names = self.0.lock();
        if let Some(pool) = names.find(labels, now) {
            return Ok(pool);
        }
        let made = names.definition.made(labels).ok_or(NoPool::Unusable)?;
        names.make_room(now)?;
        // What happens to the origins of one client's name is not told: anybody could fill the log.
        let (events, _) = mpsc::unbounded_channel();
        let made = Arc::new(made);
        let pool = Pool::new(Arc::clone(&made), events);
        pool.apply(&made, resolver, control, true);
        let entry = Entry {
            pool: Arc::clone(&pool),
            used: now,
        };
        names.fresh.insert(labels.into(), entry);
        Ok(pool)
    }

    /// Drops the names that were not used for a while.
    pub(super) fn sweep(&self) {
        self.0.lock().sweep(Instant::now());
    }

    /// The pools of today.
    pub(super) fn pools(&self) -> Vec<Arc<Pool>> {
        let names = self.0.lock();
        let entries = names.known.values().chain(names.fresh.values());
        entries.map(|entry| Arc::clone(&entry.pool)).collect()
    }

    /// The origins whose connections have to end. An address that left the answers for one name may be that
    /// of another name, whose connections are not told apart by their address.
    pub(super) fn evictions(&self) -> Vec<Eviction> {
        let pools = self.pools();
        let mut evictions: Vec<_> = pools.iter().flat_map(|pool| pool.evictions()).collect();
        let is_gone = |eviction: &Eviction| eviction.reason == EvictionReason::Gone;
        if evictions.iter().any(is_gone) {
            let statuses = pools.iter().flat_map(|pool| pool.status());
            let there: Vec<_> = statuses.map(|status| status.address).collect();
            evictions.retain(|eviction| !is_gone(eviction) || !there.contains(&eviction.address));
        }
        evictions
    }
}

impl Names {
    /// The pool of a name, if there is one.
    fn find(&mut self, labels: &str, now: Instant) -> Option<Arc<Pool>> {
        if let Some(entry) = self.known.get_mut(labels) {
            entry.used = now;
            return Some(Arc::clone(&entry.pool));
        }
        let entry = self.fresh.get_mut(labels)?;
        entry.used = now;
        Some(Arc::clone(&entry.pool))
    }

    /// Makes room for one more name without an address.
    fn make_room(&mut self, now: Instant) -> Result<(), NoPool> {
        if self.fresh.len() < FRESH_MAX {
            return Ok(());
        }
        self.promote();
        if self.fresh.len() >= FRESH_MAX {
            self.fresh.retain(|_, entry| !entry.is_idle());
        }
        self.bound_known(now);
        match self.fresh.len() < FRESH_MAX {
            true => Ok(()),
            false => Err(NoPool::Full),
        }
    }

    /// Moves the names that have an address to the known ones.
    fn promote(&mut self) {
        let resolved = self.fresh.extract_if(|_, entry| entry.pool.has_origin());
        self.known.extend(resolved);
    }

    /// Drops names without connections while too many are known. Those with connections are bounded by the
    /// limits on these.
    fn bound_known(&mut self, now: Instant) {
        if self.known.len() <= KNOWN_MAX {
            return;
        }
        self.known.retain(|_, entry| !entry.is_outdated(now));
        let beyond = self.known.len().saturating_sub(KNOWN_MAX);
        let idle = self.known.iter().filter(|(_, entry)| entry.is_idle());
        let mut idle: Vec<_> = idle
            .map(|(labels, entry)| (entry.used, labels.clone()))
            .collect();
        idle.sort_unstable();
        for (_, labels) in idle.into_iter().take(beyond) {
            self.known.remove(&labels);
        }
    }

    fn sweep(&mut self, now: Instant) {
        self.promote();
        self.known.retain(|_, entry| !entry.is_outdated(now));
        self.fresh.retain(|_, entry| !entry.is_outdated(now));
        self.bound_known(now);
    }
}
