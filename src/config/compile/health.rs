//! Balancing and health checks: from keys to policies.

use super::negotiate::negotiate;
use super::negotiated::Negotiated;
use crate::config::reader::address::OriginAddress;
use crate::config::reader::problem::Problems;
use crate::config::spec;
use crate::config::spec::{Check, CheckHeader, HeaderVersion, HttpCheck, OnDown, Preset};
use crate::health::{self, Expect, Greeting, HealthPolicy, Request, Role};
use crate::negotiate::Tunnel;
use crate::proxy_protocol;
use crate::tls::connector::TlsConnector;
use crate::upstream::{ConnectPolicy, OutlierPolicy, Threshold, UpstreamDefinition};

pub(super) fn connect(upstream: &spec::Upstream) -> ConnectPolicy {
    let spec = &upstream.connect;
    ConnectPolicy {
        proxy: upstream.tls.negotiate.proxy().map(|proxy| proxy.proxy.0),
        timeout: spec.timeout.0,
        attempts: spec.attempts.0,
        queue: spec
            .queue
            .get()
            .and_then(|limit| usize::try_from(limit.0).ok()),
        queue_timeout: spec.queue_timeout.0,
        sources: spec.source_addresses.iter().map(|ip| ip.value.0).collect(),
    }
}

pub(super) fn passive(spec: &spec::Upstream) -> Option<OutlierPolicy> {
    let passive = spec.health.as_ref()?.passive.as_ref()?;
    Some(OutlierPolicy {
        failures: passive.failures.0,
        within: passive.within.0,
        eject: passive.eject.0,
        max_ejected: passive.max_ejected.0,
    })
}

/// Whether checks use TLS: if configured, and for requests and greetings if connections to the origins use
/// TLS or the upstream has a `tls` block.
pub(super) fn checks_use_tls(spec: &spec::Upstream, tls_origins: bool, passthrough: bool) -> bool {
    let check = spec
        .health
        .as_ref()
        .and_then(|health| health.check.as_ref());
    match check.map(|check| &check.value) {
        None | Some(Check::Tcp) => false,
        Some(Check::Tls) => true,
        Some(Check::Http(_) | Check::Preset(_)) => {
            tls_origins || passthrough || spec.tls.first_given().is_some()
        }
    }
}

/// Reports checks that can never pass.
pub(super) fn passable(spec: &spec::Upstream, problems: &mut Problems) {
    let check = spec
        .health
        .as_ref()
        .and_then(|health| health.check.as_ref());
    let Some(Check::Http(http)) = check.map(|check| &check.value) else {
        return;
    };
    if http.expect.is_empty() {
        problems
            .error(
                http.expect.at,
                "with an empty list of statuses, every check fails",
            )
            .help("leave `expect` out for 200 to 299");
    }
    let is_head = http.method.0.0 == "HEAD";
    if let Some(text) = http.expect_body.as_ref().filter(|_| is_head) {
        problems
            .error(text.at, "the answer to HEAD has no body")
            .help("leave `method` out, or `expect_body`");
    }
}

/// The health check policy, if there is one.
pub(super) fn health(
    spec: &spec::Upstream,
    tls: Option<&TlsConnector>,
    negotiated: &Negotiated,
    definition: &UpstreamDefinition,
    tunnel: Option<&Tunnel>,
) -> Option<HealthPolicy> {
    let opening = opening(spec)?;
    let negotiate = negotiate(spec.tls.negotiate.protocol());
    let spec = spec.health.as_ref()?;
    let check = match &spec.check.as_ref()?.value {
        Check::Tcp | Check::Tls => health::Check::Connect,
        Check::Http(http) => health::Check::Http(request(http)),
        Check::Preset(preset) => match preset {
            Preset::VaultActive => health::Check::Http(Request::vault(Role::Active)),
            Preset::VaultAny => health::Check::Http(Request::vault(Role::Any)),
            Preset::Smtp => health::Check::Greeting(Greeting::Smtp),
            Preset::Ssh => health::Check::Greeting(Greeting::Ssh),
        },
    };
    // HTTP checks speak HTTP/1.1, whatever connections negotiate.
    let is_http = matches!(check, health::Check::Http(_));
    let speaks = |protocol: &[u8]| !is_http || protocol == b"http/1.1";
    Some(HealthPolicy {
        negotiate: tls.and(negotiate),
        tunnel: tunnel.cloned(),
        tls: tls.map(|side| side.for_checks(&negotiated.protocols, negotiated.by_all, speaks)),
        check,
        opening,
        port: spec
            .port
            .as_ref()
            .and_then(|port| u16::try_from(port.0).ok()),
        interval: spec.interval.0,
        timeout: spec.timeout.0,
        threshold: Threshold {
            rise: spec.rise.0,
            fall: spec.fall.0,
        },
        close: spec.on_down.value == OnDown::Close,
        tcp: definition.tcp,
        sources: definition.connect.sources.clone(),
    })
}

/// The PROXY header of checks. At a port of its own a check meets another service, which need not expect the
/// header of the origins.
fn opening(upstream: &spec::Upstream) -> Option<&'static [u8]> {
    let spec = upstream.health.as_ref()?;
    let is_origins_port = spec.port.as_ref().is_none_or(|port| {
        let mut origins = upstream.origins.iter();
        origins.all(|origin| match origin.address.value {
            OriginAddress::Ip(address) => u32::from(address.port()) == port.0,
            OriginAddress::Host { port: own, .. } | OriginAddress::Made { port: own, .. } => {
                u32::from(own) == port.0
            }
            OriginAddress::Srv(_) | OriginAddress::Unix(_) => false,
        })
    });
    let version = match spec.send_proxy_protocol.value {
        CheckHeader::AsUpstream if is_origins_port => upstream.send_proxy_protocol.version.value,
        CheckHeader::AsUpstream | CheckHeader::Off => HeaderVersion::Off,
        CheckHeader::V1 => HeaderVersion::V1,
        CheckHeader::V2 => HeaderVersion::V2,
    };
    Some(match version {
        HeaderVersion::Off => &[],
        HeaderVersion::V1 => proxy_protocol::OWN_V1,
        HeaderVersion::V2 => proxy_protocol::OWN_V2,
    })
}

fn request(http: &HttpCheck) -> Request {
    let ranges = http.expect.iter();
    let ranges = ranges.map(|range| range.value.first..=range.value.last);
    Request {
        method: http.method.0.0.clone(),
        path: http.path.0.0.clone(),
        host: http.host.as_ref().map(|host| host.0.0.clone()),
        headers: http
            .headers
            .0
            .iter()
            .map(|(name, value)| (name.clone(), value.0.clone()))
            .collect(),
        expect: Expect::Statuses(ranges.collect()),
        expect_body: http.expect_body.as_ref().map(|text| text.0.clone()),
    }
}
