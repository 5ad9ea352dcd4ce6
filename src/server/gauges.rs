//! Where the metrics read the numbers of other parts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::resources::Resources;
use crate::acme::{Kind, OrderCounts, Statuses};
use crate::admin::ConnPermits;
use crate::admission::{Admission, Gate, LimitKind, LimitScope, LimitScopes, Limits};
use crate::bandwidth::Way;
use crate::fleet::FleetState;
use crate::observe::logging::LogHandle;
use crate::observe::metrics::{
    BandwidthLimit, BandwidthSample, DropCounts, FetchSample, FleetSample, IssuerSample,
    LimitGauge, LimitSample, Metrics, ScopeReport, ScopeSample, TicketSample, WorkerSample,
};
use crate::revocation;
use crate::snapshot::Live;
use crate::tls::sessions::Sessions;
use crate::worker::Workers;

/// The metrics, with the logs and the limits of the process.
pub(super) fn metrics(
    resources: &Resources,
    log: &LogHandle,
    [handshakes, large_hellos]: [&Gate; 2],
    admission: &Admission,
) -> Metrics {
    let (access, process) = (resources.access_log.sink().clone(), log.sink().clone());
    let mut logs: DropCounts = vec![
        ("access", Box::new(move || access.dropped())),
        ("process", Box::new(move || process.dropped())),
    ];
    for exporter in resources.access_log.exporters() {
        let exporter = exporter.clone();
        logs.push((exporter.name(), Box::new(move || exporter.dropped())));
    }
    let load = handshakes.load();
    let handshaking = vec![("admitted", load.in_use), ("waiting", load.waiting)];
    let mut limits = vec![
        connections_gauge(admission),
        gate_gauge("handshakes", handshakes),
        gate_gauge("large_hellos", large_hellos),
    ];
    let listeners = resources.sockets.admin.permits();
    limits.extend(listeners.map(|(limit, permits)| listener_gauge(limit, permits)));
    Metrics::new(resources.workers, logs, handshaking).with_limits(limits)
}

fn listener_gauge(limit: &'static str, permits: ConnPermits) -> LimitGauge {
    LimitGauge {
        limit,
        read: Box::new(move || LimitSample {
            max: permits.limit().max(),
            used: permits.in_use(),
            reached: permits.limit().reached(),
        }),
    }
}

fn connections_gauge(admission: &Admission) -> LimitGauge {
    let admission = admission.clone();
    LimitGauge {
        limit: "connections",
        read: Box::new(move || LimitSample {
            max: admission.limit().max(),
            used: admission.in_use(),
            reached: admission.limit().reached(),
        }),
    }
}

fn gate_gauge(limit: &'static str, gate: &Gate) -> LimitGauge {
    let gate = gate.clone();
    LimitGauge {
        limit,
        read: Box::new(move || LimitSample {
            max: gate.limit().max(),
            used: gate.load().in_use.load(Ordering::Relaxed),
            reached: gate.limit().reached(),
        }),
    }
}

/// Reads the limits of endpoints and routes in the configuration of the moment.
pub(super) fn scope_report(
    live: &Arc<Live>,
    scopes: &Arc<LimitScopes>,
) -> impl Fn() -> ScopeReport + Send + Sync + 'static {
    let (live, scopes) = (Arc::clone(live), Arc::clone(scopes));
    move || {
        let snapshot = live.load();
        let (mut limits, mut bandwidth) = (Vec::new(), Vec::new());
        for endpoint in snapshot.limits() {
            if let Some(own) = endpoint.own {
                let scope = scopes.endpoint(endpoint.name);
                limits.extend(samples(endpoint.name, None, own, scope.as_deref()));
            }
            for (route, own) in endpoint.routes {
                let scope = scopes.route(endpoint.name, route);
                limits.extend(samples(endpoint.name, Some(route), own, scope.as_deref()));
                if let Some(scope) = &scope {
                    bandwidth.extend(bandwidths(endpoint.name, route, own, scope));
                }
            }
        }
        ScopeReport {
            limits,
            bandwidth,
            sources: scopes.sources(),
        }
    }
}

