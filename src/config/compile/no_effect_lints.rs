//! Warns about settings that have no effect in combination with others.

use std::collections::HashSet;

use crate::config::reader::address::OriginAddress;
use crate::config::reader::generic::OffOr;
use crate::config::reader::networks::CidrOr;
use crate::config::reader::problem::{Problems, Span, quoted};
use crate::config::reader::read::Located;
use crate::config::spec::{self, CheckHeader, Health, OnDown, UpstreamAlpn};
use crate::snapshot::Protocol;
use crate::tls::sessions::AGE_MAX;
use crate::tls::verify::crl::{Depth, OnUnknown};
use crate::upstream::{Balance, OnGone};

/// Runs all lints of this module.
pub(super) fn settings(spec: &spec::Spec, problems: &mut Problems) {
    for endpoint in spec.endpoints.iter() {
        // Reported as one mistake.
        if endpoint.is_tls_in_all_but_protocol() {
            continue;
        }
        endpoint_tls(endpoint, problems);
        sources(endpoint.sources.as_ref(), problems);
        for route in endpoint.routes.iter() {
            sources(route.sources.as_ref(), problems);
            if let Some(source) = &route.matches.source {
                networks(source, problems);
            }
        }
    }
    for (_, upstream) in &spec.upstreams.0 {
        if let Some(health) = &upstream.health {
            checks(health, problems);
        }
        shares(upstream, problems);
        queue(upstream, problems);
        names(upstream, problems);
        lists(&upstream.tls, problems);
        repeated(&upstream.tls.groups, problems);
        if let UpstreamAlpn::List(protocols) = &upstream.tls.alpn.value {
            let names = protocols.iter().map(|p| (p.at, p.value.0.clone()));
            twice(names, problems);
        }
        if let OffOr::On(resumption) = &upstream.tls.resumption.value {
            age(resumption.max_age.at, resumption.max_age.0, problems);
        }
    }
}

fn endpoint_tls(endpoint: &spec::Endpoint, problems: &mut Problems) {
    let tls = &endpoint.tls;
    repeated(&tls.groups, problems);
    repeated(&tls.cipher_suites, problems);
    if endpoint.protocol.value == Protocol::Tcp && !tls.alpn.is_empty() {
        problems
            .warning(
                tls.alpn.at,
                "`alpn` has no effect with `protocol: tcp`, where clients speak no TLS",
            )
            .help("leave it out, or set `protocol: tls`");
    }
    if let OffOr::On(resumption) = &tls.resumption.value {
        age(resumption.max_age.at, resumption.max_age.0, problems);
    }
}

/// Warns about list items that are given twice.
fn repeated<T: ToString>(list: &[Located<T>], problems: &mut Problems) {
    let names = list.iter().map(|item| (item.at, item.value.to_string()));
    twice(names, problems);
}

/// Warns about networks that are given twice.
fn sources(spec: Option<&Located<spec::Sources>>, problems: &mut Problems) {
    for list in spec.iter().flat_map(|spec| [&spec.allow, &spec.deny]) {
        list.iter().for_each(|list| networks(list, problems));
    }
}

fn networks<M>(list: &[Located<CidrOr<M>>], problems: &mut Problems) {
    let networks = list.iter();
    let networks = networks.filter_map(|item| Some((item.at, item.cidr()?.0.to_string())));
    twice(networks, problems);
}

fn twice(names: impl Iterator<Item = (Span, String)>, problems: &mut Problems) {
    let mut seen = HashSet::new();
    for (at, name) in names {
        if seen.contains(&name) {
            let message = format!("{} is in this list already", quoted(&name));
            problems.warning(at, message);
        }
        seen.insert(name);
    }
}

/// RFC 8446 section 4.6.1: no ticket lives longer than seven days.
fn age(at: Span, age: std::time::Duration, problems: &mut Problems) {
    if age > AGE_MAX {
        problems
            .warning(at, "no session lives longer than seven days (RFC 8446)")
            .help("write 168h or less");
    }
}

