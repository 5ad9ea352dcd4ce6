//! The limits of endpoints and routes, and problems about those that cannot have an effect.

use crate::admission::{self, Limits, SourceLimits, SourcePrefix, WhenFull};
use crate::bandwidth::{self, Rates};
use crate::config::reader::byte_rate::ByteRate;
use crate::config::reader::generic::Limit;
use crate::config::reader::listen::Listen;
use crate::config::reader::problem::{Problems, Span};
use crate::config::reader::rate::Rate;
use crate::config::reader::read::Located;
use crate::config::reader::values::Count;
use crate::config::spec::{self, Bandwidth, EndpointLimits, Mode, RouteLimits};
use crate::snapshot::Protocol;

/// The default of `source_prefix`.
const HOST: SourcePrefix = SourcePrefix { v4: 32, v6: 64 };

/// The limits of an endpoint; `None` if there is none.
pub fn of_endpoint(spec: &EndpointLimits) -> Option<Box<Limits>> {
    let limits = Limits {
        connections: count(&spec.connections),
        new: rate(&spec.new),
        source: SourceLimits {
            connections: spec.per_source.get().map(|max| max.0),
            new: rate(&spec.new_per_source),
        },
        handshakes: count(&spec.handshakes),
        handshakes_per_source: spec.handshakes_per_source.get().map(|max| max.0),
        bandwidth: Default::default(),
        prefix: prefix(spec),
        when_full: spec.when_full.value,
        dry_run: spec.dry_run.value,
    };
    limits.is_any().then(|| Box::new(limits))
}

/// The limits of a route of this endpoint; `None` if there is none.
pub fn of_route(endpoint: &EndpointLimits, spec: &RouteLimits) -> Option<Box<Limits>> {
    let limits = Limits {
        connections: count(&spec.connections),
        new: rate(&spec.new),
        source: SourceLimits {
            connections: spec.per_source.get().map(|max| max.0),
            new: rate(&spec.new_per_source),
        },
        handshakes: None,
        handshakes_per_source: None,
        bandwidth: bandwidth(&spec.bandwidth, &spec.bandwidth_per_connection),
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

fn bandwidth(route: &Bandwidth, connection: &Bandwidth) -> [Rates; 2] {
    let rate = |limit: &Limit<ByteRate>| bandwidth::ByteRate::new(limit.get()?.0);
    [
        Rates {
            route: rate(&route.up),
            connection: rate(&connection.up),
        },
        Rates {
            route: rate(&route.down),
            connection: rate(&connection.down),
        },
    ]
}

fn prefix(spec: &EndpointLimits) -> SourcePrefix {
    let bits = |count: u32| u8::try_from(count).unwrap_or(u8::MAX);
    SourcePrefix {
        v4: bits(spec.source_prefix.ipv4.0),
        v6: bits(spec.source_prefix.ipv6.0),
    }
}

/// Warns about limits that can never be reached, and about settings without a limit; reports bandwidth that
/// is too low.
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
            below_a_record(route, problems);
        }
    }
}

/// A limit that is compared with another one of its kind.
#[derive(Clone, Copy)]
struct Bound {
    /// How many, or how many in a minute; `None` is no limit.
    size: Option<u64>,
    at: Option<Span>,
}

/// What can be compared.
trait Size {
    fn size(&self) -> Option<u64>;
}

impl<const MOST: u32> Size for Limit<Count<1, MOST>> {
    fn size(&self) -> Option<u64> {
        self.get().map(|max| max.0.into())
    }
}

impl Size for Limit<Rate> {
    fn size(&self) -> Option<u64> {
        let rate = self.get()?;
        Some(u64::from(rate.count) * (60 / rate.unit.duration().as_secs()))
    }
}

impl Size for Limit<ByteRate> {
    fn size(&self) -> Option<u64> {
        self.get().map(|rate| rate.0)
    }
}

impl Bound {
    fn of<T: Size>(limit: &Located<T>) -> Self {
        Self {
            size: limit.size(),
            at: Some(limit.at),
        }
    }

    /// Of the process, whose value may be one that nobody wrote.
    const fn of_process(size: Option<u64>) -> Self {
        Self { size, at: None }
    }
}