/// The limits of one endpoint or route.
fn samples(
    endpoint: &Arc<str>,
    route: Option<&Arc<str>>,
    limits: &Limits,
    scope: Option<&LimitScope>,
) -> Vec<ScopeSample> {
    let sample = |kind: LimitKind| {
        let (value, scope) = (limits.value(kind)?, scope?);
        let [refused, would_refuse] = scope.refused(kind);
        Some(ScopeSample {
            endpoint: Arc::clone(endpoint),
            route: route.cloned(),
            limit: kind.word(),
            value,
            use_of: limits.most(kind).zip(scope.used(kind)),
            is_dry_run: limits.dry_run,
            refused,
            would_refuse,
        })
    };
    LimitKind::ALL.into_iter().filter_map(sample).collect()
}

/// The limits of bandwidth of one route, by direction.
fn bandwidths(
    endpoint: &Arc<str>,
    route: &Arc<str>,
    limits: &Limits,
    scope: &LimitScope,
) -> Vec<BandwidthSample> {
    let sample = |way: Way| {
        let used = scope.bandwidth(way);
        let of_way = limits.bandwidths().filter(|(key, _)| key.way == way);
        let of_way: Vec<_> = of_way
            .map(|(key, rate)| BandwidthLimit {
                limit: key.word(),
                rate: rate.bytes(),
                value: rate.to_string(),
                delayed: key.part_of(used.delayed),
                would_delay: key.part_of(used.would_delay),
            })
            .collect();
        (!of_way.is_empty()).then(|| BandwidthSample {
            endpoint: Arc::clone(endpoint),
            route: Arc::clone(route),
            direction: way.word(),
            waiting: used.waiting,
            is_dry_run: limits.dry_run,
            limits: of_way,
        })
    };
    Way::BOTH.into_iter().filter_map(sample).collect()
}

/// Reads how it stands with the fleet, if there is one.
pub(super) fn fleet(
    state: Option<&Arc<FleetState>>,
) -> impl Fn() -> Option<FleetSample> + Send + Sync + 'static {
    let state = state.cloned();
    move || {
        let known = state.as_ref()?.now();
        Some(FleetSample {
            age: known.heard.elapsed(),
            stale: known.stale(),
            has_document: known.serving.is_some(),
            is_refused: known.refused.is_some(),
        })
    }
}

/// Reads the counts of tickets.
pub(super) fn tickets(sessions: &Sessions) -> impl Fn() -> TicketSample + Send + Sync + 'static {
    let counts = Arc::clone(sessions.tickets());
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    move || TicketSample {
        issued: load(&counts.issued),
        accepted: load(&counts.accepted),
        refused: load(&counts.refused),
    }
}

/// Reads what issuers of certificates have done.
pub(super) fn issuers(
    statuses: &Arc<Statuses>,
) -> impl Fn() -> Vec<IssuerSample> + Send + Sync + 'static {
    let statuses = Arc::clone(statuses);
    move || {
        let of = |(issuer, counts): (Arc<str>, OrderCounts)| {
            let failed = Kind::ALL.iter().map(|kind| kind.word()).zip(counts.failed);
            let issued = [("issued", counts.issued)];
            IssuerSample {
                issuer,
                orders: issued.into_iter().chain(failed).collect(),
                failing: counts.failing,
            }
        };
        statuses.orders().into_iter().map(of).collect()
    }
}

/// Reads the fetches about revocation: those of one kind from one URL together.
pub(super) fn fetches(
    statuses: &Arc<revocation::Statuses>,
) -> impl Fn() -> Vec<FetchSample> + Send + Sync + 'static {
    let statuses = Arc::clone(statuses);
    move || {
        let mut samples: Vec<FetchSample> = Vec::new();
        for status in statuses.all().into_values() {
            let fetched = status.fetched.unwrap_or_default();
            let is_failing = status.last_error.is_some();
            let of_same =
                |sample: &&mut FetchSample| sample.kind == status.kind && sample.url == status.url;
            match samples.iter_mut().find(of_same) {
                Some(sample) => {
                    sample.used += status.successes;
                    sample.failed += status.failures;
                    sample.is_failing |= is_failing;
                    sample.fetched = sample.fetched.min(fetched);
                }
                None => samples.push(FetchSample {
                    kind: status.kind,
                    url: status.url,
                    used: status.successes,
                    failed: status.failures,
                    is_failing,
                    fetched,
                }),
            }
        }
        samples
    }
}

/// Reads the load of the workers.
pub(super) fn worker_samples(
    workers: &Arc<Workers>,
) -> impl Fn() -> Vec<WorkerSample> + Send + Sync + 'static {
    let workers = Arc::clone(workers);
    move || {
        let usage = workers.usage().into_iter();
        let sample = |(connections, busy)| WorkerSample { connections, busy };
        usage.map(sample).collect()
    }
}