fn checks(health: &Located<Health>, problems: &mut Problems) {
    if let Some(passive) = health.passive.as_ref()
        && passive.max_ejected.0 == 0
    {
        problems
            .warning(passive.max_ejected.at, "`passive` ejects no origin with 0%")
            .help("leave `passive` out instead");
    }
    // A key that was meant for it has been reported.
    if health.check.is_some() || problems.is_incomplete(health.at) {
        return;
    }
    let port = health.port.as_ref().map(|port| (port.at, "port"));
    let on_down = (health.on_down.at, "on_down");
    let header = (health.send_proxy_protocol.at, "send_proxy_protocol");
    let given = [
        port,
        Some(on_down).filter(|_| health.on_down.value != OnDown::Keep),
        Some(header).filter(|_| health.send_proxy_protocol.value != CheckHeader::AsUpstream),
    ];
    for (at, key) in given.into_iter().flatten() {
        problems
            .warning(
                at,
                format!("`{key}` has no effect without `check`: nothing is checked"),
            )
            .help("such as check: tcp");
    }
    if health.passive.is_none() {
        problems
            .warning(health.at, "`health` without `check` checks nothing")
            .help("such as check: tcp");
    }
}

fn shares(upstream: &spec::Upstream, problems: &mut Problems) {
    let word = match upstream.balance.value {
        Balance::First => "first",
        Balance::SourceHash => "source_hash",
        Balance::RoundRobin | Balance::LeastConnections | Balance::RandomTwo => return,
    };
    if upstream.slow_start.get().is_some() {
        let message = format!("`slow_start` has no effect with `balance: {word}`");
        problems.warning(upstream.slow_start.at, message);
    }
    if upstream.balance.value == Balance::First {
        let weights = upstream.origins.iter().map(|origin| &origin.weight);
        for weight in weights.filter(|weight| weight.0 != 1) {
            problems
                .warning(weight.at, "`weight` has no effect with `balance: first`")
                .help("the order of the list decides");
        }
    }
}

fn queue(upstream: &spec::Upstream, problems: &mut Problems) {
    let connect = &upstream.connect;
    let bounded = |origin: &Located<spec::Origin>| origin.connections.get().is_some();
    if upstream.origins.iter().any(bounded) {
        return;
    }
    if connect.queue.get().is_some() {
        problems
            .warning(
                connect.queue.at,
                "`queue` has no effect: no origin has a limit of `connections`",
            )
            .help("bound an origin: { address: …, connections: 100 }");
    }
}

fn names(upstream: &spec::Upstream, problems: &mut Problems) {
    let is_name = |origin: &Located<spec::Origin>| {
        matches!(
            origin.address.value,
            OriginAddress::Host { .. } | OriginAddress::Srv(_) | OriginAddress::Made { .. }
        )
    };
    let resolve = &upstream.resolve;
    if resolve.on_gone.value != OnGone::Keep && !upstream.origins.iter().any(is_name) {
        problems.warning(
            resolve.on_gone.at,
            "`on_gone` has no effect: no origin has a host name",
        );
    }
}

fn lists(tls: &Located<spec::UpstreamTls>, problems: &mut Problems) {
    if !tls.crl.is_empty() {
        return;
    }
    for (at, differs, key) in [
        (
            tls.crl_scope.at,
            tls.crl_scope.value != Depth::Chain,
            "crl_scope",
        ),
        (
            tls.crl_unknown.at,
            tls.crl_unknown.value != OnUnknown::Deny,
            "crl_unknown",
        ),
        (
            tls.crl_expired.at,
            tls.crl_expired.value != OnUnknown::Deny,
            "crl_expired",
        ),
    ] {
        if differs {
            problems
                .warning(at, format!("`{key}` has no effect without `crl`"))
                .help("name the revocation lists: crl: FILE");
        }
    }
}
