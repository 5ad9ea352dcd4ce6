//! The counters at one moment, for those who compare two moments.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::process::Metrics;

/// The counters since the start, of what is in the configuration now.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// By endpoint.
    pub endpoints: BTreeMap<Arc<str>, EndpointStats>,
    /// By endpoint and route. Connections that reached no route have an empty name there.
    pub routes: BTreeMap<(Arc<str>, Arc<str>), RouteStats>,
    /// By upstream and origin.
    pub origins: BTreeMap<(Arc<str>, Arc<str>), OriginStats>,
    /// By reason, in the order of [`Reason::ALL`](crate::outcome::Reason::ALL); those without an end are left
    /// out.
    pub reasons: BTreeMap<usize, ReasonStats>,
}

/// The counters of an endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndpointStats {
    /// Connections accepted.
    pub connections: u64,
    /// Those that have not ended.
    pub live: u64,
    /// Handshakes with clients.
    pub handshakes: u64,
    /// Ends that are failures.
    pub failures: u64,
    /// Bytes from clients to origins.
    pub up: u64,
    /// Bytes from origins to clients.
    pub down: u64,
}

/// The counters of a route.
#[derive(Clone, Copy, Debug, Default)]
pub struct RouteStats {
    /// Connections that have ended.
    pub ended: u64,
    /// Ends that are failures.
    pub failures: u64,
    /// Bytes from clients to origins.
    pub up: u64,
    /// Bytes from origins to clients.
    pub down: u64,
}

/// The counters of an origin.
#[derive(Clone, Copy, Debug, Default)]
pub struct OriginStats {
    /// Connections whose relay has begun.
    pub established: u64,
    /// Attempts that followed a failed one.
    pub retries: u64,
    /// Failed attempts.
    pub failures: u64,
}

/// How often connections ended for a reason.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReasonStats {
    /// All ends.
    pub count: u64,
    /// Those that were a fault.
    pub faults: u64,
}

impl Metrics {
    /// The counters at this moment.
    pub fn stats(&self) -> Stats {
        let inventory = self.inventory.load();
        let mut stats = Stats::default();
        for (endpoint, total) in self.totals() {
            let mut sum = EndpointStats {
                connections: total.begun,
                live: total.live,
                handshakes: total.handshakes.happened().map(|(.., count)| count).sum(),
                ..EndpointStats::default()
            };
            let known = inventory
                .endpoints
                .iter()
                .find(|(name, _)| *name == endpoint);
            let unrouted = ("".into(), total.unrouted);
            for (name, route) in total.routes.into_iter().chain([unrouted]) {
                let mut of_route = RouteStats {
                    up: route.up,
                    down: route.down,
                    ..RouteStats::default()
                };
                for (kind, reason, count) in route.outcomes.happened() {
                    let is_fault = kind.fault(reason).is_some();
                    let faults = if is_fault { count } else { 0 };
                    let failures = if reason.is_failure() { faults } else { 0 };
                    of_route.ended += count;
                    of_route.failures += failures;
                    let of_reason = stats.reasons.entry(reason as usize).or_default();
                    of_reason.count += count;
                    of_reason.faults += faults;
                }
                sum.failures += of_route.failures;
                sum.up += of_route.up;
                sum.down += of_route.down;
                let is_known = name.is_empty() || known.is_some_and(|(_, all)| all.contains(&name));
                if is_known && known.is_some() {
                    stats.routes.insert((Arc::clone(&endpoint), name), of_route);
                }
            }
            if known.is_some() {
                stats.endpoints.insert(endpoint, sum);
            }
        }
        for (upstream, total) in self.upstreams() {
            let known = inventory
                .upstreams
                .iter()
                .find(|(name, _)| *name == upstream);
            for (origin, counts) in total.origins {
                if known.is_some_and(|(_, all)| all.contains(&origin)) {
                    let failures = counts.failures().map(|(_, count)| count).sum();
                    let of_origin = OriginStats {
                        established: counts.established,
                        retries: counts.retries,
                        failures,
                    };
                    stats
                        .origins
                        .insert((Arc::clone(&upstream), origin), of_origin);
                }
            }
        }
        stats
    }
}
