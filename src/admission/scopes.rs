//! All that is counted for endpoints and routes with limits, by their names. It lives on over reloads.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwap;

use super::by_source::SourceTable;
use super::limits::Limits;
use super::rate::Clock;
use super::scope::LimitScope;

/// The limits of one endpoint and its routes in a configuration.
#[derive(Debug)]
pub struct EndpointLimits<'a> {
    /// The endpoint's name.
    pub name: &'a Arc<str>,
    /// Its own limits.
    pub own: Option<&'a Limits>,
    /// Those of its routes, each with the route's name.
    pub routes: Vec<(&'a Arc<str>, &'a Limits)>,
}

/// The scopes of one endpoint.
#[derive(Clone, Debug, Default)]
struct Scopes {
    own: Option<Arc<LimitScope>>,
    routes: HashMap<Arc<str>, Arc<LimitScope>>,
}

/// All scopes of the process, by endpoint and route.
#[derive(Debug)]
pub struct LimitScopes {
    endpoints: ArcSwap<HashMap<Arc<str>, Scopes>>,
    sources: SourceTable,
    clock: Clock,
    workers: usize,
    next: AtomicU32,
}

impl LimitScopes {
    /// No scopes yet, for so many workers.
    pub fn new(workers: usize) -> Self {
        let clock = Clock::start();
        Self {
            endpoints: ArcSwap::default(),
            sources: SourceTable::new(clock),
            clock,
            workers,
            next: AtomicU32::new(0),
        }
    }

    /// Makes the scopes of a configuration. Those that were there before keep their counts; those that are no
    /// longer there hold nobody back any more.
    pub fn apply<'a>(&self, limits: impl Iterator<Item = EndpointLimits<'a>>) {
        let before = self.endpoints.load();
        let scope = |known: Option<&Arc<LimitScope>>, limits: &Limits, name: &str| {
            let scope = known.map_or_else(|| Arc::new(self.scope(name)), Arc::clone);
            scope.resize(limits);
            scope
        };
        let scopes = limits.map(|EndpointLimits { name, own, routes }| {
            let known = before.get(name);
            let own = own.map(|limits| {
                let known = known.and_then(|known| known.own.as_ref());
                scope(known, limits, &format!("endpoint {name}"))
            });
            let routes = routes.into_iter().map(|(route, limits)| {
                let known = known.and_then(|known| known.routes.get(route));
                let scope = scope(known, limits, &format!("route {name}/{route}"));
                (Arc::clone(route), scope)
            });
            let routes = routes.collect();
            (Arc::clone(name), Scopes { own, routes })
        });
        let scopes: HashMap<_, _> = scopes.collect();
        for (name, Scopes { own, routes }) in before.iter() {
            let after = scopes.get(name);
            let is_left = |route| after.is_some_and(|after| after.routes.contains_key(route));
            if after.is_none_or(|after| after.own.is_none()) {
                own.iter().for_each(|scope| scope.lift());
            }
            for (_, scope) in routes.iter().filter(|(route, _)| !is_left(*route)) {
                scope.lift();
            }
        }
        self.endpoints.store(Arc::new(scopes));
    }

    fn scope(&self, name: &str) -> LimitScope {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        LimitScope::new(id, name, self.workers, self.sources.clone(), self.clock)
    }

    /// The scope of an endpoint, if it has limits.
    pub fn endpoint(&self, name: &str) -> Option<Arc<LimitScope>> {
        self.endpoints.load().get(name)?.own.clone()
    }

    /// The scope of a route, if it has limits.
    pub fn route(&self, endpoint: &str, route: &str) -> Option<Arc<LimitScope>> {
        let endpoints = self.endpoints.load();
        endpoints.get(endpoint)?.routes.get(route).cloned()
    }

    /// How many sources are counted.
    pub fn sources(&self) -> usize {
        self.sources.known()
    }
}
