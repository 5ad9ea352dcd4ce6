//! The pools of the process by name. A reload changes pools, it does not replace them.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::definition::UpstreamDefinition;
use super::discovery::Resolver;
use super::eviction::Eviction;
use super::named::{NamedPools, NoPool};
use super::pool::{OriginEvent, OriginStatus, Pool};

/// The pools of the process. Connections find theirs by the name of the upstream, without a lock.
#[derive(Debug)]
pub struct Upstreams {
    control: Handle,
    resolver: Resolver,
    events: mpsc::UnboundedSender<OriginEvent>,
    pools: ArcSwap<HashMap<Arc<str>, Arc<Pool>>>,
    /// Of the upstreams whose addresses are made of clients' names.
    named: ArcSwap<HashMap<Arc<str>, Arc<NamedPools>>>,
}

impl Upstreams {
    /// No pools yet. Their tasks run on `control`, and what happens to origins is received.
    pub fn new(control: Handle) -> (Self, mpsc::UnboundedReceiver<OriginEvent>) {
        let (events, received) = mpsc::unbounded_channel();
        let upstreams = Self {
            resolver: Resolver::new(control.clone()),
            control,
            events,
            pools: ArcSwap::default(),
            named: ArcSwap::default(),
        };
        (upstreams, received)
    }

    /// Takes over the upstreams of a configuration: a pool of the same name goes on with the new
    /// definition, an equal definition touches nothing. Cannot fail, and waits for nothing. To be
    /// called before connections get that configuration, and by one thread at a time.
    pub fn apply<'a>(&self, definitions: impl Iterator<Item = &'a Arc<UpstreamDefinition>>) {
        let (old, old_named) = (self.pools.load(), self.named.load());
        let (mut pools, mut named) = (HashMap::new(), HashMap::new());
        for definition in definitions {
            if definition.is_template() {
                let known = old_named.get(&definition.name).map(Arc::clone);
                let all = known.unwrap_or_else(|| Arc::new(NamedPools::new(definition)));
                all.apply(definition, &self.resolver, &self.control);
                named.insert(Arc::clone(&definition.name), all);
                continue;
            }
            let known = old.get(&definition.name).map(Arc::clone);
            let is_new = known.is_none();
            let new = || Pool::new(Arc::clone(definition), self.events.clone());
            let pool = known.unwrap_or_else(new);
            pool.apply(definition, &self.resolver, &self.control, is_new);
            pools.insert(Arc::clone(&definition.name), pool);
        }
        let removed = old.iter().filter(|(name, _)| !pools.contains_key(*name));
        removed.for_each(|(_, pool)| pool.close());
        let removed = old_named.iter();
        let removed = removed.filter(|(name, _)| !named.contains_key(*name));
        removed.for_each(|(_, pools)| pools.close());
        self.pools.store(Arc::new(pools));
        self.named.store(Arc::new(named));
    }

    /// The pool for a client, of an upstream whose addresses are made of the labels of its name.
    pub fn pool_for(&self, name: &str, labels: &str) -> Result<Arc<Pool>, NoPool> {
        let named = self.named.load();
        let pools = named.get(name).ok_or(NoPool::Left)?;
        pools.pool(labels, &self.resolver, &self.control)
    }

    /// Drops the pools of clients' names that were not used for a minute. To be called every now and then.
    pub fn sweep(&self) {
        self.named.load().values().for_each(|pools| pools.sweep());
    }

    /// The origins of an upstream whose connections have to end.
    pub fn evictions(&self, name: &str) -> Vec<Eviction> {
        match self.pool(name) {
            Some(pool) => pool.evictions(),
            None => {
                let named = self.named.load();
                named
                    .get(name)
                    .map_or_else(Vec::new, |pools| pools.evictions())
            }
        }
    }

    /// The pool of an upstream; `None` once it left the configuration.
    pub fn pool(&self, name: &str) -> Option<Arc<Pool>> {
        self.pools.load().get(name).map(Arc::clone)
    }

    /// How each origin is at each of its addresses, by the names of the upstreams.
    pub fn status(&self) -> Vec<OriginStatus> {
        let pools = self.pools.load();
        let named = self.named.load();
        let named = named.values().flat_map(|pools| pools.pools());
        let mut pools: Vec<_> = pools.values().map(Arc::clone).chain(named).collect();
        pools.sort_by_key(|pool| Arc::clone(pool.name()));
        pools.iter().flat_map(|pool| pool.status()).collect()
    }
}
