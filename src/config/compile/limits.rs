//! The limits of endpoints and routes, and warnings about those that cannot have an effect.

use crate::admission::{self, Limits, SourceLimits, SourcePrefix, WhenFull};
use crate::config::reader::address::Listen;
use crate::config::reader::generic::Limit;
use crate::config::reader::problem::{Problems, Span};
use crate::config::reader::rate::Rate;
use crate::config::reader::read::Located;
use crate::config::reader::values::Count;
use crate::config::spec::{self, EndpointLimits, RouteLimits};
use crate::snapshot::Protocol;

/// The default of `source_prefix`.
const HOST: SourcePrefix = SourcePrefix { v4: 32, v6: 64 };

/// The limits of an endpoint; `None` if there is none.
pub(super) fn of_endpoint(spec: &EndpointLimits) -> Option<Box<Limits>> {
    let limits = Limits {
        connections: count(&spec.connections),
        new: rate(&spec.new),
        source: SourceLimits {
            connections: spec.per_source.get().map(|max| max.0),
            new: rate(&spec.new_per_source),
        },
        handshakes: count(&spec.handshakes),
        handshakes_per_source: spec.handshakes_per_source.get().map(|max| max.0),
        prefix: prefix(spec),
        when_full: spec.when_full.value,
        dry_run: spec.dry_run.value,
    };
    limits.is_any().then(|| Box::new(limits))
}

/// The limits of a route of this endpoint; `None` if there is none.
pub(super) fn of_route(endpoint: &EndpointLimits, spec: &RouteLimits) -> Option<Box<Limits>> {
    let limits = Limits {
        connections: count(&spec.connections),
        new: rate(&spec.new),
        source: SourceLimits {
            connections: spec.per_source.get().map(|max| max.0),
            new: rate(&spec.new_per_source),
        },
        handshakes: None,
        handshakes_per_source: None,
        prefix: prefix(endpoint),
        when_full: WhenFull::Refuse,
        dry_run: spec.dry_run.value,
    };
    limits.is_any().then(|| Box::new(limits))
}

fn count<const MOST: u32>(limit: &Limit<Count<1, MOST>>) -> Option<usize> {
    let max = limit.get()?.0;
    Some(usize::try_from(max).unwrap_or(usize::MAX))
}

fn rate(limit: &Limit<Rate>) -> Option<admission::Rate> {
    let rate = limit.get()?;
    Some(admission::Rate::new(rate.count, rate.unit.duration()))
}

fn prefix(spec: &EndpointLimits) -> SourcePrefix {
    let bits = |count: u32| u8::try_from(count).unwrap_or(u8::MAX);
    SourcePrefix {
        v4: bits(spec.source_prefix.ipv4.0),
        v6: bits(spec.source_prefix.ipv6.0),
    }
}

/// Warns about limits that can never be reached, and about settings without a limit.
pub(super) fn lints(spec: &spec::Spec, problems: &mut Problems) {
    for endpoint in spec.endpoints.iter() {
        if endpoint.is_tls_in_all_but_protocol() {
            continue;
        }
        let limits = &endpoint.limits;
        unreachable_at_endpoint(spec, limits, problems);
        without_limit(endpoint, problems);
        without_handshake(endpoint, problems);
        for route in endpoint.routes.iter() {
            unreachable_at_route(limits, &route.limits, problems);
        }
    }
}

/// A limit as it is compared: how many, or how many in a minute.
type Size = Option<u64>;

fn size<const MOST: u32>(limit: &Limit<Count<1, MOST>>) -> Size {
    limit.get().map(|max| max.0.into())
}

fn pace(limit: &Limit<Rate>) -> Size {
    let rate = limit.get()?;
    Some(u64::from(rate.count) * (60 / rate.unit.duration().as_secs()))
}

/// Warns about a limit that is above another one, which also counts what it counts.
fn above<T>(
    (key, limit, size): (&str, &Located<T>, Size),
    (other, by, at): (&str, Size, Option<Span>),
    problems: &mut Problems,
) {
    let (Some(size), Some(by)) = (size, by) else {
        return;
    };
    if size > by {
        let message = format!("`{key}` can never be reached: {other} is less");
        let problem = problems.warning(limit.at, message);
        problem.help("lower it, or leave it out");
        if let Some(at) = at {
            problem.also(at, "the lower limit");
        }
    }
}