/// Warns about a limit that is above another one, which also counts what it counts.
fn above(key: &str, limit: Bound, other: &str, by: Bound, problems: &mut Problems) {
    if let (Some(size), Some(at), Some(least)) = (limit.size, limit.at, by.size)
        && size > least
    {
        let message = format!("`{key}` can never be reached: {other} is less");
        let problem = problems.warning(at, message);
        problem.help("lower it, or leave it out");
        if let Some(at) = by.at {
            problem.also(at, "the lower limit");
        }
    }
}

fn unreachable_at_endpoint(spec: &spec::Spec, limits: &EndpointLimits, problems: &mut Problems) {
    let process = &spec.process.limits;
    let connections = process.connections.set().map(|max| u64::from(max.0));
    let handshakes = Some(u64::from(process.handshakes.0));
    for (key, limit, most) in [
        ("connections", Bound::of(&limits.connections), connections),
        ("handshakes", Bound::of(&limits.handshakes), handshakes),
    ] {
        let other = format!("`process.limits.{key}`");
        above(key, limit, &other, Bound::of_process(most), problems);
    }
    for (key, of_source, whole, of_all) in [
        (
            "per_source",
            Bound::of(&limits.per_source),
            "`connections`",
            Bound::of(&limits.connections),
        ),
        (
            "handshakes_per_source",
            Bound::of(&limits.handshakes_per_source),
            "`handshakes`",
            Bound::of(&limits.handshakes),
        ),
        (
            "new_per_source",
            Bound::of(&limits.new_per_source),
            "`new`",
            Bound::of(&limits.new),
        ),
    ] {
        above(key, of_source, whole, of_all, problems);
    }
}

fn unreachable_at_route(endpoint: &EndpointLimits, route: &RouteLimits, problems: &mut Problems) {
    for (key, own, of_endpoint) in [
        (
            "connections",
            Bound::of(&route.connections),
            Bound::of(&endpoint.connections),
        ),
        (
            "per_source",
            Bound::of(&route.per_source),
            Bound::of(&endpoint.per_source),
        ),
        ("new", Bound::of(&route.new), Bound::of(&endpoint.new)),
        (
            "new_per_source",
            Bound::of(&route.new_per_source),
            Bound::of(&endpoint.new_per_source),
        ),
    ] {
        above(key, own, "that of the endpoint", of_endpoint, problems);
    }
    let (all, each) = (&route.bandwidth, &route.bandwidth_per_connection);
    for (key, part, whole, of_all) in [
        (
            "per_source",
            Bound::of(&route.per_source),
            "`connections`",
            Bound::of(&route.connections),
        ),
        (
            "new_per_source",
            Bound::of(&route.new_per_source),
            "`new`",
            Bound::of(&route.new),
        ),
        (
            "bandwidth_per_connection.up",
            Bound::of(&each.up),
            "`bandwidth.up`",
            Bound::of(&all.up),
        ),
        (
            "bandwidth_per_connection.down",
            Bound::of(&each.down),
            "`bandwidth.down`",
            Bound::of(&all.down),
        ),
    ] {
        above(key, part, whole, of_all, problems);
    }
    if route.dry_run.value && of_route(endpoint, route).is_none() {
        problems
            .warning(
                route.dry_run.at,
                "`dry_run` has no effect: this route has no limit",
            )
            .help("such as limits: { per_source: 100, dry_run: true }");
    }
}

/// The least bandwidth of a route that opens or begins TLS: the most that a record holds (RFC 8446, 5.1). A
/// record is passed on as a whole, so that a lower rate would be kept by pauses of seconds.
const RECORD: u64 = 16 << 10;

/// Reports a bandwidth below one TLS record in a second.
fn below_a_record(route: &spec::Route, problems: &mut Problems) {
    if matches!(route.mode.value, Mode::Passthrough | Mode::Forward) {
        return;
    }
    let limits = &route.limits;
    for bandwidth in [&limits.bandwidth, &limits.bandwidth_per_connection] {
        for rate in [&bandwidth.up, &bandwidth.down] {
            if rate.size().is_some_and(|bytes| bytes < RECORD) {
                let message = "this is less than one TLS record, of `16KiB`, in a second";
                problems
                    .error(rate.at, message)
                    .help("write at least `16KiB/s`");
            }
        }
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
        && endpoint.protocol.value != Protocol::Tcp
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