fn unreachable_at_endpoint(spec: &spec::Spec, limits: &EndpointLimits, problems: &mut Problems) {
    let process = &spec.process.limits;
    let connections = size(&limits.connections);
    let handshakes = size(&limits.handshakes);
    let own = |key: &'static str, size, at| (key, size, Some(at));
    let whole = process.connections.set().map(|max| u64::from(max.0));
    let most = u64::from(process.handshakes.0);
    above(
        ("connections", &limits.connections, connections),
        ("`process.limits.connections`", whole, None),
        problems,
    );
    above(
        ("handshakes", &limits.handshakes, handshakes),
        ("`process.limits.handshakes`", Some(most), None),
        problems,
    );
    above(
        ("per_source", &limits.per_source, size(&limits.per_source)),
        own("`connections`", connections, limits.connections.at),
        problems,
    );
    above(
        (
            "handshakes_per_source",
            &limits.handshakes_per_source,
            size(&limits.handshakes_per_source),
        ),
        own("`handshakes`", handshakes, limits.handshakes.at),
        problems,
    );
    above(
        (
            "new_per_source",
            &limits.new_per_source,
            pace(&limits.new_per_source),
        ),
        own("`new`", pace(&limits.new), limits.new.at),
        problems,
    );
}

fn unreachable_at_route(endpoint: &EndpointLimits, route: &RouteLimits, problems: &mut Problems) {
    let of_endpoint = |size, at| ("that of the endpoint", size, Some(at));
    above(
        ("connections", &route.connections, size(&route.connections)),
        of_endpoint(size(&endpoint.connections), endpoint.connections.at),
        problems,
    );
    above(
        ("per_source", &route.per_source, size(&route.per_source)),
        of_endpoint(size(&endpoint.per_source), endpoint.per_source.at),
        problems,
    );
    above(
        ("new", &route.new, pace(&route.new)),
        of_endpoint(pace(&endpoint.new), endpoint.new.at),
        problems,
    );
    above(
        (
            "new_per_source",
            &route.new_per_source,
            pace(&route.new_per_source),
        ),
        of_endpoint(pace(&endpoint.new_per_source), endpoint.new_per_source.at),
        problems,
    );
    above(
        ("per_source", &route.per_source, size(&route.per_source)),
        (
            "`connections`",
            size(&route.connections),
            Some(route.connections.at),
        ),
        problems,
    );
    above(
        (
            "new_per_source",
            &route.new_per_source,
            pace(&route.new_per_source),
        ),
        ("`new`", pace(&route.new), Some(route.new.at)),
        problems,
    );
    if route.dry_run.value && of_route(endpoint, route).is_none() {
        problems
            .warning(
                route.dry_run.at,
                "`dry_run` has no effect: this route has no limit",
            )
            .help("such as limits: { per_source: 100, dry_run: true }");
    }
}

/// Warns about settings for limits that are not there.
fn without_limit(endpoint: &spec::Endpoint, problems: &mut Problems) {
    let limits = &endpoint.limits;
    let own = of_endpoint(limits);
    if limits.dry_run.value && own.is_none() {
        problems
            .warning(
                limits.dry_run.at,
                "`dry_run` has no effect: this endpoint has no limit",
            )
            .help("such as limits: { per_source: 100, dry_run: true }");
    }
    let waits = limits.connections.get().is_some() || limits.handshakes.get().is_some();
    if limits.when_full.value == WhenFull::Refuse && !waits {
        problems
            .warning(
                limits.when_full.at,
                "`when_full` has no effect without `connections` and `handshakes`",
            )
            .help("other limits always refuse");
    }
    let counts_sources =
        |limits: &Limits| limits.has_source() || limits.handshakes_per_source.is_some();
    let mut of_routes = endpoint
        .routes
        .iter()
        .map(|route| of_route(limits, &route.limits));
    let is_counted = own.as_deref().is_some_and(counts_sources)
        || of_routes.any(|limits| limits.as_deref().is_some_and(counts_sources));
    if prefix(limits) != HOST && !is_counted {
        problems
            .warning(
                limits.source_prefix.at,
                "`source_prefix` has no effect: nothing is limited by source",
            )
            .help("such as per_source: 100");
    }
    let is_unix = |listen: &Located<Listen>| matches!(listen.value, Listen::Unix(_));
    if is_counted && !endpoint.listen.is_empty() && endpoint.listen.iter().all(is_unix) {
        problems.warning(
            limits.at,
            "limits by source have no effect: this endpoint listens only on unix sockets, whose peers have no \
             address",
        );
    }
}

/// Warns about limits of handshakes where no client makes one.
fn without_handshake(endpoint: &spec::Endpoint, problems: &mut Problems) {
    let limits = &endpoint.limits;
    let mut routes = endpoint.routes.iter();
    if routes.any(|route| route.mode.value.terminates_tls())
        && endpoint.protocol.value == Protocol::Tls
    {
        return;
    }
    for (key, at, is_set) in [
        (
            "handshakes",
            limits.handshakes.at,
            limits.handshakes.get().is_some(),
        ),
        (
            "handshakes_per_source",
            limits.handshakes_per_source.at,
            limits.handshakes_per_source.get().is_some(),
        ),
    ] {
        if is_set {
            problems
                .warning(
                    at,
                    format!("`{key}` has no effect: no route of this endpoint terminates TLS"),
                )
                .help("`new` and `new_per_source` bound connections of every mode");
        }
    }
}
